"""GatedCell: a cell declared by its gates and its equations alone."""

import abc
import dataclasses
from collections.abc import Callable, Mapping, Sequence
from typing import Any, ClassVar, NamedTuple, TypeVar

import jax
import jax.numpy as jnp

from jaxrnn import checks, initializers
from jaxrnn.cells import gates as gate
from jaxrnn.cells.gates import Activation
from jaxrnn.heads import by_heads, by_heads_transposed
from jaxrnn.linear import FLOAT32, affine, in_dtype, over_rows, state_dtype
from jaxrnn.types import Cell, Params, Tree, leaf, pytree

Gates = Sequence[Any]
"""One entry for each gate: an array [..., H], or a pair of them."""
Named = dict[str, tuple[jax.Array, gate.Bounds | None]]
"""By name a gate's activations [..., H] and their bounds."""
AnyGatedCell = TypeVar("AnyGatedCell", bound="GatedCell")


class Noise(NamedTuple):
    """Randomness of a gated cell; a part is None if its option is off.

    Attributes:
      dropout: bool [T, *batch_shape, H], the same for all t: the hidden units that the recurrent product reads.
      zoneout: a tree like the carry of bool [T, *batch_shape, ...]: the entries that keep their old value.
      process: the noise that the cell's own `process_noise` drew.
    """

    dropout: jax.Array | None = None
    zoneout: Tree = None
    process: Tree = None


