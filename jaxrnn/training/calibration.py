"""The evaluation statistics of batch normalisation, from data."""

from collections.abc import Iterable

import jax.numpy as jnp

from jaxrnn import checks
from jaxrnn.arguments import checked_params
from jaxrnn.compiled import compiled
from jaxrnn.data.rows import checked_batch
from jaxrnn.models.batch_norm import batch_norms
from jaxrnn.models.moments import Moments, merged
from jaxrnn.primitives.primitive import get_opaque_trace_state
from jaxrnn.types import Batch, Call, Model, Params
from jaxrnn.validity import reading

Statistics = dict[tuple[str, ...], Moments]
"""The moments found for each `batch_norm` of a model, by the path of its parameters."""


def calibrate(model: Model, params: Params, batches: Batch | Iterable[Batch]) -> Params:
    """Computes the statistics that each `batch_norm` inside a model uses in evaluation, from data.

    They are the exact mean and variance of the layer's inputs at all valid steps of all batches together, with equal
    weight for each value: not a moving average. Within a batch, as in training, layers after a `batch_norm` read values
    that it normalised by the batch's own statistics. So batches should be as large as those of training, or larger.
    Noise such as dropout is off. Batches of one shape compile once.

    `jaxrnn.fit` and `jaxrnn.sweep` call this themselves. After steps of `jaxrnn.training.make_train_step`, call it
    before evaluating.

    Args:
      model: the model.
      params: its parameters.
      batches: a dict like `data` of `fit`: "xs" [T, N, ...], optionally "lengths" and "resets"; or an iterable of such
        dicts, read to its end: it has to end, as `jaxrnn.data.bucketed(..., epochs=1)` does.

    Returns:
      The parameters with new statistics, in the dtypes that they had. Statistics of a `batch_norm` without any valid
      step, and all other parameters, stay.

    Raises:
      ValueError, TypeError: an argument does not fit (the message names it); or a `batch_norm` of the model can't be
        reached: a model of your own has to list its children in `parts` and the entries of their parameters in `names`,
        and to pass its `call` to each child with `call.of`.

    References:
      Wu and Johnson 2021, Rethinking "batch" in BatchNorm, arXiv:2105.07576 (there "precise BatchNorm").

    Example:
      >>> import jax
      >>> import jaxrnn
      >>> model = jaxrnn.chain(jaxrnn.batch_norm(3), jaxrnn.gru(3, 8))
      >>> params = model.init(jax.random.key(0))
      >>> xs = 5.0 + jax.random.normal(jax.random.key(1), (20, 32, 3))
      >>> params = jaxrnn.training.calibrate(model, params, {"xs": xs})
      >>> bool(jax.numpy.allclose(params["0"]["statistics"]["mean"], xs.mean((0, 1)), rtol=1e-3))
      True
    """
    checks.instance("model", model, Model, "put cells into jaxrnn.stack([cell, ...])")
    checked_params(model, params)
    if not isinstance(batches, Iterable):
        raise TypeError(f"batches: expected a dict of arrays or an iterable of such dicts, got {checks.short(batches)}")
    if getattr(batches, "endless", False):
        raise ValueError(f"batches: expected some that end, such as bucketed(..., epochs=1), got {batches!r}")
    total = None
    for batch in [batches] if isinstance(batches, dict) else batches:
        found = _statistics(model, params, checked_batch("batches", batch))
        total = found if total is None else _both(total, found)
    if total is None:
        raise ValueError(f"batches: expected at least one batch, got none in {checks.short(batches)}")
    return with_statistics(params, total)


def statistics(model: Model, params: Params, batch: Batch) -> Statistics:
    """The statistics of one batch, to be called while tracing."""
    expected, found = sorted(batch_norms(model)), {}
    outside = get_opaque_trace_state()

    def record(path: tuple[str, ...], moments: Moments) -> None:
        if get_opaque_trace_state() != outside:
            raise ValueError(
                "model: expected each batch_norm outside of loops and transformations such as vmap, out of which its "
                f"statistics can't be taken, got one inside, at {path}"
            )
        if path not in expected or path in found:
            raise ValueError(f"model: expected one batch_norm at each of {expected}, got another one at {path}")
        found[path] = moments

    call = Call(**reading(batch), record=record)
    model.run(params, None, model.reads(batch), call)
    if sorted(found) != expected:
        raise ValueError(f"model: expected a batch_norm at each of {expected}, got those at {sorted(found)} only")
    return found


def with_statistics(params: Params, found: Statistics) -> Params:
    """The parameters with these statistics, where there were values to compute them from."""
    for path, moments in found.items():
        params = _replaced(params, path, moments)
    return params


def _replaced(params: Params, path: tuple[str, ...], moments: Moments) -> Params:
    if path:
        return params | {path[0]: _replaced(params[path[0]], path[1:], moments)}
    old, new = params["statistics"], {"mean": moments.mean, "variance": moments.variance}
    chosen = {name: jnp.where(moments.size > 0, new[name].astype(x.dtype), x) for name, x in old.items()}
    return params | {"statistics": chosen}


_statistics = compiled(statistics)
_both = compiled(lambda a, b: {path: merged(a[path], b[path]) for path in a})
