"""The types that carry everything: Cell, Model, Gradient; `jaxrnn.cells.gated` adds GatedCell.

Vocabulary, in every docstring of the library:

  T          time steps, always axis 0
  B          batch: whatever axes lie between time and features, none included
  D, H, O    input, hidden and output features, always the last axis
  G          gates of a cell
  x[t]       input at step t; h[t] and y[t] are the state and output *after* x[t] was read, and the state before the
             first step is the `carry` argument
  zx, zh     pre-activations from the input and from the hidden state
  dz         the loss's derivative with respect to a pre-activation

Each type is a frozen dataclass and a JAX pytree. Numeric options (rates, time constants) are leaves: they can be
traced, swept over and differentiated. Everything else is static, so two cells of equal options are equal, and a
function jitted over cells compiles once for both.
"""

import abc
import copy
import dataclasses
import inspect
import re
from collections.abc import Callable
from typing import Any, Literal, NamedTuple, TypeVar, dataclass_transform, overload

import jax
import jax.numpy as jnp
import numpy as np

from jaxrnn import checks
from jaxrnn.compiled import compiled
from jaxrnn.functions import Function, reads_module, refreshed, restored, wrapped
from jaxrnn.primitives.primitive import Tracer
from jaxrnn.validity import combined

Tree = Any
"""A pytree of arrays."""
Params = Any
"""A nested dict of arrays."""
Batch = dict[str, Any]
"""Arrays by entry: "xs", "targets", "lengths" and what else a model and a loss read."""
Loss = Callable[[Tree, Batch], jax.Array]
"""(ys, batch) -> scalar."""

_T = TypeVar("_T")


def leaf(**options: Any) -> Any:
    """A dataclass field that is data, not structure: a numeric option, or a child that may hold one.

    Example:
      >>> import jax
      >>> import jaxrnn
      >>> @jaxrnn.extend.pytree
      ... class Options:
      ...     rate: float = jaxrnn.extend.leaf(default=0.1)
      ...     name: str = "a"
      >>> jax.tree.leaves(Options())
      [0.1]
    """
    return dataclasses.field(metadata={"leaf": True}, **options)


@dataclass_transform(frozen_default=True, field_specifiers=(leaf, dataclasses.field))
def pytree(cls: type[_T]) -> type[_T]:
    """Makes a class a frozen dataclass and a JAX pytree; its fields are static, except those declared by `leaf`.

    An option that is an array has to be declared by `leaf`. Two values are equal if their fields are equal, and the
    globals that the methods of a user's class read.

    Example:
      >>> import jax
      >>> import jaxrnn
      >>> @jaxrnn.extend.pytree
      ... class Options:
      ...     rate: float = jaxrnn.extend.leaf(default=0.1)
      ...     name: str = "a"
      >>> doubled = jax.tree.map(lambda x: 2 * x, Options(name="b"))
      >>> doubled.rate, doubled.name
      (0.2, 'b')
    """
    cls = dataclasses.dataclass(frozen=True, eq=False, repr=False)(checks.instance("cls", cls, type))
    fields = dataclasses.fields(cls)  # pyright: ignore[reportArgumentType]
    data = [f.name for f in fields if f.metadata.get("leaf")]
    static = [f.name for f in fields if not f.metadata.get("leaf")]
    methods = [f for kind in cls.__mro__ for f in vars(kind).values() if reads_module(f)]

    def flatten(value: Any) -> tuple[list[Any], tuple[Any, ...]]:
        options = {name: getattr(value, name) for name in static}
        for name, option in options.items():
            if isinstance(option, (np.ndarray, jax.Array)):
                raise TypeError(f"{name}: expected an array to be declared by leaf(), got {checks.short(option)}")
        children = [refreshed(getattr(value, name)) for name in data]
        return children, (*map(wrapped, options.values()), *map(Function, methods))

    def flatten_with_keys(value: Any) -> tuple[list[tuple[Any, Any]], tuple[Any, ...]]:
        children, options = flatten(value)
        return [(jax.tree_util.GetAttrKey(name), x) for name, x in zip(data, children, strict=True)], options

    def unflatten(options: Any, children: Any) -> _T:
        values = map(restored, options[: len(static)])  # the methods follow
        return cls(**dict(zip(data, children, strict=True)), **dict(zip(static, values, strict=True)))

    # Not `register_dataclass`: in jaxlib 0.10.2 the structures of two such classes with equal fields are equal, and jit
    # now and then runs the program of one on the other.
    jax.tree_util.register_pytree_with_keys(cls, flatten_with_keys, unflatten, flatten)
    return cls


