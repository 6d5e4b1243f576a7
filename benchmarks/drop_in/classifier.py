"""A classifier of sequences of different lengths, in Flax nnx."""

import jax
import jax.numpy as jnp
import optax
from flax import nnx

CELLS = {"lstm": nnx.OptimizedLSTMCell, "gru": nnx.GRUCell}
B, T, D, CLASSES = 32, 100, 16, 10


class Classifier(nnx.Module):
    """Logits from the output at each row's last step."""

    def __init__(self, cell: str, hidden: int, rngs: nnx.Rngs) -> None:
        self.rnn = nnx.RNN(CELLS[cell](D, hidden, rngs=rngs))
        self.head = nnx.Linear(hidden, CLASSES, rngs=rngs)

    def __call__(self, xs: jax.Array, lengths: jax.Array) -> jax.Array:
        ys = self.rnn(xs, seq_lengths=lengths)
        return self.head(ys[jnp.arange(len(ys)), lengths - 1])


def data(key: jax.Array) -> tuple[jax.Array, jax.Array, jax.Array]:
    """Sequences, their lengths and classes."""
    keys = jax.random.split(key, 3)
    lengths = jax.random.randint(keys[1], (B,), T // 2, T + 1)
    return jax.random.normal(keys[0], (B, T, D)), lengths, jax.random.randint(keys[2], (B,), 0, CLASSES)


def start(cell: str, hidden: int):
    """The state of training."""
    model = Classifier(cell, hidden, nnx.Rngs(0))
    return model, nnx.Optimizer(model, optax.adam(1e-3), wrt=nnx.Param)


@nnx.jit
def step(model: Classifier, optimizer: nnx.Optimizer, batch: tuple[jax.Array, ...]) -> jax.Array:
    """One step of training: the loss."""
    xs, lengths, classes = batch

    def loss(model: Classifier) -> jax.Array:
        return optax.softmax_cross_entropy_with_integer_labels(model(xs, lengths), classes).mean()

    value, grads = nnx.value_and_grad(loss)(model)
    optimizer.update(model, grads)
    return value


def train(state: tuple[Classifier, nnx.Optimizer], batch: tuple[jax.Array, ...]):
    """(state, loss) after one step."""
    return state, step(*state, batch)