@pytree
class GatedCell(Cell):
    """A cell whose only products are x @ w_x and h @ w_h; everything else is the element-wise `update`.

    zx = x[t] @ w_x + b;  zh = read(carry) @ w_h + b_h;  gate = activation(zx + zh)
    carry = update(params, carry, gates);  h[t] = hidden(carry)

    A subclass declares `gates` and `update`; `step` is derived from them. The library computes products and
    activations: it takes the former out of the loop where it can, and knows the derivatives of the latter. A carry of
    several parts needs `zero_carry` and `hidden`, too: see `jaxrnn.cells.LSTM`.

    Attributes:
      D, H: input and hidden features.
      bias, hidden_bias: whether the parameters have a `b`, a `b_h`.
      input_init, recurrent_init, bias_init: initialisers (key, shape, dtype) -> array, applied to each gate by itself.
      dtype: the factors of the products are rounded to it (None: they are not). Sums, `update` and the carry stay in
        float32.
      param_dtype: dtype of the parameters.
      recurrent_dropout: rate at which the recurrent product misses a unit of h[t-1]; one mask for all of time, none in
        evaluation (Gal and Ghahramani 2016, arXiv:1512.05287).
      zoneout: rate at which an entry of the carry keeps its old value at a step; one number, or a tree of numbers like
        the carry. In evaluation the two values are averaged by the rate (Krueger et al. 2017, arXiv:1606.01305).
      learn_carry: whether the initial carry is a parameter.
      heads: n, a divisor of H: units are in n heads that read their own units alone, and w_h is [n, H/n, G*H/n] (as in
        xLSTM, arXiv:2405.04517).

    Example:
      >>> import jax
      >>> import jax.numpy as jnp
      >>> import jaxrnn
      >>> @jaxrnn.extend.pytree
      ... class MinimalGated(jaxrnn.GatedCell):
      ...     leak: float = jaxrnn.extend.leaf(default=1.0)
      ...     gates = {"f": jax.nn.sigmoid, "n": jaxrnn.apart(lambda zx, zh, f: jnp.tanh(zx + f * zh))}
      ...
      ...     def update(self, params, carry, gates, noise):
      ...         f, n = gates
      ...         return (1 - self.leak * f) * carry + self.leak * f * n
      >>> cell = MinimalGated(3, 8, leak=0.5)
      >>> carry, ys = jaxrnn.unroll(cell, cell.init(jax.random.key(0)), jnp.ones((5, 2, 3)))
      >>> ys.shape
      (5, 2, 8)
    """

    D: int
    H: int
    _: dataclasses.KW_ONLY
    bias: bool = True
    hidden_bias: bool = False
    input_init: initializers.Initializer = initializers.GLOROT
    recurrent_init: initializers.Initializer = initializers.ORTHOGONAL
    bias_init: initializers.Initializer = initializers.ZEROS
    dtype: checks.DTypeLike | None = None
    param_dtype: checks.DTypeLike = FLOAT32
    recurrent_dropout: checks.Number | None = leaf(default=None)
    zoneout: Tree = leaf(default=None)
    learn_carry: bool = False
    heads: int = 1

    # Declared by a cell.

    gates: ClassVar[Mapping[str, Activation]]
    """The activation of each gate by name, in the order of the weights' columns: see `jaxrnn.cells.gates`."""

    @abc.abstractmethod
    def update(self, params: Params, carry: Tree, gates: Gates, noise: Tree) -> Tree:
        """The equations: the next carry from the gates, element by element.

        Args:
          params: the cell's own parameters, without w_x, w_h, b and b_h.
          carry: the state before this step.
          gates: the gates in the order of `gates`, activated: each an array [..., H], or the pair (zx, zh) of an
            `apart`.
          noise: this step's slice of `process_noise`, or None.
        """

    def hidden(self, carry: Tree) -> jax.Array:
        """h [..., H] of a carry: the input of the recurrent product, and the output y."""
        return carry

    def output(self, carry: Tree) -> Tree:
        """The output y, from the carry after a step."""
        return self.hidden(carry)

    def zero_carry(self, batch_shape: tuple[int, ...], dtype: checks.DTypeLike) -> Tree:
        """A carry of zeros."""
        return jnp.zeros((*batch_shape, self.H), dtype)

    def gate_values(self, params: Params, carry: Tree, gates: Gates, noise: Tree) -> Named:
        """The activations [..., H] and their bounds (or None) by name, for the diagnostics.

        By default the gates as they are declared. A cell whose `update` activates plain pairs may name them here.
        """
        del params, carry, noise
        named = zip(self.gates.items(), gates, strict=True)
        return {name: (a, gate.known(f).bounds) for (name, f), a in named if not gate.is_pair(f)}

    def own_params(self, key: jax.Array) -> Params:
        """Parameters beside the weights and biases: peepholes, scales."""
        del key
        return {}

    def initial_bias(self, key: jax.Array, bias: jax.Array) -> jax.Array:
        """Last change to a freshly drawn `b` [G, H], such as a unit forget bias."""
        del key
        return bias

    def process_noise(self, key: jax.Array, T: int, batch_shape: tuple[int, ...]) -> Tree:
        """The cell's own randomness, [T, *batch_shape, ...], handed to `update`."""
        del key, T, batch_shape

    # Derived from the declarations.

    @property
    def G(self) -> int:
        """Number of gates."""
        return len(self.gates)

    @property
    def features(self) -> tuple[int, int]:
        """(D, H)."""
        return self.D, self.H

    def init(self, key: jax.Array) -> Params:
        """{"w_x": [D, G*H], "w_h": [H, G*H], "b": [G*H]} and whatever else the options ask for."""
        checked_cell(self)
        names = ("w_x", "w_h", "b", "b_h", "gates", "own")
        keys = dict(zip(names, jax.random.split(checks.key("key", key), len(names)), strict=True))

        params: Params = {
            "w_x": self.draw_gates(keys["w_x"], self.input_init, self.D),
            "w_h": self._draw_recurrent(keys["w_h"]),
        }
        if self.bias:
            bias = self.draw_gates(keys["b"], self.bias_init).reshape(self.G, self.H)
            params["b"] = self.initial_bias(keys["gates"], bias).reshape(-1)
        if self.hidden_bias:
            params["b_h"] = self.draw_gates(keys["b_h"], self.bias_init)
        own = self.own_params(keys["own"])
        if any(name in _ENGINE for name in checks.instance("own_params", own, dict)):
            raise ValueError(f"own_params: expected other names than {_ENGINE}, got {sorted(own)}")
        params |= own
        if self.learn_carry:
            params["initial_carry"] = named_leaves(self.zero_carry((), self.param_dtype))
        return params

    def _draw_recurrent(self, key: jax.Array) -> jax.Array:
        if self.heads == 1:
            return self.draw_gates(key, self.recurrent_init, self.H)
        K, keys = self.H // self.heads, jax.random.split(key, self.heads)
        return jnp.stack([self.draw_gates(k, self.recurrent_init, K, columns=K) for k in keys])

    def draw_gates(
        self, key: jax.Array, init: initializers.Initializer, *rows: int, columns: int | None = None
    ) -> jax.Array:
        """Draws each gate's [*rows, columns] by itself: [*rows, G*columns]; None: H columns."""
        shape = (*rows, self.H if columns is None else columns)
        drawn_in = state_dtype(self.param_dtype)  # JAX has no orthogonal initialiser in bfloat16
        gates = [init(k, shape, drawn_in) for k in jax.random.split(key, self.G)]
        return jnp.concatenate(gates, axis=-1).astype(self.param_dtype)

    def initial_carry(self, params: Params, batch_shape: tuple[int, ...] = ()) -> Tree:
        """Zeros, or the learned carry, for every row of the batch."""
        zeros = self.zero_carry(checks.sizes("batch_shape", batch_shape), carry_dtype(params))
        return learned_carry(params, zeros) if self.learn_carry else zeros

    def noise(self, key: jax.Array, T: int, batch_shape: tuple[int, ...]) -> Noise | None:
        """Masks for recurrent dropout and zoneout, and the cell's own noise; None if the cell has none of these."""
        dropout_key, zoneout_key, process_key = jax.random.split(key, 3)
        noise = Noise(process=self.process_noise(process_key, T, batch_shape))
        if self.recurrent_dropout is not None:
            keep = jax.random.bernoulli(dropout_key, 1.0 - self.recurrent_dropout, (*batch_shape, self.H))
            noise = noise._replace(dropout=jnp.broadcast_to(keep, (T, *keep.shape)))
        if self.zoneout is not None:
            carry = self.zero_carry((T, *batch_shape), jnp.float32)
            rates, (leaves, structure) = self._zoneout_rates(carry), jax.tree.flatten(carry)
            keys = jax.random.split(zoneout_key, len(leaves))
            masks = [jax.random.bernoulli(k, r, x.shape) for k, r, x in zip(keys, rates, leaves, strict=True)]
            noise = noise._replace(zoneout=jax.tree.unflatten(structure, masks))
        return noise if jax.tree.leaves(noise) else None

    def read(self, carry: Tree, noise: Noise | None) -> jax.Array:
        """The input of the recurrent product from a carry: h without the units that dropout removes."""
        h = self.hidden(carry)
        if noise is None or noise.dropout is None or self.recurrent_dropout is None:
            return h
        return jnp.where(noise.dropout, h / (1.0 - self.recurrent_dropout), 0.0)

    def input_product(self, params: Params, x: jax.Array) -> jax.Array:
        """zx [..., G*H] from inputs [..., D]."""
        return affine(x, params["w_x"], params.get("b"), dtype=self.dtype)

    def recurrent_product(self, params: Params, h: jax.Array) -> jax.Array:
        """zh [..., G*H] from hidden states [..., H]."""
        w, b = params["w_h"], params.get("b_h")
        if self.heads == 1:
            return affine(h, w, b, dtype=self.dtype)
        zh = by_heads(h.astype(self._factors(w)), w.astype(self._factors(w)), state_dtype(w.dtype))
        return zh if b is None else zh + over_rows(b.astype(zh.dtype), zh)

    def recurrent_transposed(self, params: Params) -> Callable[[jax.Array], jax.Array]:
        """The map d_zh [..., G*H] -> d_zh @ w_h^T [..., H]; the transpose of w_h is made once, outside of the loop."""
        w = params["w_h"]
        if self.heads == 1:
            transposed = w.astype(self._factors(w)).T
            return lambda d: affine(d, transposed, dtype=self.dtype)
        factors = w.astype(self._factors(w))
        return lambda d: by_heads_transposed(d.astype(factors.dtype), factors, state_dtype(w.dtype))

    def _factors(self, w: jax.Array) -> checks.DTypeLike:
        return w.dtype if self.dtype is None else self.dtype

    def activate(self, z: Gates, kept: Gates | None = None) -> Gates:
        """The gates from their pre-activations, see `jaxrnn.cells.gates.activated`."""
        like = jax.tree.leaves(z)[0]
        return gate.activated(in_dtype(tuple(self.gates.values()), like.dtype), z, kept)

    def advance(self, own: Params, carry: Tree, gates: Gates, noise: Noise | None) -> Tree:
        """`update`, then zoneout, with parameters and options in the dtype of the state."""
        cell, own = in_dtype((self, own), jax.tree.leaves(gates)[0].dtype)
        return cell.zone_out(carry, cell.update(own, carry, gates, None if noise is None else noise.process), noise)

    def zone_out(self, carry: Tree, new: Tree, noise: Noise | None) -> Tree:
        """Keeps old entries of the carry at the rates of `zoneout`."""
        if self.zoneout is None:
            return new
        olds, (news, structure) = jax.tree.leaves(carry), jax.tree.flatten(new)
        if noise is None:
            rates = [over_rows(jnp.asarray(r), a) for r, a in zip(self._zoneout_rates(new), olds, strict=True)]
            kept = [r * a + (1.0 - r) * b for r, a, b in zip(rates, olds, news, strict=True)]
        else:
            kept = [jnp.where(m, a, b) for m, a, b in zip(jax.tree.leaves(noise.zoneout), olds, news, strict=True)]
        return jax.tree.unflatten(structure, kept)

    def pre_activations(self, zx: jax.Array, zh: jax.Array) -> Gates:
        """The pre-activations: for each gate the sum zx + zh [..., H] of its columns, or the pair if it is `apart`."""
        z, columns = zx + zh, [slice(g * self.H, (g + 1) * self.H) for g in range(self.G)]
        pairs = zip(self.gates.values(), columns, strict=True)
        return [(zx[..., at], zh[..., at]) if gate.is_apart(f) else z[..., at] for f, at in pairs]

    def gates_at(self, params: Params, carry: Tree, x: jax.Array, noise: Noise | None) -> Gates:
        """The gates of one step."""
        zx, zh = self.input_product(params, x), self.recurrent_product(params, self.read(carry, noise))
        return self.activate(self.pre_activations(zx, zh))

    def named_gates(self, params: Params, carry: Tree, x: jax.Array, noise: Noise | None) -> Named:
        """`gate_values` of one step."""
        gates = self.gates_at(params, carry, x, noise)
        cell, own = in_dtype((self, own_params(params)), jax.tree.leaves(gates)[0].dtype)
        return cell.gate_values(own, carry, gates, None if noise is None else noise.process)

    def step(self, params: Params, carry: Tree, x: jax.Array, noise: Noise | None = None) -> tuple[Tree, jax.Array]:
        """One step, with the products inside."""
        carry = self.advance(own_params(params), carry, self.gates_at(params, carry, x, noise), noise)
        return carry, self.output(carry)

    def _zoneout_rates(self, carry: Tree) -> list[checks.Number]:
        rates = jax.tree.leaves(self.zoneout)
        return rates * len(jax.tree.leaves(carry)) if len(rates) == 1 else rates