class Options:
    """Equality by value and a `repr` of the options that differ from their defaults."""

    def __eq__(self, other: object) -> bool:
        if self is other or type(self) is not type(other) or jax.tree.structure(self) != jax.tree.structure(other):
            return self is other
        if jax.tree_util.all_leaves([self]):
            return False  # a user's class that is not a pytree
        pairs = zip(jax.tree.leaves(self), jax.tree.leaves(other), strict=True)
        return all(a is b or np.array_equal(a, b) for a, b in pairs)

    def __hash__(self) -> int:
        return id(self) if jax.tree_util.all_leaves([self]) else hash(jax.tree.structure(self))

    def __reduce__(self) -> tuple[Any, ...]:
        fields = {f.name: getattr(self, f.name) for f in dataclasses.fields(self)}  # pyright: ignore
        return _made, (type(self), {name: wrapped(value) for name, value in fields.items()})

    def __deepcopy__(self, memo: Any) -> Any:
        return jax.tree.map(lambda x: copy.deepcopy(x, memo), self)

    def __repr__(self) -> str:
        if not dataclasses.is_dataclass(self):
            return f"{type(self).__name__}()"
        shown = [
            f"{f.name}={_shown(getattr(self, f.name))}"
            for f in dataclasses.fields(self)
            if not _equal(getattr(self, f.name), f.default)
        ]
        return f"{type(self).__name__}({', '.join(shown)})"


def _made(cls: type, fields: dict[str, Any]) -> Any:
    return cls(**{name: restored(value) for name, value in fields.items()})


def _equal(value: Any, default: Any) -> bool:
    """Tells whether an option equals its default; numbers are compared by value, whatever their types."""
    numbers = all(isinstance(x, (int, float)) and not isinstance(x, bool) for x in (value, default))
    return value is default or (numbers and value == default)


def _shown(value: Any) -> str:
    if isinstance(value, jax.tree_util.Partial) and not value.args:
        return _shown(value.func) if not value.keywords else f"Partial({_shown(value.func)}, **{value.keywords})"
    shape = getattr(value, "shape", ())
    if shape:
        return f"array{list(shape)}"
    if isinstance(value, (jax.Array, np.ndarray, np.generic)) and not isinstance(value, Tracer):
        return f"{value.item():.7g}" if np.issubdtype(value.dtype, np.floating) else repr(value.item())
    return getattr(value, "__name__", None) or re.sub(r" at 0x\w+", "", repr(value))


class Cell(Options, abc.ABC):
    """One time step of a recurrent network: (carry, x[t]) -> (carry, y[t]).

    Example:
      >>> import jax
      >>> import jax.numpy as jnp
      >>> import jaxrnn
      >>> @jaxrnn.extend.pytree
      ... class Sum(jaxrnn.Cell):
      ...     scale: float = jaxrnn.extend.leaf(default=1.0)
      ...
      ...     def init(self, key):
      ...         return {}
      ...
      ...     def initial_carry(self, params, batch_shape=()):
      ...         return jnp.zeros((*batch_shape, 1))
      ...
      ...     def step(self, params, carry, x, noise=None):
      ...         carry = carry + self.scale * x
      ...         return carry, carry
      >>> carry, ys = jaxrnn.unroll(Sum(scale=2.0), {}, jnp.ones((3, 1)))
      >>> ys[:, 0].tolist()
      [2.0, 4.0, 6.0]
    """

    @property
    def features(self) -> tuple[int | None, int | None]:
        """(D, O): input and output features; None for those that the cell leaves open."""
        return None, None

    @abc.abstractmethod
    def init(self, key: jax.Array) -> Params:
        """Draws the parameters."""

    @abc.abstractmethod
    def initial_carry(self, params: Params, batch_shape: tuple[int, ...] = ()) -> Tree:
        """The state before the first step; each leaf has shape [*batch_shape, ...]."""

    @abc.abstractmethod
    def step(self, params: Params, carry: Tree, x: jax.Array, noise: Tree = None) -> tuple[Tree, Tree]:
        """Reads x[t] of shape [*batch_shape, D].

        Args:
          params: as `init` returns them.
          carry: the state before this step.
          x: the input of this step.
          noise: this step's slice of what `noise` drew; None in evaluation.

        Returns:
          (carry, y): the state after this step and the output.
        """

    def noise(self, key: jax.Array, T: int, batch_shape: tuple[int, ...]) -> Tree:
        """Draws the randomness of all T steps before the loop: a tree of [T, *batch_shape, ...], or None."""
        del key, T, batch_shape


