"""The options that all gated cells share, and their checks."""

from typing import Any, TypedDict

import jax

from jaxrnn import checks
from jaxrnn.initializers import Initializer
from jaxrnn.types import Tree


class GatedOptions(TypedDict, total=False):
    """Options of every gated cell; see `jaxrnn.GatedCell`."""

    bias: bool
    hidden_bias: bool
    input_init: Initializer
    recurrent_init: Initializer
    bias_init: Initializer
    dtype: checks.DTypeLike | None
    param_dtype: checks.DTypeLike
    recurrent_dropout: jax.typing.ArrayLike | None
    zoneout: Tree
    learn_carry: bool
    heads: int


ELSEWHERE = {
    "num_layers": "jaxrnn.stack([cell, cell]) has several layers",
    "bidirectional": "jaxrnn.bidirectional(cell, cell) reads both ways",
    "batch_first": "time_major=False, of apply, unroll and fit, reads batch-first data",
    "time_major": "time_major=False, of apply, unroll and fit, reads batch-first data",
    "dropout": "jaxrnn.dropout(rate) stands between layers in a jaxrnn.chain, recurrent_dropout acts on h[t-1]",
    "return_sequences": "all outputs are returned; jaxrnn.last() keeps the last one",
    "return_state": "the state after the last step is always returned, as the carry",
    "nonlinearity": "it is called activation",
}
"""Options of other libraries, and what does the same here."""


def checked(options: GatedOptions) -> dict[str, Any]:
    """The options; raises an error that names the option that is wrong."""
    given: dict[str, Any] = dict(options)
    known = tuple(GatedOptions.__annotations__)
    for name in given:
        if name not in known:
            hint = f"; {ELSEWHERE[name]}" if name in ELSEWHERE else ""
            raise TypeError(f"{name}: expected one of the options {known}, got an unknown one{hint}")
    for name in ("input_init", "recurrent_init", "bias_init"):
        if name in given:
            checks.initializer(name, given[name])
    if given.get("recurrent_dropout") is not None:
        given["recurrent_dropout"] = checks.rate("recurrent_dropout", given["recurrent_dropout"])
    for name in ("bias", "hidden_bias", "learn_carry"):
        checks.flag(name, given.get(name, False))
    for name in ("dtype", "param_dtype"):
        if name in given and not (name == "dtype" and given[name] is None):
            given[name] = checks.float_dtype(name, given[name])
    return given