def checked_cell(cell: AnyGatedCell) -> AnyGatedCell:
    """The cell; raises an error that names the option that is wrong."""
    for name in ("D", "H"):
        checks.positive_int(name, getattr(cell, name))
    if not checks.instance("gates", getattr(cell, "gates", None), Mapping, "{name: activation}"):
        raise ValueError("gates: expected at least one, got none")
    if cell.H % checks.positive_int("heads", cell.heads):
        raise ValueError(f"heads: expected a divisor of H = {cell.H}, got {cell.heads}")
    if cell.zoneout is None:
        return cell
    shapes = ((), (cell.H,))
    if jax.tree.structure(cell.zoneout) == jax.tree.structure(0.0):
        rates = checks.rate("zoneout", cell.zoneout, shapes)
    else:
        carry = cell.zero_carry((), FLOAT32)
        if jax.tree.structure(cell.zoneout) != jax.tree.structure(carry):
            kinds = f"one number or a tree of numbers like the carry, {jax.tree.structure(carry)}"
            raise ValueError(f"zoneout: expected {kinds}, got {checks.short(cell.zoneout)}")
        rates = jax.tree.map(lambda rate: checks.rate("zoneout", rate, shapes), cell.zoneout)
    return dataclasses.replace(cell, zoneout=rates)