class Model(Options, abc.ABC):
    """A map of whole sequences: xs [T, *batch_shape, ...] -> ys.

    Example:
      >>> import jax
      >>> import jax.numpy as jnp
      >>> import jaxrnn
      >>> @jaxrnn.extend.pytree
      ... class Scaled(jaxrnn.Model):
      ...     cell: jaxrnn.Cell = jaxrnn.extend.leaf()
      ...
      ...     def init(self, key):
      ...         return {"cell": self.cell.init(key), "scale": jnp.ones(())}
      ...
      ...     def initial_carry(self, params, batch_shape=()):
      ...         return self.cell.initial_carry(params["cell"], batch_shape)
      ...
      ...     def run(self, params, carry, xs, call):
      ...         carry, ys = jaxrnn.extend.run_layer(self.cell, params["cell"], xs, carry, call.of("cell", call.key))
      ...         return carry, params["scale"] * ys
      >>> model = Scaled(jaxrnn.gru(3, 8))
      >>> carry, ys = model.apply(model.init(jax.random.key(0)), jnp.ones((5, 2, 3)))
      >>> ys.shape
      (5, 2, 8)
    """

    @property
    def keeps_time(self) -> bool:
        """True if ys have a time axis."""
        return True

    @property
    def needs_time(self) -> bool:
        """True if xs need a time axis."""
        return True

    @property
    def features(self) -> tuple[int | None, int | None]:
        """(D, O): input and output features; None for those that the model leaves open."""
        return None, None

    @property
    def keeps_features(self) -> bool:
        """True where outputs always have as many features as inputs, whatever that number is."""
        return False

    @property
    def parts(self) -> tuple["Model | Cell", ...]:
        """The children, in the order in which data passes through them."""
        return ()

    @property
    def names(self) -> tuple[str | None, ...]:
        """The entry of the parameters for each part; None: the part's parameters are the model's own, whole."""
        return (None,) * len(self.parts)

    @abc.abstractmethod
    def init(self, key: jax.Array) -> Params:
        """Draws the parameters."""

    def initial_carry(self, params: Params, batch_shape: tuple[int, ...] = ()) -> Tree:
        """The state before the first step; an empty tuple if the model keeps none."""
        del params, batch_shape
        return ()

    def reads(self, batch: Batch) -> Tree:
        """The `xs` for `apply`, from a batch of data; a model that reads several sequences makes a tree of them."""
        checks.entry("batch", batch, "xs")
        return batch["xs"]

    @property
    def input_symbols(self) -> int | None:
        """The number of symbols, if xs are symbols and the number is known; None otherwise."""
        return None

    def check_symbols(
        self, name: str, given: Tree, T: int, lengths: checks.ArrayLike | None, mask: checks.ArrayLike | None
    ) -> None:
        """Raises if xs [T, ...] in NumPy hold a symbol that the model does not know: its output would be NaN."""
        most = self.input_symbols
        if most is None or not isinstance(given, np.ndarray) or not given.size or np.shape(given)[:1] != (T,):
            return
        if lengths is None and mask is None:  # symbols on padding may be anything
            checks.symbols(name, given, most)

    @abc.abstractmethod
    def run(self, params: Params, carry: Tree, xs: Tree, call: "Call") -> tuple[Tree, Tree]:
        """The work of `apply`: a model implements this method; `call` holds the options of `apply`.

        A model of parts runs each with `part.run(params[name], carry, xs, call.of(name, key))`.
        """

    @overload
    def apply(
        self, params: Params, xs: Tree, *, carry: Tree = None, lengths: checks.ArrayLike | None = None,
        resets: checks.ArrayLike | None = None, key: jax.Array | None = None, gradient: "Gradient | None" = None,
        mask: checks.ArrayLike | None = None, states: Literal[False] = False, burn_in: int = 0, time_major: bool = True,
    ) -> tuple[Tree, Tree]: ...  # fmt: skip

    @overload
    def apply(
        self, params: Params, xs: Tree, *, carry: Tree = None, lengths: checks.ArrayLike | None = None,
        resets: checks.ArrayLike | None = None, key: jax.Array | None = None, gradient: "Gradient | None" = None,
        mask: checks.ArrayLike | None = None, states: bool, burn_in: int = 0, time_major: bool = True,
    ) -> tuple[Tree, Tree, *tuple[Tree, ...]]: ...  # fmt: skip

    def apply(
        self,
        params: Params,
        xs: Tree,
        *,
        carry: Tree = None,
        lengths: checks.ArrayLike | None = None,
        resets: checks.ArrayLike | None = None,
        key: jax.Array | None = None,
        gradient: "Gradient | None" = None,
        mask: checks.ArrayLike | None = None,
        states: bool = False,
        burn_in: int = 0,
        time_major: bool = True,
    ) -> tuple[Tree, Tree, *tuple[Tree, ...]]:
        """Reads a sequence.

        Args:
          params: as `init` returns them.
          xs: [T, *batch_shape, D].
          carry: the state before the first step; None for `initial_carry`.
          lengths: integers [*batch_shape]: row b ends after lengths[b] steps. None: all rows have T.
          resets: bool [T, *batch_shape]: an episode starts at this step, from `initial_carry`.
          key: for dropout and other noise; None means evaluation.
          gradient: the way to differentiate through time; None for the gradients that the layers were built with.
          mask: bool [T, *batch_shape]; where it is False, there is no step: see `unroll`.
          states: return the carry after every step, too.
          burn_in: the number of steps at the start that are read without a gradient.
          time_major: False: xs, resets, mask, outputs and states have the rows on axis 0 and time on axis 1.

        Returns:
          (carry, ys): the state after the last step (an empty tuple if there is none) and the outputs; with `states`
          (carry, ys, states): a tree like the carry whose arrays have an axis T before the rows. Outputs on padding and
          holes are zero.

        Raises:
          ValueError, TypeError: an argument does not fit; the message names it. Raised while tracing.
        """
        checks.arrays("params", params)
        checks.arrays("carry", carry)
        checks.flag("states", states)
        checks.flag("time_major", time_major)
        key = None if key is None else checks.key("key", key)
        if gradient is not None:
            checks.instance("gradient", gradient, Gradient, "such as jaxrnn.reverse_scan() or jaxrnn.autodiff()")
        given, xs = xs, jax.tree.map(lambda x: checks.array("xs", x), xs, is_leaf=lambda x: isinstance(x, list))
        T = checks.steps("xs", xs, time_major, 1 + (not time_major) + (self.features[0] is not None))
        self.check_symbols("xs", given, T, lengths, mask)
        lengths = None if lengths is None else checks.lengths(lengths, T)
        resets = None if resets is None else checks.array("resets", resets)
        mask = None if mask is None else checks.array("mask", mask)
        burn_in = checks.burn_in(burn_in, T)
        run = _apply if gradient is None or not gradient.has_effects else inspect.unwrap(_apply)
        with checks.forward_mode("a layer's own" if gradient is None else gradient):
            return run(
                self, params, carry, xs, lengths, mask, resets, key, gradient,
                states=states, burn_in=burn_in, time_major=time_major,
            )  # fmt: skip


