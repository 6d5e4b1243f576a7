"""Backpropagation through time, number by number, on a tiny network.

  h[t] = tanh(W_x x[t] + W_h h[t-1] + b_h),  h[-1] = 0
  y[t] = W_y h[t] + b_y
  L    = sum over t of 1/2 |y[t] - target[t]|^2

The same weights act at every step, so each step adds a part to their gradient. Going back from the last step:

  dL/dy[t] = y[t] - target[t]
  dL/dh[t] = W_y^T dL/dy[t]  +  W_h^T dL/dz[t+1]      from this step's output, and from all later steps
  dL/dz[t] = (1 - h[t]^2) * dL/dh[t]                  through the tanh; z is its argument
  dL/dW_h  = sum over t of dL/dz[t] h[t-1]^T

The library stores matrices the other way round, [in, out]: w_h = W_h^T. So do the arrays here.

References:
  Werbos 1990, Backpropagation through time: what it does and how to do it, Proceedings of the IEEE 78(10).
"""

import dataclasses
import pathlib
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

import jaxrnn
from experiments import command, run_folder

Params = dict[str, Any]


@dataclasses.dataclass(frozen=True)
class Config:
    """Backpropagation through time, written out and checked."""

    T: int = 5
    """Time steps."""
    hidden: int = 4
    """Hidden features."""
    inputs: int = 3
    """Input features."""
    outputs: int = 2
    """Output features."""
    k: int = 2
    """Number of steps that the truncated gradient reaches back."""
    seed: int = 0
    """Seed of the parameters, inputs and targets."""
    out: command.Out = pathlib.Path("runs/bptt_by_hand")

    def __post_init__(self) -> None:
        command.positive(self, "T", "hidden", "inputs", "outputs", "k")
        command.expect("T", "at least 2 steps: with one, no gradient goes back in time", self.T >= 2, self.T)


def example(config: Config) -> tuple[Params, np.ndarray, np.ndarray]:
    """(params, xs [T, inputs], targets [T, outputs]), random."""
    rng = np.random.default_rng(config.seed)
    D, H, O = config.inputs, config.hidden, config.outputs
    shapes = {"w_x": (D, H), "w_h": (H, H), "b": (H,), "w_y": (H, O), "b_y": (O,)}
    params = {name: 0.5 * rng.standard_normal(shape) for name, shape in shapes.items()}
    return params, rng.standard_normal((config.T, D)), rng.standard_normal((config.T, O))


def by_hand(params: Params, xs: np.ndarray, targets: np.ndarray) -> dict[str, np.ndarray]:
    """The equations above, in NumPy.

    Returns:
      "h" [T, H], "dL/dy" [T, O], "dL/dh" [T, H], and each step's "part of dL/dw_h" [T, H, H].
    """
    T, H = len(xs), len(params["b"])
    h, dy = np.zeros((T + 1, H)), np.zeros_like(targets)  # h[-1], the last row, stays zero: the state before step 0
    for t in range(T):
        h[t] = np.tanh(xs[t] @ params["w_x"] + h[t - 1] @ params["w_h"] + params["b"])
        dy[t] = h[t] @ params["w_y"] + params["b_y"] - targets[t]
    dh, parts = np.zeros((T, H)), np.zeros((T, H, H))
    from_later = np.zeros(H)  # no step comes after the last
    for t in reversed(range(T)):
        dh[t] = dy[t] @ params["w_y"].T + from_later
        dz = (1 - h[t] ** 2) * dh[t]
        parts[t] = np.outer(h[t - 1], dz)
        from_later = dz @ params["w_h"].T
    return {"h": h[:T], "dL/dy": dy, "dL/dh": dh, "part of dL/dw_h": parts}


def loss(ys: jax.Array, targets: jax.Array) -> jax.Array:
    """The sum over steps and outputs of half the squared error."""
    return 0.5 * jnp.sum(jnp.square(ys - targets))


def output(params: Params, hs: jax.Array) -> jax.Array:
    """y[t] for all t."""
    return hs @ params["w_y"] + params["b_y"][None]


def by_autodiff(params: Params, xs: jax.Array, targets: jax.Array) -> jax.Array:
    """dL/dw_h as `jax.grad` of a plain Python loop, without the library."""

    def total(params: Params) -> jax.Array:
        h, hs = jnp.zeros_like(params["b"]), []
        for x in xs:
            h = jnp.tanh(x @ params["w_x"] + h @ params["w_h"] + params["b"])
            hs.append(h)
        return loss(output(params, jnp.stack(hs)), targets)

    return jax.grad(total)(params)["w_h"]


def by_library(gradient: jaxrnn.Gradient, params: Params, xs: jax.Array, targets: jax.Array) -> jax.Array:
    """dL/dw_h from one of the library's ways of differentiating through time."""
    cell = jaxrnn.elman(xs.shape[-1], len(params["b"]))

    def total(params: Params) -> jax.Array:
        _, hs = jaxrnn.unroll(cell, {name: params[name] for name in ("w_x", "w_h", "b")}, xs, gradient=gradient)
        return loss(output(params, hs), targets)

    return jax.jit(jax.grad(total))(params)["w_h"]