def carry_dtype(params: Params) -> Any:
    """The dtype of a gated cell's carry."""
    checks.entry("params", params, "w_h")
    w_h = checks.array("params['w_h']", params["w_h"])
    if not jnp.issubdtype(w_h.dtype, jnp.floating):
        raise TypeError(f"params['w_h']: expected floating-point numbers, got {checks.short(w_h)}")
    return state_dtype(w_h.dtype)


def own_params(params: Params) -> Params:
    """The parameters that `update` reads: all except the products' weights and biases, and a learned initial carry."""
    return {name: value for name, value in params.items() if name not in _ENGINE}


_ENGINE = ("w_x", "w_h", "b", "b_h", "initial_carry")


def named_leaves(carry: Tree) -> dict[str, jax.Array]:
    """A carry as a plain dict, as parameters need it: a bare array is named "h"."""
    flat = jax.tree_util.tree_leaves_with_path(carry)
    return {jax.tree_util.keystr(path, simple=True, separator=".") or "h": x for path, x in flat}


def learned_carry(params: Params, zeros: Tree) -> Tree:
    """The parameter "initial_carry", broadcast to every row of a carry of zeros."""
    checks.entry("params", params, "initial_carry")
    learned, names = params["initial_carry"], named_leaves(zeros)
    checks.same_entries("params['initial_carry']", learned, names)
    rows = jax.tree.unflatten(jax.tree.structure(zeros), [learned[name] for name in names])
    return jax.tree.map(lambda row, zero: jnp.broadcast_to(row.astype(zero.dtype), zero.shape), rows, zeros)