@compiled
def _apply(
    model: Model,
    params: Params,
    carry: Tree,
    xs: Tree,
    lengths: jax.Array | None,
    mask: jax.Array | None,
    resets: jax.Array | None,
    key: jax.Array | None,
    gradient: "Gradient | None",
    *,
    states: bool,
    burn_in: int,
    time_major: bool,
) -> tuple[Tree, Tree, *tuple[Tree, ...]]:
    if not time_major:
        xs, mask, resets = jax.tree.map(rows_and_steps, (xs, mask, resets))
    call = Call(lengths, resets, key, gradient, mask, states, burn_in, time_major)
    carry, ys = model.run(params, carry, xs, call)
    if model.keeps_time:
        ys = jax.tree.map(call.burnt_in, ys)
    if not time_major and model.keeps_time:
        ys = jax.tree.map(rows_and_steps, ys)
    if not states:
        return carry, ys
    layers = jax.tree.leaves(carry, is_leaf=_is_carries)
    if not all(map(_is_carries, layers)):
        raise ValueError(
            "states: expected a model whose layers hand on call.states, as jaxrnn.extend.run_layer does, got "
            f"{checks.short(model)}"
        )
    final = jax.tree.map(lambda c: c.final, carry, is_leaf=_is_carries)
    return final, ys, jax.tree.map(lambda c: c.states, carry, is_leaf=_is_carries)


