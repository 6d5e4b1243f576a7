"""A layer that attends to a memory, such as the outputs of an encoder."""

import dataclasses
from collections.abc import Callable
from typing import TYPE_CHECKING, Literal

import jax
import jax.numpy as jnp

from jaxrnn import checks
from jaxrnn.arguments import checked_params
from jaxrnn.cells.gated import GatedCell
from jaxrnn.driver import run_layer
from jaxrnn.masks import zero_unless
from jaxrnn.models.attention import Attention, Memory
from jaxrnn.types import Call, Cell, Gradient, Model, Params, Tree, leaf, pytree
from jaxrnn.validity import combined

if TYPE_CHECKING:
    from jaxtyping import Float


@pytree
class AttentionDecoder(Model):
    """See `attention_decoder`."""

    cell: GatedCell = leaf()
    attention: Attention = leaf()
    attend: str = "after"
    gradient: Gradient | None = leaf(default=None)
    memory: Memory | None = leaf(default=None)

    @property
    def parts(self) -> tuple[Cell, ...]:
        return (self.cell,)

    @property
    def names(self) -> tuple[str, ...]:
        return ("cell",)

    @property
    def features(self) -> tuple[int, int]:
        D = self.cell.D - (self.attention.M if self.attend == "before" else 0)
        return D, self.cell.H + self.attention.M

    def init(self, key: jax.Array) -> Params:
        cell, attention = jax.random.split(checks.key("key", key))
        return {"cell": self.cell.init(cell), "attention": self.attention.init(attention)}

    def initial_carry(self, params: Params, batch_shape: tuple[int, ...] = ()) -> Tree:
        return self.cell.initial_carry(params["cell"], batch_shape)

    def run(self, params: Params, carry: Tree, xs: Tree, call: Call) -> tuple[Tree, jax.Array]:
        carry, ys, _ = self.attending(params, carry, xs, call)
        return carry, ys

    def attending(self, params: Params, carry: Tree, xs: Tree, call: Call) -> tuple[Tree, jax.Array, jax.Array]:
        """Runs the layer like `run`, and also returns the weights [T, *batch_shape, S]."""
        checked_params(self, params)
        xs, memory = checks.array("xs", xs), self.memory
        if memory is None:
            raise ValueError(
                "model: expected a memory to attend to, got none; see jaxrnn.attach and jaxrnn.encoder_decoder"
            )
        if xs.ndim < 2:
            raise ValueError(f"xs: expected an array [T, ..., D], got {checks.short(xs)}")
        batch_shape, found = xs.shape[1:-1], memory.values.shape
        if found[:-2] != batch_shape:
            shape = ", ".join(["S", *map(str, batch_shape), "M"])
            raise ValueError(
                f"memory: expected values [{shape}], time first, with the rows of xs {checks.short(xs)}, "
                f"got {[found[-2], *found[:-2], found[-1]]}"
            )
        own = params["attention"]
        keys = self.attention.keys(own, memory.values)
        if self.attend == "before":
            looking = Looking(self.cell, self.attention, keys, memory)
            carry, (ys, weights) = run_layer(looking, params, xs, carry, call, gradient=self.gradient)
            return carry, ys, weights
        carry, hs = run_layer(self.cell, params["cell"], xs, carry, call, gradient=self.gradient)
        contexts, weights = self.attention.attend(own, hs, keys, memory)
        ys = jnp.concatenate([hs, contexts.astype(hs.dtype)], -1)
        ys, weights = zero_unless(call.valid(xs.shape[0], xs.shape[1:-1]), (ys, weights))
        return carry, ys, weights


@pytree
class Looking(Cell):
    """A cell whose state before each step attends to a memory: [x; context] -> ([h; context], weights).

    Attributes:
      cell: the inner cell, with D + M input features.
      attention: the attention to the memory.
      keys: the attention's keys of the memory.
      memory: the memory.
    """

    cell: GatedCell = leaf()
    attention: Attention = leaf()
    keys: jax.Array = leaf()
    memory: Memory = leaf()

    @property
    def features(self) -> tuple[int, None]:
        return self.cell.D - self.attention.M, None

    def init(self, key: jax.Array) -> Params:
        return AttentionDecoder(self.cell, self.attention).init(key)

    def initial_carry(self, params: Params, batch_shape: tuple[int, ...] = ()) -> Tree:
        return self.cell.initial_carry(params["cell"], batch_shape)

    def noise(self, key: jax.Array, T: int, batch_shape: tuple[int, ...]) -> Tree:
        return self.cell.noise(key, T, batch_shape)

    def step(self, params: Params, carry: Tree, x: jax.Array, noise: Tree = None) -> tuple[Tree, Tree]:
        query = self.cell.hidden(carry)
        context, weights = self.attention.attend(params["attention"], query, self.keys, self.memory)
        carry, h = self.cell.step(params["cell"], carry, jnp.concatenate([x, context.astype(x.dtype)], -1), noise)
        return carry, (jnp.concatenate([h, context.astype(h.dtype)], -1), weights)


