"""Calls of the public functions with one argument wrong: `python -m benchmarks.survival calls`."""

import collections
import contextlib
import random
import re
import sys
import tempfile
import warnings
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

import jaxrnn
from benchmarks.survival.functions import FILE, installed, missing, table
from tests.bad_input.case import KINDS
from tests.bad_input.values import MODEL, drawn

CLEAR = re.compile(r"^(\w[\w.]*(\[[^\]]*\])*( \w+)?: )+.*(expected|needs|can't|did you mean)", re.DOTALL)
"""A message that names an argument and says what was expected of it."""
EXPECTED = (ValueError, TypeError, FileNotFoundError)
KNOWN = [value for value, _, _ in KINDS.values()]
"""Values that the tests use in the wrong places."""


def wrong(value: Any, rng: random.Random) -> tuple[str, Any]:
    """A wrong value in place of an argument: (description, value)."""
    anything = [None, "x", -1, 2.5, float("nan"), float("inf"), [], {}, (), object(), len, 1000, True, *KNOWN]
    own: list[tuple[str, Any]] = []
    if isinstance(value, np.ndarray):
        own = [
            ("one axis less", value[0]), ("an axis more", value[None]), ("transposed", value.T),
            ("too few rows", value[:, :-1] if value.ndim > 1 else value[:-1]), ("none", value[:0]),
            ("text", value.astype(str)),
            ("objects", value.astype(object)), ("complex", value.astype(np.complex64)), ("a list", value.tolist()),
            ("a ragged list", [[1.0], [1.0, 2.0]]), ("booleans", value.astype(bool)), ("a number", value.flat[0]),
            ("too large", value.astype(np.int64) + 100), ("negative", -1 - abs(value.astype(np.int64))),
            ("a feature more", np.concatenate([value, value[..., -1:]], -1)),
        ]  # fmt: skip
    elif isinstance(value, dict) and value:
        entry = rng.choice([*value])
        inner = wrong(value[entry], rng)
        own = [
            ("an entry less", {k: v for k, v in value.items() if k != entry}), ("an entry more", value | {"other": 1}),
            ("a misspelt entry", {(f"{k}s" if k == entry else k): v for k, v in value.items()}),
        ] + 4 * [(f"{entry}: {inner[0]}", value | {entry: inner[1]})]  # fmt: skip
    elif isinstance(value, (list, tuple)) and value:
        inner = wrong(value[0], rng)
        own = [
            (f"[0]: {inner[0]}", [inner[1], *value[1:]]),
            ("one twice", [*value, value[0]]),
            ("backwards", value[::-1]),
        ]
    elif isinstance(value, jax.Array) and jnp.issubdtype(value.dtype, jax.dtypes.prng_key):
        own = [("keys", jax.random.split(value, 2)), ("an integer", 0), ("raw", jnp.zeros(3, jnp.uint32))]
    elif isinstance(value, jax.Array):
        return wrong(np.asarray(value), rng)
    choice = rng.choice(own) if own and rng.random() < 0.75 else ("", rng.choice(anything))
    return choice[0] or repr(choice[1])[:30], choice[1]


def calls(count: int = 1000, seed: int = 0) -> None:
    """Calls public functions with one wrong argument, and counts the outcomes.

    Args:
      count: the number of calls.
      seed: the seed of the choices.
    """
    if missing():
        sys.exit(f"functions.py: expected each public name in the table or in LEFT_OUT, got neither for {missing()}")
    rng, outcomes, texts = random.Random(seed), collections.Counter[str](), dict[str, collections.Counter[str]]()
    known = [call for call in table() if installed(call.name)]
    with tempfile.TemporaryDirectory() as root, contextlib.chdir(root), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        jaxrnn.save(FILE, drawn(MODEL), MODEL)
        right = [call.given() for call in known]
        for call, arguments in zip(known, right, strict=True):
            call.function(**arguments)  # right, before one argument is wrong
        for number in range(count):
            call, arguments = known[number % len(known)], right[number % len(known)]
            argument = rng.choice([*arguments])
            what, value = wrong(arguments[argument], rng)
            try:
                call.function(**arguments | {argument: value})
            except Exception as error:
                clear = isinstance(error, EXPECTED) and CLEAR.match(str(error))
                outcome, said = "a clear error" if clear else "raw", f": {type(error).__name__}: {error}"[:160]
            else:
                outcome, said = "accepted", ""
            outcomes[outcome] += 1
            text = f"{outcome}: {call.name}({argument}: {what}){said}".replace("\n", " ")
            texts.setdefault(outcome, collections.Counter())[text] += 1
    print(f"{count} calls of {len({call.name.partition(' ')[0] for call in known})} functions: {dict(outcomes)}")
    for outcome in ("raw", "accepted"):
        for text, n in sorted(texts.get(outcome, {}).items()):
            print(" ", text, n if n > 1 else "")
    sys.exit(outcomes["raw"] > 0)
