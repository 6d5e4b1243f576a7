"""A language model of characters, in Flax nnx."""

import jax
import optax
from flax import nnx

CELLS = {"lstm": nnx.OptimizedLSTMCell, "gru": nnx.GRUCell}
B, T, SYMBOLS = 32, 100, 64


class Characters(nnx.Module):
    """Logits of the next character at each step."""

    def __init__(self, cell: str, hidden: int, rngs: nnx.Rngs) -> None:
        self.embed = nnx.Embed(SYMBOLS, hidden, rngs=rngs)
        self.rnn = nnx.RNN(CELLS[cell](hidden, hidden, rngs=rngs))
        self.head = nnx.Linear(hidden, SYMBOLS, rngs=rngs)

    def __call__(self, text: jax.Array) -> jax.Array:
        return self.head(self.rnn(self.embed(text)))


def data(key: jax.Array) -> jax.Array:
    """Text [B, T + 1]."""
    return jax.random.randint(key, (B, T + 1), 0, SYMBOLS)


def start(cell: str, hidden: int):
    """The state of training."""
    model = Characters(cell, hidden, nnx.Rngs(0))
    return model, nnx.Optimizer(model, optax.adam(1e-3), wrt=nnx.Param)


@nnx.jit
def step(model: Characters, optimizer: nnx.Optimizer, text: jax.Array) -> jax.Array:
    """One step of training: the loss."""

    def loss(model: Characters) -> jax.Array:
        return optax.softmax_cross_entropy_with_integer_labels(model(text[:, :-1]), text[:, 1:]).mean()

    value, grads = nnx.value_and_grad(loss)(model)
    optimizer.update(model, grads)
    return value


def train(state: tuple[Characters, nnx.Optimizer], text: jax.Array):
    """(state, loss) after one step."""
    return state, step(*state, text)
