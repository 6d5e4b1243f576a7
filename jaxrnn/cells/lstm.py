"""Long short-term memory."""

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, NamedTuple, Unpack

import jax
import jax.numpy as jnp

from jaxrnn import checks, initializers
from jaxrnn.cells.gated import (
    GatedCell,
    Gates,
    Named,
    carry_dtype,
    checked_cell,
    learned_carry,
    named_leaves,
    own_params,
)
from jaxrnn.cells.gates import Activation, apart, identity
from jaxrnn.cells.options import GatedOptions, checked
from jaxrnn.linear import affine, over_rows
from jaxrnn.types import Cell, Params, Tree, leaf, pytree

if TYPE_CHECKING:
    from jaxtyping import Float


class LSTMCarry(NamedTuple):
    """State of an LSTM: the hidden state h [..., H] and the memory c [..., H].

    Example:
      >>> import jax
      >>> import jax.numpy as jnp
      >>> import jaxrnn
      >>> cell = jaxrnn.lstm(3, 8)
      >>> carry = jaxrnn.cells.LSTMCarry(h=jnp.zeros((2, 8)), c=jnp.ones((2, 8)))
      >>> carry, ys = jaxrnn.unroll(cell, cell.init(jax.random.key(0)), jnp.ones((5, 2, 3)), carry)
      >>> bool((carry.h == ys[-1]).all()), carry.c.shape
      (True, (2, 8))
    """

    h: "Float[jax.Array, '*B H']"
    c: "Float[jax.Array, '*B H']"


@pytree
class LSTM(GatedCell):
    """See `lstm`.

    Example:
      >>> import jax
      >>> import jax.numpy as jnp
      >>> import jaxrnn
      >>> @jaxrnn.extend.pytree
      ... class Linear(jaxrnn.cells.LSTM):  # h[t] = o * c[t], without a tanh
      ...     def update(self, params, carry, gates, noise):
      ...         i, f, g, o = gates
      ...         c = f * carry.c + i * g
      ...         return jaxrnn.cells.LSTMCarry(h=o * c, c=c)
      >>> cell = Linear(3, 8, forget_bias=2.0)
      >>> carry, ys = jaxrnn.unroll(cell, cell.init(jax.random.key(0)), jnp.ones((5, 2, 3)))
      >>> cell, ys.shape
      (Linear(D=3, H=8, forget_bias=2.0), (5, 2, 8))
    """

    peephole: bool = False
    coupled: bool = False
    layer_norm: bool = False
    forget_bias: checks.Number = leaf(default=1.0)
    chrono: checks.Number | None = leaf(default=None)

    @property
    def gates(self) -> Mapping[str, Activation]:  # pyright: ignore[reportIncompatibleVariableOverride]
        names: tuple[str, ...] = ("i", "g", "o") if self.coupled else ("i", "f", "g", "o")
        if self.layer_norm:  # over all gates of a row together
            return dict.fromkeys(names, apart)
        sees_memory = jax.nn.sigmoid if not self.peephole else identity
        return {name: jnp.tanh if name == "g" else sees_memory for name in names}

    def zero_carry(self, batch_shape: tuple[int, ...], dtype: checks.DTypeLike) -> LSTMCarry:
        zeros = jnp.zeros((*batch_shape, self.H), dtype)
        return LSTMCarry(h=zeros, c=zeros)

    def hidden(self, carry: LSTMCarry) -> jax.Array:
        return carry.h

    def initial_bias(self, key: jax.Array, bias: jax.Array) -> jax.Array:
        keep = self.forget_bias if self.chrono is None else initializers.chrono(key, self.H, self.chrono, bias.dtype)
        keep = jnp.asarray(keep, bias.dtype)
        if self.chrono is not None or self.coupled:  # coupled: f = 1 - i; a closed input gate keeps memory
            bias = bias.at[0].add(-keep)
        return bias if self.coupled else bias.at[1].add(keep)

    def own_params(self, key: jax.Array) -> Params:
        params: Params = {}
        if self.peephole:
            params["w_c"] = jnp.zeros((self.G - 1, self.H), self.param_dtype)
        if self.layer_norm:
            ones, zeros = jnp.ones((self.G, self.H), self.param_dtype), jnp.zeros((self.G, self.H), self.param_dtype)
            params["norm"] = {
                "scale_x": ones,
                "scale_h": ones,
                "shift": self.initial_bias(key, zeros),
                "scale_c": ones[0],
                "shift_c": zeros[0],
            }
        return params

    def update(self, params: Params, carry: LSTMCarry, gates: Gates, noise: Tree) -> LSTMCarry:
        _, _, _, o, c = self._gates_and_memory(params, carry, gates)
        return LSTMCarry(h=o * jnp.tanh(self._before_tanh(params, c)), c=c)

    def gate_values(self, params: Params, carry: LSTMCarry, gates: Gates, noise: Tree) -> Named:
        found = zip("ifgo", self._gates_and_memory(params, carry, gates), strict=False)
        return {name: (a, (-1.0, 1.0) if name == "g" else (0.0, 1.0)) for name, a in found}

    def _gates_and_memory(self, params: Params, carry: LSTMCarry, gates: Gates) -> tuple[jax.Array, ...]:
        """The arrays i, f, g, o and c[t]; o may read c[t]."""
        if self.layer_norm:
            gates = self._normalised(params["norm"], gates)
        i, *f, g, o = gates
        if self.peephole:
            i, *f = (z + over_rows(w, z) * carry.c for z, w in zip((i, *f), params["w_c"], strict=False))
        if self.peephole or self.layer_norm:
            i, *f = map(jax.nn.sigmoid, (i, *f))
        g = jnp.tanh(g) if self.layer_norm else g
        f = 1.0 - i if self.coupled else f[0]
        c = f * carry.c + i * g
        o = o + over_rows(params["w_c"][-1], c) * c if self.peephole else o
        o = jax.nn.sigmoid(o) if self.peephole or self.layer_norm else o
        return i, f, g, o, c

    def _normalised(self, norm: Params, gates: Gates) -> Gates:
        """The pre-activations: the sum of both parts, each normalised."""
        zx, zh = zip(*gates, strict=True)
        pairs = zip(_normalise(zx, norm["scale_x"]), norm["shift"], _normalise(zh, norm["scale_h"]), strict=True)
        return [a + over_rows(shift, a) + b for a, shift, b in pairs]

    def _before_tanh(self, params: Params, c: jax.Array) -> jax.Array:
        if not self.layer_norm:
            return c
        norm = params["norm"]
        return _normalise((c,), (norm["scale_c"],))[0] + over_rows(norm["shift_c"], c)


