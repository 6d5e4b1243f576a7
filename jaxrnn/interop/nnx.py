"""Flax nnx: recurrent layers in place of Flax's, and Flax's cells and modules as parts of jaxrnn's models.

Change one line: `from jaxrnn.interop import nnx` instead of `from flax import nnx`. Every other name is Flax's own.
"""

import typing

import flax.nnx
import jax
import jax.numpy as jnp
from flax.nnx.nn.dtypes import promote_dtype
from flax.nnx.nn.recurrent import default_kernel_init

from jaxrnn import checks
from jaxrnn.arguments import checked_params
from jaxrnn.cells.elman import Elman, elman
from jaxrnn.cells.gru import GRU, gru
from jaxrnn.cells.lstm import LSTM, lstm
from jaxrnn.functions import Function, unwrapped
from jaxrnn.interop import flax as conventions
from jaxrnn.interop.flax import Init, Shapes, View
from jaxrnn.interop.layer import Layer
from jaxrnn.interop.weights import candidate_bias, checked_cell, checked_values, one_bias
from jaxrnn.primitives.primitive import Tracer
from jaxrnn.types import Cell, Gradient, Params, Tree, pytree

__all__ = ["RNN", "Bidirectional", "layer"]


def __getattr__(name: str) -> typing.Any:
    return getattr(flax.nnx, name)


def __dir__() -> list[str]:
    return sorted({*__all__, *dir(flax.nnx)})


