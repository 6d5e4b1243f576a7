"""The options that all gated cells share, and their checks."""

from typing import Any, TypedDict

from jaxrnn import checks
from jaxrnn.initializers import Initializer


class GatedOptions(TypedDict, total=False):
    """Options of every gated cell; see `jaxrnn.GatedCell`."""

    bias: bool
    hidden_bias: bool
    input_init: Initializer
    recurrent_init: Initializer
    bias_init: Initializer
    dtype: Any
    param_dtype: Any
    recurrent_dropout: Any
    zoneout: Any
    learn_carry: bool
    heads: int


def checked(options: GatedOptions) -> dict[str, Any]:
    """The options; raises an error that names the option that is wrong."""
    given: dict[str, Any] = dict(options)
    known = tuple(GatedOptions.__annotations__)
    for name in given:
        if name not in known:
            raise TypeError(f"{name}: expected one of the options {known}, got an unknown one")
    for name in ("input_init", "recurrent_init", "bias_init"):
        if name in given:
            checks.callable_(name, given[name])
    if given.get("recurrent_dropout") is not None:
        given["recurrent_dropout"] = checks.rate("recurrent_dropout", given["recurrent_dropout"])
    for name in ("bias", "hidden_bias", "learn_carry"):
        checks.flag(name, given.get(name, False))
    for name in ("dtype", "param_dtype"):
        if name in given and not (name == "dtype" and given[name] is None):
            given[name] = checks.float_dtype(name, given[name])
    return given
