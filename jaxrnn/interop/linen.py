"""Flax linen: recurrent layers in place of Flax's, and linen's cells and modules as parts of jaxrnn's models.

Change one line: `from jaxrnn.interop import linen as nn` instead of `import flax.linen as nn`. Every other name is
Flax's own.
"""

import dataclasses
import functools
import typing

import flax.linen
import jax
import jax.numpy as jnp
from flax.core import FrozenDict
from flax.linen.recurrent import RNNCellBase

from jaxrnn import checks
from jaxrnn.cells.elman import Elman, elman
from jaxrnn.cells.gru import GRU, gru
from jaxrnn.cells.lstm import LSTM, lstm
from jaxrnn.functions import unwrapped
from jaxrnn.interop import flax as conventions
from jaxrnn.interop.flax import Init, Shapes, View
from jaxrnn.interop.layer import Layer
from jaxrnn.interop.weights import blocks, candidate_bias, check_shapes, checked_cell, is_floating, one_bias
from jaxrnn.saving import as_it_is
from jaxrnn.types import Cell, Gradient, Params, Tree, pytree

__all__ = ["RNN", "Bidirectional", "layer"]


def __getattr__(name: str) -> typing.Any:
    return getattr(flax.linen, name)


def __dir__() -> list[str]:
    return sorted({*__all__, *dir(flax.linen)})


class RNN(flax.linen.RNN):
    """A recurrent layer with the fields of `flax.linen.RNN`, and jaxrnn's speed, gradients and resets.

    Attributes:
      cell: a jaxrnn Cell, with its parameters under "cell", or any linen cell, with its parameters where Flax has them,
        drawn as Flax draws them. SimpleCell, LSTMCell, OptimizedLSTMCell and GRUCell run by jaxrnn's own equations,
        others by their `__call__`. Cells with collections beside "params" run by Flax's own loop, which also reads
        `unroll`, `variable_axes`, `variable_broadcast`, `variable_carry` and `split_rngs`.
      time_major, return_carry, reverse, keep_order: as in Flax. Without `time_major` inputs are [*batch, T, D].
      gradient: the way to differentiate through time, such as `jaxrnn.checkpointed()`; None: `reverse_scan()` for gated
        cells.

    Outputs on padding are zero here (in Flax they are the cell's outputs for the padding), and a row of length 0
    returns its initial carry. Neither holds where Flax's own loop runs.

    Example:
      >>> import jax
      >>> import jax.numpy as jnp
      >>> import flax.linen as nn
      >>> import jaxrnn
      >>> rnn = jaxrnn.interop.linen.RNN(nn.LSTMCell(8))
      >>> ys, variables = rnn.init_with_output(jax.random.key(0), jnp.ones((2, 5, 3)))
      >>> ys.shape, variables["params"]["cell"]["ii"]["kernel"].shape
      ((2, 5, 8), (3, 8))
    """

    gradient: Gradient | None = None

    @flax.linen.compact
    def __call__(
        self,
        inputs: jax.Array,
        *,
        initial_carry: Tree = None,
        init_key: jax.Array | None = None,
        seq_lengths: typing.Any = None,
        return_carry: bool | None = None,
        time_major: bool | None = None,
        reverse: bool | None = None,
        keep_order: bool | None = None,
        resets: typing.Any = None,
        key: jax.Array | None = None,
    ) -> typing.Any:
        """Reads sequences.

        Args:
          inputs: [*batch, T, D], or [T, *batch, D] if `time_major`.
          initial_carry: the state before the first step, as a call with `return_carry` returns it (a linen LSTM's is
            (c, h)); None: the cell's initial carry.
          init_key: a key for a cell whose initial carry is random.
          seq_lengths: integers [*batch].
          return_carry, time_major, reverse, keep_order: replace the fields of the layer.
          resets: bool [*batch, T], or [T, *batch] if `time_major`: an episode starts at this step.
          key: a key for the noise of a jaxrnn cell, such as recurrent dropout; None means evaluation.

        Returns:
          outputs [*batch, T, H], or (carry, outputs) with `return_carry`.

        Raises:
          ValueError, TypeError: an argument does not fit; the message names it.
        """
        cell: typing.Any = self.cell
        checks.instance("cell", cell, (Cell, RNNCellBase), "such as jaxrnn.lstm(3, 8) or nn.GRUCell(8)")
        own = {"time_major": time_major, "reverse": reverse, "keep_order": keep_order}
        options = {name: getattr(self, name) if value is None else value for name, value in own.items()}
        return_carry = self.return_carry if return_carry is None else return_carry
        linen, axes, carry = isinstance(cell, RNNCellBase), getattr(cell, "num_feature_axes", 1), initial_carry
        inputs = checks.array("inputs", inputs)
        if linen:
            rows = conventions.batch_shape(inputs, options["time_major"], axes)
            shape = (*rows, *inputs.shape[inputs.ndim - axes :])
            start = functools.partial(cell.initialize_carry, jax.random.key(0) if init_key is None else init_key, shape)
            lifted = any(getattr(self, name) != default for name, default in LIFTED.items())
            if self.is_initializing() and not lifted:
                cell(start() if carry is None else carry, jnp.zeros(shape, inputs.dtype))
            if lifted or set(cell.variables) - {"params"}:
                if self.gradient is not None or resets is not None or key is not None:
                    raise ValueError(
                        "cell: expected one without collections beside 'params' and random keys, for gradient, resets "
                        f"and key, got {checks.short(cell)}"
                    )
                return super().__call__(
                    inputs, initial_carry=carry, init_key=init_key, seq_lengths=seq_lengths, return_carry=return_carry,
                    **options,
                )  # fmt: skip
            params = _plain(cell.variables.get("params", {}))
            view = _native(cell, params)
            if view is None:
                view = View(LinenCell(cell.unbind()[0], Shapes.of(params), shape[-1:]), params)
                carry = start() if carry is None else carry
            carry = conventions.carry_from_flax(view.cell, carry)
        else:
            view = View(cell, self.param("cell", cell.init))
        final, ys = conventions.run(
            view, inputs, carry=carry, lengths=seq_lengths, resets=resets, gradient=self.gradient, key=key,
            return_carry=return_carry, feature_axes=axes, **options,
        )  # fmt: skip
        if not return_carry:
            return ys
        return (conventions.carry_to_flax(view.cell, final) if linen else final), ys