def rows_and_steps(x: Any) -> Any:
    """Exchanges the first two axes, [N, T, ...] and [T, N, ...]; arrays of one axis have no steps."""
    return jnp.swapaxes(x, 0, 1) if jnp.ndim(x) > 1 else x


class Carries(NamedTuple):
    """A layer's carry after the last step, and after each step; `run` returns both as its carry if `call.states`."""

    final: Tree
    states: Tree


def _is_carries(x: Any) -> bool:
    return isinstance(x, Carries)


class Call(NamedTuple):
    """The options of `Model.apply` as they are passed on to a model's parts, and those of `jaxrnn.training.calibrate`.

    Attributes:
      lengths, resets, key, gradient, mask, states, burn_in: as for `Model.apply`.
      time_major: True if the returned states have time first; everything else that a model sees has time first.
      record: None, except while calibrating: then a `batch_norm` uses the statistics of the batch, as in training, and
        hands them to this function (path, statistics). There is no key then, so noise is off.
      path: the path of the model's parameters within those of the outermost model.

    Example:
      >>> import jax.numpy as jnp
      >>> import jaxrnn
      >>> call = jaxrnn.extend.Call(lengths=jnp.array([3, 1]))
      >>> call.valid(3, (2,)).astype(int).tolist()
      [[1, 1], [1, 0], [1, 0]]
      >>> call.of("encoder", key=None).of("cell", key=None).path
      ('encoder', 'cell')
    """

    lengths: checks.ArrayLike | None = None
    resets: checks.ArrayLike | None = None
    key: jax.Array | None = None
    gradient: "Gradient | None" = None
    mask: checks.ArrayLike | None = None
    states: bool = False
    burn_in: int = 0
    time_major: bool = True
    record: Callable[[tuple[str, ...], Tree], None] | None = None
    path: tuple[str, ...] = ()

    def valid(self, T: int, batch_shape: tuple[int, ...]) -> jax.Array | None:
        """The valid steps by `lengths` and `mask`, bool [T, *batch_shape]; None: all. Checks `resets`, too."""
        return combined(T, batch_shape, self.lengths, self.mask, self.resets)[0]

    def burnt_in(self, x: jax.Array) -> jax.Array:
        """A sequence [T, ...] whose first `burn_in` steps have no gradient."""
        return x.at[: self.burn_in].set(jax.lax.stop_gradient(x[: self.burn_in])) if self.burn_in else x

    @property
    def without_time(self) -> "Call":
        """The call of a part whose inputs have no time axis."""
        return self._replace(lengths=None, resets=None, mask=None, burn_in=0)

    def of(self, name: str, key: jax.Array | None) -> "Call":
        """The call of a part, whose parameters are the entry `name` of the model's."""
        return self._replace(key=key, path=(*self.path, name))