def _normalise(z: Sequence[jax.Array], scale: Iterable[jax.Array], epsilon: float = 1e-5) -> tuple[jax.Array, ...]:
    """Layer normalisation over all gates of a row together, as in the paper; each gate has a scale [H]."""
    mean = sum(x.mean(-1, keepdims=True) for x in z) / len(z)
    variance = sum(jnp.square(x - mean).mean(-1, keepdims=True) for x in z) / len(z)
    return tuple(
        (x - mean) * jax.lax.rsqrt(variance + epsilon) * over_rows(s, x) for x, s in zip(z, scale, strict=True)
    )


def lstm(
    D: int,
    H: int,
    *,
    peephole: bool = False,
    coupled: bool = False,
    layer_norm: bool = False,
    forget_bias: checks.ArrayLike = 1.0,
    chrono: jax.typing.ArrayLike | None = None,
    proj_size: int | None = None,
    **options: Unpack[GatedOptions],
) -> "LSTM | ProjectedLSTM":
    """Long short-term memory.

    i, f, o = sigmoid(z_i), sigmoid(z_f), sigmoid(z_o);  g = tanh(z_g);  z = x[t] @ w_x + b + h[t-1] @ w_h
    c[t] = f * c[t-1] + i * g;  h[t] = o * tanh(c[t])

    Args:
      D: input features.
      H: hidden features.
      peephole: z_i and z_f also see c[t-1], z_o sees c[t], through weights "w_c" [G-1, H] (Gers and Schmidhuber 2000).
      coupled: f = 1 - i, and the gates are i, g, o (Greff et al. 2017).
      layer_norm: x @ w_x and h @ w_h are normalised over all G*H entries before they are added, c[t] before its tanh;
        scales and shifts are in params["norm"], which takes the place of "b" (Ba et al. 2016).
      forget_bias: added to the freshly drawn bias of f, so that the memory is kept at first (Jozefowicz et al. 2015);
        subtracted from that of i if coupled. It needs a bias.
      chrono: the longest dependency expected, in steps: instead of `forget_bias`, b_f = log(u), b_i = -b_f with
        u ~ U(1, chrono - 1) (Tallec and Ollivier 2018).
      proj_size: h[t] = (o * tanh(c[t])) @ w_p with "w_p" [H, proj_size], and "w_h" is [proj_size, G*H] (Sak et al.
        2014). Not with recurrent_dropout, zoneout or heads.
      **options: as in `GatedCell`.

    Returns:
      A GatedCell with gates i, f, g, o and the carry LSTMCarry(h, c); with `proj_size` a plain Cell. Keras's weights
      fit as they are; PyTorch's matrices [4*H, D] need a transpose (`jaxrnn.interop.from_torch`).

    Raises:
      ValueError, TypeError: an option is out of range or unknown.

    References:
      Hochreiter and Schmidhuber 1997, Neural Computation 9(8); Gers, Schmidhuber and Cummins 2000, Neural Computation
      12(10) (forget gate); Gers and Schmidhuber 2000, IJCNN (peepholes); Greff et al. 2017, arXiv:1503.04069; Ba et al.
      2016, arXiv:1607.06450; Sak, Senior and Beaufays 2014, arXiv:1402.1128; Jozefowicz et al. 2015, ICML;
      Tallec and Ollivier 2018, arXiv:1804.11188.

    Example:
      >>> import jax
      >>> import jaxrnn
      >>> cell = jaxrnn.lstm(3, 8, peephole=True)
      >>> params = cell.init(jax.random.key(0))
      >>> carry, ys = jaxrnn.unroll(cell, params, jax.numpy.ones((5, 2, 3)))
      >>> ys.shape, carry.c.shape, params["w_c"].shape
      ((5, 2, 8), (2, 8), (3, 8))
    """
    if checks.flag("layer_norm", layer_norm):
        for name in ("bias", "bias_init", "hidden_bias"):
            if name in options:
                raise ValueError(f"{name}: expected no such option with layer_norm, which has shifts instead, got one")
        options = {**options, "bias": False}
    elif chrono is not None and options.get("bias", True) is False:
        raise ValueError(f"chrono: expected None without a bias to put it in, got {chrono!r}")
    cell = LSTM(
        checks.positive_int("D", D),
        checks.positive_int("H", H),
        peephole=checks.flag("peephole", peephole),
        coupled=checks.flag("coupled", coupled),
        layer_norm=layer_norm,
        forget_bias=checks.finite("forget_bias", forget_bias, ((), (H,))),
        chrono=None if chrono is None else checks.above("chrono", chrono, 2.0),
        **checked(options),
    )
    cell = checked_cell(cell)
    if proj_size is None:
        return cell
    if cell.heads > 1:
        raise ValueError(f"heads: expected 1 with proj_size, got {cell.heads}")
    for name, rate in (("recurrent_dropout", cell.recurrent_dropout), ("zoneout", cell.zoneout)):
        if rate is not None:
            raise ValueError(f"{name}: expected None with proj_size, got {rate!r}")
    return ProjectedLSTM(checks.positive_int("proj_size", proj_size), cell)