def by_diagnostics(params: Params, xs: jax.Array, targets: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Every dL/dh[t] and every step's part of dL/dw_h, by the library's diagnostics."""
    cell = jaxrnn.elman(xs.shape[-1], len(params["b"]))
    of_cell = {name: params[name] for name in ("w_x", "w_h", "b")}

    def total(hs: jax.Array) -> jax.Array:
        return loss(output(params, hs), targets)

    parts = jaxrnn.diagnostics.weight_contributions(cell, of_cell, xs, total)["w_h"]
    return jaxrnn.diagnostics.hidden_gradients(cell, of_cell, xs, total), parts


def main(config: Config) -> dict[str, Any]:
    """Prints the gradient step by step and in one table; returns its numbers."""
    params, xs, targets = example(config)
    steps = by_hand(params, xs, targets)
    parts = steps["part of dL/dw_h"]
    with jax.enable_x64(True):
        arguments = jax.tree.map(jnp.asarray, (params, xs, targets))
        ways = {
            "by hand": parts.sum(0),
            "jax.grad": by_autodiff(*arguments),
            "reverse_scan": by_library(jaxrnn.reverse_scan(), *arguments),
            "forward": by_library(jaxrnn.rtrl(), *arguments),
        }
        d_hs, library_parts = map(np.asarray, by_diagnostics(*arguments))
        truncated = np.asarray(by_library(jaxrnn.truncated(config.k), *arguments))
    ways = {name: np.asarray(way) for name, way in ways.items()}
    whole = ways["by hand"]
    found = {
        "steps": steps,
        "dL/dw_h": ways,
        "largest difference": {name: float(np.abs(way - whole).max()) for name, way in ways.items()},
        "largest difference of steps": {
            "dL/dh": float(np.abs(d_hs - steps["dL/dh"]).max()),
            "part of dL/dw_h": float(np.abs(library_parts - parts).max()),
        },
        "mean over time": whole / config.T,
        "truncated": truncated,
        "lost by truncation": float(np.linalg.norm(truncated - whole) / np.linalg.norm(whole)),
    }
    print(report(config, found))
    run_folder.write(config.out, config, jax.tree.map(lambda x: np.asarray(x).tolist(), found))
    return found


def report(config: Config, found: dict[str, Any]) -> str:
    """The findings of `main` as a page of text."""
    steps, ways = found["steps"], found["dL/dw_h"]
    pages = [
        "1. Back through time. dL/dh[t] is what step t's own output gives plus what comes back from step t+1.\n"
        "   Step t then adds h[t-1] (dL/dz[t])^T to dL/dw_h; step 0 adds zero, as the state before it is zero.\n"
    ]
    pages += [
        f"   t = {t}   dL/dy {_row(steps['dL/dy'][t])}\n"
        f"           dL/dh {_row(steps['dL/dh'][t])}\n"
        f"           |part of dL/dw_h| = {np.linalg.norm(steps['part of dL/dw_h'][t]):.4f}\n"
        + "".join(f"               {_row(row)}\n" for row in steps["part of dL/dw_h"][t])
        for t in reversed(range(config.T))
    ]
    pages.append(
        "   jaxrnn.diagnostics.hidden_gradients and jaxrnn.diagnostics.weight_contributions find the same: "
        + ", ".join(f"{name} to {x:.0e}" for name, x in found["largest difference of steps"].items())
        + ".\n"
    )
    names = list(ways)
    pages.append(
        f"2. dL/dw_h, the sum of these {config.T} parts, in {len(names)} ways. reverse_scan is backpropagation through "
        "time;\n   forward carries dh/dw_h along from the first step to the last instead (RTRL). float64.\n"
    )
    pages.append("   entry   " + "".join(f"{name:>16}" for name in names))
    pages += [
        f"   [{i}, {j}]  " + "".join(f"{way[i, j]:16.10f}" for way in ways.values())
        for i, j in np.ndindex(ways["by hand"].shape)
    ]
    pages.append("   differs by at most" + "".join(f"{found['largest difference'][n]:16.0e}" for n in names)[8:] + "\n")
    norm, mean = (np.linalg.norm(x) for x in (ways["by hand"], found["mean over time"]))
    pages.append(
        f"3. The mean over time instead of the sum: |dL/dw_h| = {mean:.4f} instead of {norm:.4f}, {config.T} times "
        "smaller.\n   The direction is the same: a learning rate or a clipping norm tuned for one is wrong by the "
        f"factor T = {config.T}\n   for the other.\n"
    )
    pages.append(
        f"4. Truncated after k = {config.k} steps: |dL/dw_h| = {np.linalg.norm(found['truncated']):.4f}. The steps are "
        f"cut into blocks of {config.k}, and nothing comes\n   back from one block to the one before: "
        f"the gradient is off by {found['lost by truncation']:.0%} of its norm.\n"
    )
    pages += [
        f"   w_h row {i}   whole {_row(a)}   truncated {_row(b)}"
        for i, (a, b) in enumerate(zip(ways["by hand"], found["truncated"], strict=True))
    ]
    return "\n".join(pages)


def _row(values: np.ndarray) -> str:
    return "".join(f"{value + 0.0:9.4f}" for value in values)  # + 0.0: no "-0.0000"


if __name__ == "__main__":
    command.start(main, Config)