LIFTED = {
    field.name: field.default
    for field in dataclasses.fields(flax.linen.RNN)
    if field.name in ("variable_axes", "variable_broadcast", "variable_carry", "split_rngs")
}
"""The fields that list collections beside a cell's parameters; a cell with such collections runs by Flax's own loop."""


class Bidirectional(flax.linen.Bidirectional):
    """`flax.linen.Bidirectional`, which also passes `resets` and `key` to its two layers.

    Example:
      >>> import flax.linen as nn
      >>> import jax
      >>> import jax.numpy as jnp
      >>> from jaxrnn.interop.linen import RNN, Bidirectional
      >>> layer = Bidirectional(RNN(nn.GRUCell(8)), RNN(nn.GRUCell(8)))
      >>> xs, resets = jnp.ones((2, 5, 3)), jnp.zeros((2, 5), bool).at[:, 3].set(True)
      >>> ys, variables = layer.init_with_output(jax.random.key(0), xs, resets=resets)
      >>> ys.shape, bool(jnp.allclose(ys[:, 0, :8], ys[:, 3, :8], atol=1e-6))
      ((2, 5, 16), True)
    """

    def __call__(
        self,
        inputs: jax.Array,
        *,
        initial_carry: typing.Any = None,
        init_key: jax.Array | None = None,
        seq_lengths: typing.Any = None,
        return_carry: bool | None = None,
        time_major: bool | None = None,
        reverse: bool | None = None,
        keep_order: bool | None = None,
        resets: typing.Any = None,
        key: jax.Array | None = None,
    ) -> typing.Any:
        """Reads sequences in both directions; arguments as for `RNN`, and `initial_carry` a pair.

        Returns:
          The merged outputs, or ((forward carry, backward carry), outputs) with `return_carry`.
        """
        del reverse, keep_order  # as in Flax
        init_keys = (None, None) if init_key is None else jax.random.split(init_key)
        return conventions.both_ways(
            self, inputs, initial_carry=initial_carry, return_carry=return_carry, time_major=time_major, key=key,
            each=[{"init_key": k} for k in init_keys], resets=resets, seq_lengths=seq_lengths,
        )  # fmt: skip