class Step(NamedTuple):
    """The inputs of a cell at one step; with a leading axis T, those of all steps.

    Attributes:
      x: [*batch_shape, ...]; a finite value on padding.
      noise: a slice of what the cell's `noise` drew, or None.
      valid: bool [*batch_shape]: False on padding, where the carry is held and y is zero; None: all rows are valid.
      reset: bool [*batch_shape]: before this step the carry becomes the initial one; None: in no row.

    Example:
      >>> import jax
      >>> import jax.numpy as jnp
      >>> import jaxrnn
      >>> cell, xs = jaxrnn.gru(3, 8), jnp.ones((5, 2, 3))
      >>> params = cell.init(jax.random.key(0))
      >>> def read(carry, step):  # the loop of a plain gradient
      ...     return cell.step(params, carry, step.x, step.noise)
      >>> carry, ys = jax.lax.scan(read, cell.initial_carry(params, (2,)), jaxrnn.extend.Step(xs))
      >>> bool(jnp.allclose(ys, jaxrnn.unroll(cell, params, xs)[1], atol=1e-6))
      True
    """

    x: jax.Array
    noise: Tree = None
    valid: jax.Array | None = None
    reset: jax.Array | None = None

    @property
    def at_0(self) -> tuple[jax.Array, Tree]:
        """(x, noise) of the first of several steps."""
        return jax.tree.map(lambda a: a[0], (self.x, self.noise))


class Inputs(NamedTuple):
    """The inputs of a Gradient, prepared by `unroll`: checked, with time always forward.

    Attributes:
      steps: a Step whose arrays have the leading axis T.
      initial: the carry that a reset restores; None without resets.

    Example:
      >>> import jax
      >>> import jaxrnn
      >>> cell = jaxrnn.gru(3, 8)
      >>> params = cell.init(jax.random.key(0))
      >>> inputs = jaxrnn.extend.Inputs(jaxrnn.extend.Step(jax.numpy.ones((5, 2, 3))))
      >>> carry, ys = jaxrnn.autodiff().run(cell, params, cell.initial_carry(params, (2,)), inputs)
      >>> inputs.T, inputs.batch_axes, ys.shape
      (5, 1, (5, 2, 8))
    """

    steps: Step
    initial: Tree = None

    @property
    def T(self) -> int:
        """The number of steps; symbolic in a program that `jax.export` makes for any number of steps."""
        return jax.tree.leaves(self.steps.x)[0].shape[0]

    @property
    def batch_axes(self) -> int:
        """The number of axes between time and features."""
        return min(x.ndim for x in jax.tree.leaves(self.steps.x)) - 2


class Gradient(Options, abc.ABC):
    """A way to differentiate an unroll through time. The values are the same for all ways.

    Example:
      >>> import jax
      >>> import jaxrnn
      >>> @jaxrnn.extend.pytree
      ... class WithoutCarry(jaxrnn.Gradient):  # no gradient for the carry before the first step
      ...     def run(self, cell, params, carry, inputs):
      ...         return jaxrnn.autodiff().run(cell, params, jax.lax.stop_gradient(carry), inputs)
      >>> cell = jaxrnn.gru(3, 8)
      >>> carry, ys = jaxrnn.unroll(cell, cell.init(jax.random.key(0)), jax.numpy.ones((5, 3)), gradient=WithoutCarry())
      >>> ys.shape
      (5, 8)
    """

    @property
    def has_effects(self) -> bool:
        """True if `run` does more than it returns, so that a compiled call can't stand for the next one."""
        return False

    def __repr__(self) -> str:
        name, _, options = super().__repr__().partition("(")
        return re.sub("(?<=[a-z])(?=[A-Z])", "_", name).lower() + "(" + options

    @abc.abstractmethod
    def run(self, cell: Cell, params: Params, carry: Tree, inputs: Inputs) -> tuple[Tree, Tree]:
        """Runs the cell over all steps: (carry after the last step, ys [T, ...])."""