class RNN(flax.nnx.RNN):
    """A recurrent layer with the arguments of `flax.nnx.RNN`, and jaxrnn's speed, gradients and resets.

    Args:
      cell: a jaxrnn Cell, or any nnx cell. The parameters of an nnx cell stay where they are, so that saves of Flax's
        layer fit. SimpleCell, LSTMCell, OptimizedLSTMCell and GRUCell run by jaxrnn's own equations, others by their
        `__call__`.
      time_major, return_carry, reverse, keep_order: as in Flax. Without `time_major` inputs are [*batch, T, D].
      unroll, state_axes, broadcast_rngs: used only for cells with a state beside their parameters, such as running
        statistics, which run by Flax's own loop.
      rngs: for a jaxrnn cell, `nnx.Rngs`: its parameters are drawn from the stream "params". For nnx cells as in Flax.
      gradient: the way to differentiate through time, such as `jaxrnn.checkpointed()`; None: `reverse_scan()` for gated
        cells.
      params: the parameters of a jaxrnn cell; None: they are drawn. Either way each becomes an `nnx.Param`.

    Outputs on padding are zero here (in Flax they are the cell's outputs for the padding), and a row of length 0
    returns its initial carry. No call changes `rngs`: without `rngs` in the call, a random initial carry is the same
    at every call. A cell with a state beside its parameters runs by Flax's own loop; then none of this holds.

    Example:
      >>> import jax.numpy as jnp
      >>> import jaxrnn
      >>> from flax import nnx
      >>> rnn = jaxrnn.interop.nnx.RNN(jaxrnn.lstm(3, 8), rngs=nnx.Rngs(0))
      >>> rnn(jnp.ones((2, 5, 3)), seq_lengths=jnp.array([5, 2])).shape
      (2, 5, 8)
    """

    def __init__(
        self,
        cell: typing.Any,
        *,
        time_major: bool = False,
        return_carry: bool = False,
        reverse: bool = False,
        keep_order: bool = False,
        unroll: int = 1,
        state_axes: typing.Any = None,
        broadcast_rngs: typing.Any = None,
        rngs: typing.Any = True,
        gradient: Gradient | None = None,
        params: Params | None = None,
    ) -> None:
        if not isinstance(cell, Cell):
            _checked_cell(cell, "such as jaxrnn.lstm(3, 8) or nnx.GRUCell(...)")
        if gradient is not None:
            checks.instance("gradient", gradient, Gradient, "such as jaxrnn.reverse_scan()")
        flags = {"time_major": time_major, "return_carry": return_carry, "reverse": reverse, "keep_order": keep_order}
        for name, flag in flags.items():
            checks.flag(name, flag)
        if isinstance(cell, Cell):
            params = _drawn(cell, rngs) if params is None else params
            checked_params(cell, params)
            self.params: Params = flax.nnx.data(jax.tree.map(flax.nnx.Param, params))
        elif params is not None:
            raise ValueError("params: expected None for an nnx cell, which has its own, got some")
        given: typing.Any = StaticCell(cell) if isinstance(cell, Cell) else cell
        super().__init__(
            given, time_major=time_major, return_carry=return_carry, reverse=reverse, keep_order=keep_order,
            unroll=unroll, state_axes=state_axes, broadcast_rngs=broadcast_rngs, rngs=rngs,
        )  # fmt: skip
        self.gradient = gradient

    def __call__(
        self,
        inputs: jax.Array,
        *,
        initial_carry: Tree = None,
        seq_lengths: typing.Any = None,
        return_carry: bool | None = None,
        time_major: bool | None = None,
        reverse: bool | None = None,
        keep_order: bool | None = None,
        rngs: typing.Any = None,
        resets: typing.Any = None,
        key: jax.Array | None = None,
    ) -> typing.Any:
        """Reads sequences.

        Args:
          inputs: [*batch, T, D], or [T, *batch, D] if `time_major`.
          initial_carry: the state before the first step, as a call with `return_carry` returns it (an nnx LSTM's is
            (c, h)); None: the cell's initial carry.
          seq_lengths: integers [*batch].
          return_carry, time_major, reverse, keep_order: replace the layer's own.
          rngs: for a cell whose initial carry is random.
          resets: bool [*batch, T], or [T, *batch] if `time_major`: an episode starts at this step.
          key: a key for the noise of a jaxrnn cell, such as recurrent dropout; None means evaluation.

        Returns:
          outputs [*batch, T, H], or (carry, outputs) with `return_carry`.

        Raises:
          ValueError, TypeError: an argument does not fit; the message names it.
        """
        own = {"time_major": time_major, "reverse": reverse, "keep_order": keep_order}
        options = {name: getattr(self, name) if value is None else value for name, value in own.items()}
        return_carry = checks.flag("return_carry", self.return_carry if return_carry is None else return_carry)
        axes, carry = getattr(self.cell, "num_feature_axes", 1), initial_carry
        inputs = checks.array("inputs", inputs)
        view = self._view(inputs.shape[-1:])
        if view is None:
            for name, value in (("gradient", self.gradient), ("resets", resets), ("key", key)):
                if value is not None:
                    raise ValueError(
                        f"{name}: expected None for an nnx cell with a state beside its parameters, which Flax's own "
                        f"loop runs, got {checks.short(value)}"
                    )
            return super().__call__(
                inputs, initial_carry=carry, seq_lengths=seq_lengths, return_carry=return_carry, rngs=rngs, **options
            )
        if carry is None and isinstance(view.cell, NnxCell):
            rows = conventions.batch_shape(inputs, options["time_major"], axes)
            carry = self.cell.initialize_carry((*rows, *inputs.shape[inputs.ndim - axes :]), _stream(self, rngs))
        carry = carry if isinstance(self.cell, StaticCell) else conventions.carry_from_flax(view.cell, carry)
        final, ys = conventions.run(
            view, inputs, carry=carry, lengths=seq_lengths, resets=resets, gradient=self.gradient, key=key,
            return_carry=return_carry, feature_axes=axes, **options,
        )  # fmt: skip
        if not return_carry:
            return ys
        return (final if isinstance(self.cell, StaticCell) else conventions.carry_to_flax(view.cell, final)), ys

    def _view(self, features: tuple[int, ...]) -> View | None:
        if isinstance(self.cell, StaticCell):
            return View(self.cell.cell, jax.tree.map(lambda p: p[...], self.params, is_leaf=_is_variable))
        found = _native(self.cell)
        if found is not None:
            return found
        graph, params, rest = flax.nnx.split(self.cell, flax.nnx.Param, ...)
        if jax.tree.leaves(rest):
            return None
        values = _named(params)
        return View(NnxCell(graph, Shapes.of(values), features, type(self.cell).__name__), values)