def attention_decoder(
    cell: Cell,
    attention: Attention,
    *,
    attend: Literal["after", "before"] = "after",
    gradient: Gradient | None = None,
) -> AttentionDecoder:
    """A recurrent layer that attends to a memory at each step: y[t] = [h[t]; context[t]].

    The memory is another sequence m[0] ... m[S-1], which `jaxrnn.encoder_decoder` or `jaxrnn.attach` passes in. The
    context is the mean of m[s] over s, weighted by the softmax of the attention's scores of a query and m[s].

    Args:
      cell: a gated cell, such as a GRU.
      attention: `jaxrnn.additive_attention(H, M, A)` or `jaxrnn.dot_attention(H, M)`.
      attend: "after" (Luong): the query is h[t], and all steps attend at once, after the loop. "before" (Bahdanau): the
        query is h[t-1], and the cell reads [x[t]; context[t]], so the cell has M more input features than xs.
      gradient: the way to differentiate through time; None: `reverse_scan()` for a gated cell, `autodiff()` for any
        other.

    Returns:
      A Model with the parameters {"cell", "attention"}, the carry of the cell and H + M output features.

    Raises:
      ValueError, TypeError: something is of the wrong type, or the features do not fit.

    References:
      Bahdanau et al. 2015, arXiv:1409.0473; Luong et al. 2015, arXiv:1508.04025 (global attention, no input feeding).

    Example:
      >>> import jax
      >>> import jaxrnn
      >>> cell = jaxrnn.gru(3 + 6, 8)  # reads [x[t]; context[t]]
      >>> layer = jaxrnn.attention_decoder(cell, jaxrnn.additive_attention(8, 6, 4), attend="before")
      >>> params = layer.init(jax.random.key(0))
      >>> memory = jax.numpy.ones((7, 2, 6))
      >>> carry, ys = jaxrnn.attach(layer, memory).apply(params, jax.numpy.ones((5, 2, 3)))
      >>> ys.shape
      (5, 2, 14)
    """
    gated: GatedCell = checks.instance("cell", cell, GatedCell, "such as jaxrnn.gru(D, H)")
    checks.instance("attention", attention, Attention, "such as jaxrnn.dot_attention(H, M)")
    checks.one_of("attend", attend, ("after", "before"))
    if attention.Q != gated.H:
        raise ValueError(f"attention: expected queries of {gated.H} features, the cell's, got {attention.Q}")
    if attend == "before" and gated.D <= attention.M:
        raise ValueError(
            f'cell: expected more input features than the memory\'s {attention.M} with attend="before", as it reads '
            f"[x; context], got {gated.D}"
        )
    gradient = None if gradient is None else checks.instance("gradient", gradient, Gradient)
    return AttentionDecoder(gated, attention, attend, gradient)


def attach(
    model: Model,
    values: "Float[jax.Array, 'S *B M']",
    *,
    lengths: checks.ArrayLike | None = None,
    mask: checks.ArrayLike | None = None,
) -> Model:
    """Attaches a memory to a model, for its attention to read.

    Models that decode step by step (`jaxrnn.decoding.generate`, `jaxrnn.decoding.beam_search`) need a memory attached.

    Args:
      model: a model with one `attention_decoder` or more; each of them gets the memory.
      values: the memory [S, *batch_shape, M].
      lengths: integers [*batch_shape]: row b has lengths[b] steps. None: all have S.
      mask: bool [S, *batch_shape]: the valid steps. None: no holes.

    Returns:
      The model, with the same parameters.

    Raises:
      ValueError, TypeError: the model has no attention, or an argument does not fit.

    Example:
      >>> import jax
      >>> import jaxrnn
      >>> layer = jaxrnn.attention_decoder(jaxrnn.gru(3, 8), jaxrnn.dot_attention(8, 6))
      >>> params = layer.init(jax.random.key(0))
      >>> model = jaxrnn.attach(layer, jax.numpy.ones((7, 2, 6)), lengths=[7, 4])
      >>> carry, ys = model.apply(params, jax.numpy.ones((5, 2, 3)))
      >>> ys.shape
      (5, 2, 14)
    """
    checks.instance("model", model, Model)
    values = checks.array("values", values)
    if values.ndim < 2 or values.shape[0] < 1:
        raise ValueError(f"values: expected an array [S, ..., M] of at least one step, got {checks.short(values)}")
    if not jnp.issubdtype(values.dtype, jnp.floating):
        raise TypeError(f"values: expected floating-point numbers, got {checks.short(values)}")
    valid, _ = combined(values.shape[0], values.shape[1:-1], lengths, mask, None)
    if valid is not None:
        values, valid = zero_unless(valid, values), jnp.moveaxis(valid, 0, -1)
    memory, found = Memory(jnp.moveaxis(values, 0, -2), valid), []

    def attached(part: AttentionDecoder) -> AttentionDecoder:
        if values.shape[-1] != part.attention.M:
            raise ValueError(f"values: expected {part.attention.M} features, [S, ..., M], got {checks.short(values)}")
        found.append(part)
        return dataclasses.replace(part, memory=memory)

    model = at_attention(model, attached)
    if not found:
        raise ValueError(f"model: expected one with a jaxrnn.attention_decoder in it, got {model!r}")
    return model


def at_attention(model: Model, change: Callable[[AttentionDecoder], Model]) -> Model:
    """A model with another layer in the place of each attention layer."""

    def changed(part: Tree) -> Tree:
        return change(part) if isinstance(part, AttentionDecoder) else part

    return jax.tree.map(changed, model, is_leaf=lambda part: isinstance(part, AttentionDecoder))
