"""The gradient on its way back, before and after training, in pictures.

One recurrent layer learns the adding problem (see `memory_tasks`). Before and after, `jaxrnn.gradient_report` reports
on the whole model, and its parts are drawn one by one: dL/dh[t], the weights' gradient by lag, dh[t]/dh[t-1], and the
gates.
"""

import dataclasses
import pathlib
from typing import Any, Literal, NamedTuple

import jax
import optax

import jaxrnn
from experiments import command, run_folder
from experiments.memory_tasks import adding
from experiments.vanishing import loss

CELLS = {"elman": jaxrnn.elman, "lstm": jaxrnn.lstm, "gru": jaxrnn.gru}


@dataclasses.dataclass(frozen=True)
class Config:
    """The gradient of one layer on the adding problem, before and after training."""

    cell: Literal["elman", "lstm", "gru"] = "gru"
    """The recurrent cell."""
    T: int = 60
    """Length of the sequences."""
    hidden: int = 32
    """Hidden features."""
    steps: int = 1500
    """Steps of training."""
    batch_size: int = 64
    """Sequences in a minibatch."""
    learning_rate: float = 1e-2
    """Adam's learning rate."""
    clip_norm: float = 1.0
    """Largest norm of the gradient."""
    seed: int = 0
    """Seed of parameters and sequences."""
    progress: command.Progress = True
    resume: command.Resume = False
    out: command.Out = pathlib.Path("runs/gradient_flow")

    def __post_init__(self) -> None:
        command.positive(self, "hidden", "steps", "batch_size")
        command.expect("T", "at least 2 steps", self.T >= 2, self.T)


class Network(NamedTuple):
    """A recurrent cell, and the layer that makes an answer of its last output."""

    cell: jaxrnn.GatedCell
    head: jaxrnn.Model

    @property
    def model(self) -> jaxrnn.Model:
        """The model of both."""
        return jaxrnn.chain(jaxrnn.stack([self.cell]), self.head)


def build(config: Config) -> Network:
    """The network to train."""
    return Network(CELLS[config.cell](2, config.hidden), jaxrnn.chain(jaxrnn.last(), jaxrnn.dense(config.hidden, 1)))


def look(network: Network, params: Any, batch: dict[str, Any], folder: pathlib.Path) -> Any:
    """Draws everything into a folder; returns the report."""
    folder.mkdir(parents=True, exist_ok=True)
    report = jaxrnn.gradient_report(network.model, params, batch, loss)
    report.plot(str(folder / "report.png"))
    for name, found in parts(network, params, batch).items():
        getattr(jaxrnn.diagnostics, f"plot_{name}")(found, str(folder / f"{name}.png"))
    return report


@jax.jit
def parts(network: Network, params: Any, batch: dict[str, Any]) -> dict[str, Any]:
    """The parts of the report that are drawn one by one."""
    (cell, head), own, xs = network, params["0"]["0"], batch["xs"]

    def of_outputs(ys: jax.Array) -> jax.Array:
        return loss(head.apply(params["1"], ys)[1], batch)

    weights = ("w_x", "w_h")
    return {
        "hidden_gradients": jaxrnn.diagnostics.hidden_gradients(cell, own, xs, of_outputs),
        "weight_contributions": jaxrnn.diagnostics.weight_contributions(cell, own, xs, of_outputs, names=weights),
        "lag_contributions": jaxrnn.diagnostics.lag_contributions(cell, own, xs, of_outputs, names=weights),
        "gradient_norm_by_lag": jaxrnn.diagnostics.gradient_norm_by_lag(cell, own, xs, of_outputs),
        "state_jacobians": jaxrnn.diagnostics.state_jacobians(cell, own, xs[:, :4]),
        "gate_statistics": jaxrnn.diagnostics.gate_statistics(cell, own, xs),
    }


def main(config: Config) -> dict[str, Any]:
    """Reports, trains, and reports again; returns the losses, and the share of the gradient at the longest lag."""
    network = build(config)
    model = network.model
    initial, order, training, unseen = jax.random.split(jax.random.key(config.seed), 4)
    batch = adding(unseen, config.T, 128)
    rows = config.steps * config.batch_size  # each is seen once
    optimizer = optax.chain(optax.clip_by_global_norm(config.clip_norm), optax.adam(config.learning_rate))
    params = model.init(initial)
    before = look(network, params, batch, config.out / "before")
    result = jaxrnn.fit(
        model,
        loss,
        optimizer,
        adding(training, config.T, rows),
        key=order,
        params=params,
        steps=config.steps,
        batch_size=config.batch_size,
        diagnose_every=max(1, config.steps // 10),
        run_dir=command.run_dir(config, config.out),
        progress=config.progress,
    )
    result.history.plot_diagnostics(str(config.out / "looks.png"))
    after = look(network, result.params, batch, config.out / "after")
    found: dict[str, Any] = {}
    for when, report in {"before": before, "after": after}.items():
        found |= {f"loss {when}": report.loss, f"gradient left {when}": report.worst.left}
    found |= {
        "parameters": sum(x.size for x in jax.tree.leaves(result.params)),
        "compile seconds": result.history.compile_seconds,
        "training seconds": result.history.run_seconds,
    }
    run_folder.write(config.out, config, found, result.history)
    print(f"before training\n\n{before}\n\nafter {config.steps} steps\n\n{after}")
    return found


if __name__ == "__main__":
    command.start(main, Config)