def _stream(layer: RNN | flax.nnx.Bidirectional, rngs: typing.Any) -> typing.Any:
    """Keys for initial carries; the layer's own keys are read and do not change."""
    if rngs is not None or layer.rngs is None:
        return rngs
    return flax.nnx.Rngs(jax.random.fold_in(layer.rngs.key[...], layer.rngs.count[...]))


class Bidirectional(flax.nnx.Bidirectional):
    """`flax.nnx.Bidirectional`, which also passes `resets` and `key` to its two layers.

    Example:
      >>> import jax.numpy as jnp
      >>> from flax import nnx
      >>> from jaxrnn.interop.nnx import RNN, Bidirectional
      >>> rngs = nnx.Rngs(0)
      >>> layer = Bidirectional(RNN(nnx.GRUCell(3, 8, rngs=rngs)), RNN(nnx.GRUCell(3, 8, rngs=rngs)))
      >>> ys = layer(jnp.ones((2, 5, 3)), resets=jnp.zeros((2, 5), bool).at[:, 3].set(True))
      >>> ys.shape, bool(jnp.allclose(ys[:, 0, :8], ys[:, 3, :8], atol=1e-6))
      ((2, 5, 16), True)
    """

    def __call__(
        self,
        inputs: jax.Array,
        *,
        initial_carry: typing.Any = None,
        rngs: typing.Any = None,
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
        return conventions.both_ways(
            self, inputs, initial_carry=initial_carry, return_carry=return_carry, time_major=time_major, key=key,
            rngs=_stream(self, rngs), resets=resets, seq_lengths=seq_lengths,
        )  # fmt: skip


class StaticCell:
    """A jaxrnn cell as an attribute of an nnx module: static, even if its options are arrays."""

    def __init__(self, cell: Cell) -> None:
        if any(isinstance(x, Tracer) for x in jax.tree.leaves(cell)):
            raise TypeError(f"cell: expected options that are known, since an nnx module keeps them, got {cell}")
        self.cell = cell

    def __eq__(self, other: object) -> bool:
        return isinstance(other, StaticCell) and self.cell == other.cell

    def __hash__(self) -> int:
        return hash(self.cell)

    def __repr__(self) -> str:
        return repr(self.cell)


@pytree
class NnxCell(Cell):
    """An nnx cell without state beside its parameters: see `from_nnx`."""

    graph: typing.Any
    draw: Init
    shape: tuple[int, ...]
    name: str

    def init(self, key: jax.Array) -> Params:
        return self.draw(key)

    def initial_carry(self, params: Params, batch_shape: tuple[int, ...] = ()) -> Tree:
        carry = self._merged(params).initialize_carry((*batch_shape, *self.shape), flax.nnx.Rngs(0))
        return conventions.as_wide_as(params, carry)

    def step(self, params: Params, carry: Tree, x: jax.Array, noise: Tree = None) -> tuple[Tree, typing.Any]:
        return self._merged(params)(carry, x)

    def _merged(self, params: Params) -> typing.Any:
        return flax.nnx.merge(self.graph, _state(params))

    def __repr__(self) -> str:
        return f"NnxCell({self.name})"


class Drawn(typing.NamedTuple):
    """The `init` of a function rngs -> module: it returns the parameters of a new module."""

    make: Function

    def __call__(self, key: jax.Array) -> Params:
        return _named(flax.nnx.state(self.make(flax.nnx.Rngs(key)), flax.nnx.Param))

    def __repr__(self) -> str:
        return "drawn anew"


def from_nnx(cell: typing.Any, *, D: int | None = None) -> tuple[Cell, Params]:
    """Makes a jaxrnn cell of any nnx cell; jaxrnn's gradients, checks, diagnostics and sweeps then work on it.

    Args:
      cell: the nnx cell, or a function of `nnx.Rngs` that makes one.
      D: input features, if `initialize_carry` reads them and the cell has no `in_features`.

    Returns:
      (cell, params). nnx's SimpleCell, LSTMCell, OptimizedLSTMCell and GRUCell without changes become `elman`, `lstm`
      (with the carry LSTMCarry(h, c); Flax's is (c, h)) and `gru`. Their `init` draws each gate by itself, LeCun normal
      and orthogonal. Any other cell becomes a plain Cell that calls it; its `init` calls the function anew, or returns
      the values of the given cell.

    Raises:
      TypeError: `cell` is not an nnx cell.
      ValueError: it has a state beside its parameters, such as statistics or keys of its own.

    Example:
      >>> import jaxrnn
      >>> from flax import nnx
      >>> cell, params = jaxrnn.interop.from_nnx(nnx.LSTMCell(3, 8, rngs=nnx.Rngs(0)))
      >>> params["w_x"].shape
      (3, 32)
    """
    make = None if isinstance(cell, flax.nnx.Module) else checks.function("cell", cell, "rngs")
    made = cell if make is None else make(flax.nnx.Rngs(0))
    _checked_cell(made, "or a function of nnx.Rngs that makes one; of an nnx.RNN, its cell")
    found = _native(made)
    if found is not None:
        if D is not None and (not checks.is_integer(D) or found.cell.features[0] != D):
            raise ValueError(f"D: expected {found.cell.features[0]}, the rows of the kernels, or None, got {D!r}")
        return found
    graph, params, rest = flax.nnx.split(made, flax.nnx.Param, ...)
    _only_params("cell", rest)
    values = _named(params)
    draw = conventions.held_or_shapes(values) if make is None else Drawn(Function(make))
    features: int = getattr(made, "in_features", 1) if D is None else checks.positive_int("D", D)
    return NnxCell(graph, draw, (features,), type(made).__name__), values


def to_nnx(cell: Cell, params: Params) -> typing.Any:
    """Makes an nnx cell with these weights: a `SimpleCell`, `OptimizedLSTMCell` or `GRUCell`.

    Args:
      cell: `elman`, `lstm` or `gru`.
      params: its parameters. nnx's cells have one bias: it becomes the sum of both. nnx's GRU has no hidden bias of n
        (though its docstring says so): that bias must be zero, as in a `gru` with `hidden_bias=False`.

    Raises:
      ValueError, TypeError: nnx has no such cell, or the parameters are not the cell's.

    Example:
      >>> import jax
      >>> import jaxrnn
      >>> cell = jaxrnn.lstm(3, 8)
      >>> module = jaxrnn.interop.to_nnx(cell, cell.init(jax.random.key(0)))  # a flax.nnx.OptimizedLSTMCell
      >>> module.in_features, module.hidden_features
      (3, 8)
    """
    checked_cell(cell, params, "nnx", (Elman, LSTM, GRU))
    checked_values(params)
    (D, H), x, h = cell.features, {"kernel": params["w_x"]}, {"kernel": params["w_h"]}
    if isinstance(cell, GRU):
        bias, of_n = candidate_bias(params)
        if of_n is not None and of_n.any():
            raise ValueError(
                "cell: expected a gru whose hidden bias of n is zero, since nnx.GRUCell has none, got one that is not; "
                "jaxrnn.gru(D, H, hidden_bias=False) trains without, and linen's GRUCell has one"
            )
    else:
        bias = one_bias(params)
    kinds: dict[type[Cell], typing.Any] = {Elman: flax.nnx.SimpleCell, LSTM: flax.nnx.OptimizedLSTMCell}
    kind = kinds.get(type(cell), flax.nnx.GRUCell)
    options = {"activation_fn": unwrapped(cell.activation)} if isinstance(cell, Elman) else {}
    dtype = params["w_x"].dtype
    if isinstance(cell, Elman):
        options["dtype"] = dtype
    made = flax.nnx.eval_shape(lambda: kind(D, H, rngs=flax.nnx.Rngs(0), param_dtype=jnp.float32, **options))
    made.param_dtype = dtype
    (h if isinstance(cell, LSTM) else x)["bias"] = jnp.zeros_like(params["w_x"][0]) if bias is None else bias
    flax.nnx.update(made, _state({"dense_i": x, "dense_h": h}))
    return made


def layer(module: typing.Any, *, sequence: bool = False, axes: int = 1) -> Layer:
    """Makes a Flax nnx module a part of a jaxrnn model: a convolution before the recurrent layers, a head after them.

    Args:
      module: a function of `nnx.Rngs` that makes the module, so that `init` draws its parameters; or the module itself:
        `init` then returns its parameters. With a `key` the module is in training mode, and its streams of random
        numbers (dropout) are drawn from the key; without one it is in evaluation mode (`module.eval()`). A module that
        rounds to a dtype of its own, as `nnx.Embed` does, can't be differentiated in float64, so `check_gradients`
        fails on it.
      sequence: False: the module gets [T, *batch, ...], and maps each step by itself. True: it gets [*batch, T, D] and
        may mix steps, as a convolution over time does; it has to return as many steps.
      axes: with `sequence`, the number of axes after time: 0 for symbols, 3 for images.

    Returns:
      A Model with the values of each `nnx.Param` as parameters. Padding is zero in its inputs and outputs.

    Raises:
      TypeError: `module` is not a module.
      ValueError: it has a state beside parameters and random keys, such as running statistics.

    Example:
      >>> import jaxrnn
      >>> from flax import nnx
      >>> head = jaxrnn.interop.nnx.layer(lambda rngs: nnx.Linear(8, 2, rngs=rngs))
      >>> model = jaxrnn.chain(jaxrnn.gru(3, 8), head)
    """
    checks.flag("sequence", sequence)
    checks.not_negative_int("axes", axes)
    make = None if isinstance(module, flax.nnx.Module) else checks.function("module", module, "rngs")
    made = module if make is None else make(flax.nnx.Rngs(0))
    checks.instance("module", made, flax.nnx.Module, "or a function of nnx.Rngs that makes one")
    graph, params, keys, rest = flax.nnx.split(made, flax.nnx.Param, flax.nnx.RngState, ...)
    _only_params("module", rest)
    for _, part in flax.nnx.iter_graph(made):
        over_time = isinstance(part, (flax.nnx.RNN, flax.nnx.Bidirectional))
        if not sequence and (over_time or (isinstance(part, flax.nnx.Conv) and len(part.kernel_size) == 1)):
            raise ValueError(
                f"module: expected one that maps each step by itself, or sequence=True, got a {type(part).__name__} in "
                "it"
            )
    draw = conventions.held_or_shapes(_named(params)) if make is None else Drawn(Function(make))
    some_keys = Shapes.of(keys) if jax.tree.leaves(keys) else None
    return Layer(Called(graph, some_keys, type(made).__name__), draw, sequence, axes)


class Called(typing.NamedTuple):
    """The map (params, xs, key) -> outputs of an nnx module."""

    graph: typing.Any
    keys: typing.Any
    name: str

    def __call__(self, params: Params, xs: typing.Any, key: jax.Array | None) -> typing.Any:
        rest = () if self.keys is None else (self.keys(jax.random.key(0)),)
        module = flax.nnx.merge(self.graph, _state(params), *rest)
        if key is None:
            module.eval()
        else:
            module.train()
            streams: dict[str, typing.Any] = {
                s.tag: key for _, s in flax.nnx.iter_graph(module) if isinstance(s, flax.nnx.RngKey)
            }
            flax.nnx.reseed(module, policy="match_shape", **streams)
        return module(xs)

    def __repr__(self) -> str:
        return self.name


def _checked_cell(cell: typing.Any, hint: str) -> typing.Any:
    """An nnx module that can make an initial carry."""
    if not (isinstance(cell, flax.nnx.Module) and hasattr(cell, "initialize_carry")):
        raise TypeError(f"cell: expected an nnx cell, {hint}, got a {type(cell).__name__}")
    return cell


def _drawn(cell: Cell, rngs: typing.Any) -> Params:
    if not isinstance(rngs, flax.nnx.Rngs):
        raise ValueError(
            f"rngs: expected nnx.Rngs, to draw the parameters of a jaxrnn cell, or params, got {checks.short(rngs)}"
        )
    return cell.init(rngs.params())


KINDS: dict[type[flax.nnx.Module], tuple[tuple[str, bool], ...]] = {
    flax.nnx.SimpleCell: (("dense_i", True), ("dense_h", False)),
    flax.nnx.OptimizedLSTMCell: (("dense_i", False), ("dense_h", True)),
    flax.nnx.GRUCell: (("dense_i", True), ("dense_h", False)),
    flax.nnx.LSTMCell: (
        *((name, False) for name in ("ii", "if_", "ig", "io")),
        *((name, True) for name in ("hi", "hf", "hg", "ho")),
    ),
}
"""The linear maps of nnx's cells, and whether each has a bias."""


def _native(cell: typing.Any) -> View | None:
    """An nnx cell as elman, lstm or gru; None if its equations differ or its parts were replaced."""
    kind = type(cell)
    if kind not in KINDS or not conventions.standard(cell) or cell.carry_init is not None:
        return None
    parts = [(getattr(cell, name), biased) for name, biased in KINDS[kind]]
    for part, biased in parts:
        same = type(part) is flax.nnx.Linear and (part.bias is not None) == biased and part.dtype == cell.dtype
        plain = same and all(x.promote_dtype is promote_dtype for x in (part, cell))
        if not plain or part.kernel[...].dtype != cell.param_dtype or part.kernel[...].ndim != 2:
            return None
    D, H, half = cell.in_features, cell.hidden_features, len(parts) // 2
    w_x, w_h = (jnp.concatenate([part.kernel[...] for part, _ in side], -1) for side in (parts[:half], parts[half:]))
    b = jnp.concatenate([part.bias[...] for part, biased in parts if biased], -1)
    inits: typing.Any = {"input_init": default_kernel_init, "param_dtype": cell.param_dtype}
    if kind is flax.nnx.SimpleCell:
        made: Cell = elman(D, H, activation=cell.activation_fn, **inits)
    elif kind is flax.nnx.GRUCell:
        made = gru(D, H, hidden_bias=False, **inits)
    else:
        made = lstm(D, H, forget_bias=0.0, **inits)
    return View(made, {"w_x": w_x, "w_h": w_h, "b": b})


def _only_params(name: str, rest: typing.Any) -> None:
    if jax.tree.leaves(rest):
        kinds = sorted({type(x).__name__ for x in jax.tree.leaves(rest, is_leaf=_is_variable)})
        raise ValueError(f"{name}: expected no state beside nnx.Param, got {', '.join(kinds)}")


def _is_variable(x: typing.Any) -> bool:
    return isinstance(x, flax.nnx.Variable)


def _named(state: typing.Any) -> Params:
    """A state as a nested dict with strings for names."""
    params: dict[str, typing.Any] = {}
    for path, variable in flax.nnx.to_flat_state(state):
        place = params
        for name in path[:-1]:
            place = place.setdefault(str(name), {})
        place[str(path[-1])] = variable[...]
    return params


def _state(params: Params) -> typing.Any:
    """A nested dict as a state, with names of digits turned back into numbers."""
    found = {}
    for path, x in jax.tree_util.tree_leaves_with_path(params):
        keys = tuple(int(k.key) if k.key.isdecimal() else k.key for k in path)
        found[keys] = flax.nnx.Param(x)
    return flax.nnx.from_flat_state(found)