@pytree
class LinenCell(Cell):
    """A linen cell without collections beside "params": see `from_linen`."""

    module: typing.Any
    draw: Init
    shape: tuple[int, ...]

    def init(self, key: jax.Array) -> Params:
        return self.draw(key)

    def initial_carry(self, params: Params, batch_shape: tuple[int, ...] = ()) -> Tree:
        carry = self.module.initialize_carry(jax.random.key(0), (*batch_shape, *self.shape))
        return conventions.as_wide_as(params, carry)

    def step(self, params: Params, carry: Tree, x: jax.Array, noise: Tree = None) -> tuple[Tree, typing.Any]:
        return self.module.apply({"params": params}, carry, x)


class Drawn(typing.NamedTuple):
    """The `init` of a linen module, for inputs of this shape; for a cell, together with a carry."""

    module: typing.Any
    shape: tuple[int, ...]
    dtype: typing.Any = jnp.float32

    def __call__(self, key: jax.Array) -> Params:
        x = jnp.zeros(self.shape, self.dtype)
        carry = (self.module.initialize_carry(key, self.shape),) if isinstance(self.module, RNNCellBase) else ()
        variables = self.module.init(key, *carry, x)
        if set(variables) - {"params"}:
            raise ValueError(f"module: expected no collection beside 'params', got {sorted(variables)}")
        return _plain(variables.get("params", {}))

    def __repr__(self) -> str:
        return "drawn anew"


def from_linen(module: typing.Any, params: Params, *, D: int | tuple[int, ...] | None = None) -> tuple[Cell, Params]:
    """Makes a jaxrnn cell of any linen cell; jaxrnn's gradients, checks, diagnostics and sweeps then work on it.

    Args:
      module: the linen cell, such as `nn.LSTMCell(8)`.
      params: its parameters: variables["params"] of the cell, or variables["params"]["cell"] of an `nn.RNN` of it.
      D: input features, or the shape of a step's input, for the `init` of the returned cell; None: taken from the
        kernels of linen's own cells; for other cells `init` then returns `params`.

    Returns:
      (cell, params). linen's SimpleCell, LSTMCell, OptimizedLSTMCell and GRUCell without changes become `elman`, `lstm`
      (with the carry LSTMCarry(h, c); Flax's is (c, h)) and `gru`. Their `init` draws each gate by itself with the
      module's initialisers. Any other cell becomes a plain Cell that applies it.

    Raises:
      TypeError: `module` is not a linen cell.
      ValueError: a parameter is missing, unknown or of another shape; the message names it.

    Example:
      >>> import flax.linen as nn
      >>> import jax
      >>> import jaxrnn
      >>> module, x = nn.LSTMCell(8), jax.numpy.ones(3)
      >>> variables = module.init(jax.random.key(0), module.initialize_carry(jax.random.key(1), x.shape), x)
      >>> cell, params = jaxrnn.interop.from_linen(module, variables["params"])
      >>> params["w_x"].shape
      (3, 32)
    """
    hint = "such as nn.LSTMCell(8); of an nn.RNN, its cell and params['cell']"
    checks.instance("module", module, RNNCellBase, hint)
    named = _plain(checks.instance("params", params, (dict, FrozenDict)))
    params = jax.tree_util.tree_map_with_path(lambda at, x: as_it_is(f"params{jax.tree_util.keystr(at)}", x), named)
    shape: tuple[int, ...] | None = (D,) if isinstance(D, int) else D
    for size in () if shape is None else checks.instance("D", shape, tuple, "a number of features, or None"):
        checks.positive_int("D", size)
    found = _native(module, params)
    if found is not None:
        if shape not in (None, found.cell.features[:1]):
            raise ValueError(f"D: expected {found.cell.features[0]}, the rows of the kernels, or None, got {D!r}")
        return found
    if shape is None:
        return LinenCell(module, conventions.held_or_shapes(params), (1,)), params
    draw = Drawn(module, shape)
    checks.same_tree("params", params, jax.eval_shape(lambda key: draw(key), jax.random.key(0)))
    return LinenCell(module, draw, shape[-1:]), params