@pytree
class ProjectedLSTM(Cell):
    """See `lstm`, option `proj_size`.

    Example:
      >>> import jax
      >>> import jaxrnn
      >>> cell = jaxrnn.lstm(3, 8, proj_size=4)
      >>> cell
      ProjectedLSTM(P=4, inner=LSTM(D=3, H=8))
      >>> carry = cell.initial_carry(cell.init(jax.random.key(0)), (2,))
      >>> carry.h.shape, carry.c.shape
      ((2, 4), (2, 8))
    """

    P: int
    inner: LSTM = leaf()

    @property
    def features(self) -> tuple[int, int]:
        return self.inner.D, self.P

    def init(self, key: jax.Array) -> Params:
        inner, recurrent, projection = jax.random.split(checks.key("key", key), 3)
        cell = self.inner
        w_h = cell.draw_gates(recurrent, cell.recurrent_init, self.P)
        w_p = cell.input_init(projection, (cell.H, self.P), cell.param_dtype)
        params = cell.init(inner) | {"w_h": w_h, "w_p": w_p}
        if cell.learn_carry:
            params["initial_carry"] = named_leaves(self._zero_carry((), cell.param_dtype))
        return params

    def _zero_carry(self, batch_shape: tuple[int, ...], dtype: checks.DTypeLike) -> LSTMCarry:
        carry = self.inner.zero_carry(batch_shape, dtype)
        return carry._replace(h=jnp.zeros((*batch_shape, self.P), dtype))

    def initial_carry(self, params: Params, batch_shape: tuple[int, ...] = ()) -> LSTMCarry:
        zeros = self._zero_carry(checks.sizes("batch_shape", batch_shape), carry_dtype(params))
        return learned_carry(params, zeros) if self.inner.learn_carry else zeros

    def step(self, params: Params, carry: LSTMCarry, x: jax.Array, noise: None = None) -> tuple[LSTMCarry, jax.Array]:
        cell = self.inner
        zx, zh = cell.input_product(params, x), cell.recurrent_product(params, carry.h)
        gates = cell.activate(cell.pre_activations(zx, zh))
        new = cell.advance(own_params(params), carry, gates, None)
        h = affine(new.h, params["w_p"], dtype=cell.dtype)
        return LSTMCarry(h=h, c=new.c), h
