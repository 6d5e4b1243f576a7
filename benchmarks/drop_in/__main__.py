"""Programs written with Flax alone, timed unchanged and with one import changed: `python -m benchmarks.drop_in`."""

import dataclasses
import functools
import json
import pathlib
import types
from typing import Any

import jax
import numpy as np
import tyro

from benchmarks.timing import geometric_mean, interleaved, machine

PROGRAMS = ("classifier", "characters", "seq2seq")
IMPORTS = {
    "from flax import nnx": "from jaxrnn.interop import nnx",
    "import flax.linen as nn": "from jaxrnn.interop import linen as nn",
}


@dataclasses.dataclass(frozen=True)
class Config:
    """Training programs of Flax, compared with the same programs with jaxrnn's layers."""

    hidden: tuple[int, ...] = (64, 128, 256)
    """Hidden features."""
    steps: int = 5
    """Steps of training whose losses are compared."""
    rounds: int = 9
    """Timed rounds, interleaved."""
    out: pathlib.Path = pathlib.Path("benchmarks/results/drop_in.json")
    """File for the figures."""


def program(name: str, *, ours: bool) -> types.ModuleType:
    """One of the programs, unchanged or with its one import changed."""
    path = pathlib.Path(__file__).with_name(f"{name}.py")
    text = path.read_text()
    if ours:
        found = [line for line in IMPORTS if line in text]
        assert len(found) == 1, f"{name}: expected one import to change, got {found}"
        text = text.replace(found[0], IMPORTS[found[0]])
    module = types.ModuleType(f"{name}_{'ours' if ours else 'flax'}")
    exec(compile(text, str(path), "exec"), module.__dict__)
    return module


def losses(module: types.ModuleType, cell: str, hidden: int, steps: int) -> tuple[Any, list[float]]:
    """The state after some steps of training, and the loss of each."""
    state, found = module.start(cell, hidden), []
    for i in range(steps):
        state, loss = module.train(state, module.data(jax.random.key(i)))
        found.append(float(loss))
    return state, found


def step(module: types.ModuleType, states: dict[str, Any], who: str, batch: Any) -> Any:
    """Takes one step of training, with the state that the last one left."""
    states[who], loss = module.train(states[who], batch)
    return loss


def main(config: Config) -> None:
    """Compares losses step by step, then times; prints a table and writes JSON."""
    rows, ratios = [], []
    print(
        "| program | cell | H | flax, ms (quartiles) | jaxrnn, ms (quartiles) | faster by |\n|---|---|---|---|---|---|"
    )
    for name in PROGRAMS:
        modules = {"flax": program(name, ours=False), "jaxrnn": program(name, ours=True)}
        batch = modules["flax"].data(jax.random.key(100))
        for cell in ("lstm", "gru"):
            for hidden in config.hidden:
                states, curves = {}, {}
                for who, module in modules.items():
                    states[who], curves[who] = losses(module, cell, hidden, config.steps)
                np.testing.assert_allclose(curves["jaxrnn"], curves["flax"], rtol=1e-5)

                times = interleaved(
                    {who: functools.partial(step, module, states, who, batch) for who, module in modules.items()},
                    rounds=config.rounds,
                )
                ratio = times["flax"].median / times["jaxrnn"].median
                ratios.append(ratio)
                shown = [f"{1e3 * t.median:.1f} ({1e3 * t.low:.1f} to {1e3 * t.high:.1f})" for t in times.values()]
                print(f"| {name} | {cell} | {hidden} | {shown[0]} | {shown[1]} | {ratio:.2f} |", flush=True)
                rows.append({"program": name, "cell": cell, "hidden": hidden, "ratio": ratio} | {
                    who: t._asdict() for who, t in times.items()
                })  # fmt: skip
    mean = geometric_mean(ratios)
    print(f"\ngeometric mean: {mean:.2f}")
    config.out.write_text(
        json.dumps({"machine": machine("flax"), "rows": rows, "geometric mean": mean}, indent=1) + "\n"
    )


if __name__ == "__main__":
    main(tyro.cli(Config))