def to_linen(cell: Cell, params: Params) -> tuple[typing.Any, Params]:
    """Makes a linen cell, `SimpleCell`, `OptimizedLSTMCell` or `GRUCell`, and its parameters with these weights.

    Args:
      cell: `elman`, `lstm` or `gru`.
      params: its parameters. linen has one bias for both products, the sum of ours; only n of a GRU has two.

    Returns:
      (module, params): `module.apply({"params": params}, carry, x)`; `LSTMCell` has the same parameters.

    Raises:
      ValueError, TypeError: linen has no such cell, or the parameters are not the cell's.

    Example:
      >>> import jax
      >>> import jaxrnn
      >>> cell = jaxrnn.gru(3, 8, hidden_bias=False)
      >>> module, params = jaxrnn.interop.to_linen(cell, cell.init(jax.random.key(0)))
      >>> carry, y = module.apply({"params": params}, jax.numpy.zeros(8), jax.numpy.ones(3))
      >>> y.shape
      (8,)
    """
    checked_cell(cell, params, "linen", (Elman, LSTM, GRU))
    H, dtype = params["w_h"].shape[0], params["w_x"].dtype
    zeros = jnp.zeros_like(params["w_x"][0])
    if isinstance(cell, GRU):
        module: typing.Any = flax.linen.GRUCell(H, param_dtype=dtype)
        bias, of_n = candidate_bias(params)
    else:
        bias, of_n = one_bias(params), None
        if isinstance(cell, Elman):
            f = unwrapped(cell.activation)
            module = flax.linen.SimpleCell(H, activation_fn=f, param_dtype=dtype, dtype=dtype)
        else:
            module = flax.linen.OptimizedLSTMCell(H, param_dtype=dtype)
    return module, _named(cell, params["w_x"], params["w_h"], zeros if bias is None else bias, of_n)


def layer(
    module: typing.Any, shape: int | tuple[int, ...], *, sequence: bool = False, dtype: typing.Any = jnp.float32
) -> Layer:
    """Makes a Flax linen module a part of a jaxrnn model: a convolution before the recurrent layers, a head after them.

    Args:
      module: the linen module. With a `key` it gets the rng "dropout", in evaluation it gets none. A module with
        dropout should therefore use `deterministic=not self.has_rng("dropout")`.
      shape: the shape of a step's features, D or a tuple, () for symbols; used to draw the parameters.
      sequence: False: the module gets [T, *batch, ...], and maps each step by itself. True: it gets [*batch, T, D] and
        may mix steps, as a convolution over time does; it has to return as many steps.
      dtype: the dtype of its inputs: jnp.int32 for symbols.

    Returns:
      A Model with the module's parameters. Padding is zero in its inputs and outputs.

    Raises:
      TypeError: `module` is not a linen module.
      ValueError: it has collections beside "params", such as running statistics.

    Example:
      >>> import flax.linen as nn
      >>> import jax
      >>> import jaxrnn
      >>> model = jaxrnn.chain(jaxrnn.gru(3, 8), jaxrnn.interop.linen.layer(nn.Dense(2), 8))
      >>> carry, ys = model.apply(model.init(jax.random.key(0)), jax.numpy.ones((5, 4, 3)))
      >>> ys.shape
      (5, 4, 2)
    """
    checks.instance("module", module, flax.linen.Module)
    sizes: tuple[int, ...] = (shape,) if isinstance(shape, int) else checks.instance("shape", shape, tuple, "or D")
    for size in sizes:
        checks.positive_int("shape", size)
    checks.dtype("dtype", dtype)
    draw = Drawn(module, (1, *sizes) if checks.flag("sequence", sequence) else sizes, dtype)
    jax.eval_shape(lambda key: draw(key), jax.random.key(0))
    return Layer(Applied(module), draw, sequence, len(sizes))


class Applied(typing.NamedTuple):
    """The map (params, xs, key) -> outputs of a linen module."""

    module: typing.Any

    def __call__(self, params: Params, xs: typing.Any, key: jax.Array | None) -> typing.Any:
        return self.module.apply({"params": params}, xs, rngs=None if key is None else {"dropout": key})

    def __repr__(self) -> str:
        return type(self.module).__name__


