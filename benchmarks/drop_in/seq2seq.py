"""An encoder and a decoder, in Flax linen: numbers are read, and their sums written, digit by digit."""

import functools
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import optax
from flax.training.train_state import TrainState

CELLS = {"lstm": nn.LSTMCell, "gru": nn.GRUCell}
B, T, OUT, SYMBOLS = 32, 60, 20, 16


class DecoderCell(nn.RNNCellBase):
    """Decodes one more symbol: reads the true one, and draws its own, which it would read without a teacher."""

    cell: str
    hidden: int
    teacher: bool = True
    num_feature_axes = 1

    @nn.compact
    def __call__(self, carry: Any, x: jax.Array) -> Any:
        state, last = carry
        state, y = CELLS[self.cell](self.hidden)(state, x if self.teacher else last)
        logits = nn.Dense(SYMBOLS)(y)
        drawn = jax.random.categorical(self.make_rng("symbols"), logits)
        return (state, jax.nn.one_hot(drawn, SYMBOLS)), logits


class Seq2Seq(nn.Module):
    """Logits [B, OUT, SYMBOLS]."""

    cell: str
    hidden: int

    @nn.compact
    def __call__(self, xs: jax.Array, lengths: jax.Array, ys: jax.Array) -> jax.Array:
        state, _ = nn.RNN(CELLS[self.cell](self.hidden), return_carry=True, name="encoder")(xs, seq_lengths=lengths)
        decoder = nn.RNN(
            DecoderCell(self.cell, self.hidden), split_rngs={"params": False, "symbols": True}, name="decoder"
        )
        return decoder(ys[:, :-1], initial_carry=(state, ys[:, 0]))


def data(key: jax.Array) -> tuple[jax.Array, jax.Array, jax.Array]:
    """One-hot sequences, their lengths, and one-hot outputs [B, OUT + 1, SYMBOLS]."""
    keys = jax.random.split(key, 3)
    xs, ys = (
        jax.nn.one_hot(jax.random.randint(k, (B, n), 0, SYMBOLS), SYMBOLS)
        for k, n in zip(keys, (T, OUT + 1), strict=False)
    )
    return xs, jax.random.randint(keys[2], (B,), T // 2, T + 1), ys


def start(cell: str, hidden: int) -> TrainState:
    """The state of training."""
    model, batch = Seq2Seq(cell, hidden), data(jax.random.key(0))
    variables = model.init({"params": jax.random.key(0), "symbols": jax.random.key(1)}, *batch)
    return TrainState.create(apply_fn=model.apply, params=variables["params"], tx=optax.adam(1e-3))


@functools.partial(jax.jit, donate_argnums=0)
def train(state: TrainState, batch: tuple[jax.Array, ...]) -> tuple[TrainState, jax.Array]:
    """(state, loss) after one step."""
    xs, lengths, ys = batch
    rngs = {"symbols": jax.random.fold_in(jax.random.key(2), state.step)}

    def loss(params: Any) -> jax.Array:
        logits = state.apply_fn({"params": params}, xs, lengths, ys, rngs=rngs)
        return optax.softmax_cross_entropy(logits, ys[:, 1:]).mean()

    value, grads = jax.value_and_grad(loss)(state.params)
    return state.apply_gradients(grads=grads), jnp.asarray(value)