def _plain(params: typing.Any) -> Params:
    """Parameters as a dict of arrays, without the boxes for their partitioning."""
    return flax.linen.unbox(params.unfreeze() if isinstance(params, FrozenDict) else dict(params))


GATES: dict[type[Cell], tuple[str, ...]] = {Elman: ("",), LSTM: ("i", "f", "g", "o"), GRU: ("r", "z", "n")}
LSTMS = (flax.linen.LSTMCell, flax.linen.OptimizedLSTMCell)


def _named(cell: Cell, w_x: typing.Any, w_h: typing.Any, bias: typing.Any, of_n: typing.Any) -> Params:
    """Weights by linen's names: the bias is with x, an LSTM's with h."""
    names, of_lstm = GATES[type(cell)], isinstance(cell, LSTM)
    found: dict[str, typing.Any] = {}
    for name, x, h, b in zip(names, *(blocks(w, len(names)) for w in (w_x, w_h, bias)), strict=True):
        found[f"i{name}"] = {"kernel": x} if of_lstm else {"kernel": x, "bias": b}
        found[f"h{name}"] = {"kernel": h, "bias": b} if of_lstm else {"kernel": h}
    if isinstance(cell, GRU):
        found["hn"]["bias"] = jnp.zeros_like(bias[: cell.H]) if of_n is None else of_n
    return found


def _native(module: typing.Any, params: typing.Any) -> View | None:
    """A linen cell as elman, lstm or gru; None if its equations differ."""
    kind = type(module)
    if kind not in (flax.linen.SimpleCell, flax.linen.GRUCell, *LSTMS) or not conventions.standard(module):
        return None
    if module.carry_init is not flax.linen.initializers.zeros:
        return None
    for path, x in jax.tree_util.tree_leaves_with_path(params):
        if not is_floating(x):
            name = f"params{jax.tree_util.keystr(path)}"
            raise TypeError(f"{name}: expected floating-point numbers, got {checks.short(x)}")
    if any(x.dtype != module.param_dtype for x in jax.tree.leaves(params)):
        return None
    prefix = "i" if kind is flax.linen.SimpleCell else "in" if kind is flax.linen.GRUCell else "ii"
    first = params.get(prefix)
    if not isinstance(first, dict) or getattr(first.get("kernel"), "ndim", 0) != 2:
        raise ValueError(f"params: expected {prefix!r} with a 'kernel' [D, H], got {sorted(params)}")
    D, H = first["kernel"].shape[0], module.features
    inits: typing.Any = {"input_init": module.kernel_init, "recurrent_init": module.recurrent_kernel_init}
    inits |= {"param_dtype": module.param_dtype, "bias_init": module.bias_init}
    if kind is flax.linen.SimpleCell:
        cell: Cell = elman(D, H, activation=module.activation_fn, **inits)
    elif kind is flax.linen.GRUCell:
        cell = gru(D, H, **inits)
    else:
        cell = lstm(D, H, forget_bias=0.0, **inits)
    ours = jax.eval_shape(cell.init, jax.random.key(0))
    like = jax.eval_shape(lambda p: _named(cell, p["w_x"], p["w_h"], p["b"], None), ours)
    for name in sorted({*params, *like}):
        if name not in params or name not in like:
            raise ValueError(f"params: expected the entries {sorted(like)}, got {sorted(params)}")
        check_shapes(f"params[{name!r}]", params[name], like[name])
    gates = GATES[type(cell)]
    joined = {side: jnp.concatenate([params[f"{side}{gate}"]["kernel"] for gate in gates], -1) for side in ("i", "h")}
    where = "h" if isinstance(cell, LSTM) else "i"
    b = jnp.concatenate([params[f"{where}{gate}"]["bias"] for gate in gates], -1)
    values = {"w_x": joined["i"], "w_h": joined["h"], "b": b}
    if isinstance(cell, GRU):
        of_n = params["hn"]["bias"]
        values["b_h"] = jnp.concatenate([jnp.zeros_like(b[: 2 * H]), of_n])
    return View(cell, values)
