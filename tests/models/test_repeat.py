"""Equal layers as one loop over layers."""

import jax
import jax.numpy as jnp
import pytest

import jaxrnn
from tests.helpers import assert_close


def stacked(params):
    return jax.tree.map(lambda *rows: jnp.stack(rows), *(params[str(i)] for i in range(len(params))))


@pytest.mark.parametrize("gradient", [None, jaxrnn.autodiff(), jaxrnn.checkpointed()])
@pytest.mark.parametrize("make", [jaxrnn.lstm, jaxrnn.gru, lambda D, H: jaxrnn.lstm(D, H, proj_size=D)])
def test_it_is_a_stack_of_equal_layers(make, gradient, x64):
    cell = make(4, 4)
    stack, repeat = jaxrnn.stack([cell] * 3), jaxrnn.repeat(cell, 3)
    params = jax.tree.map(lambda x: x.astype(float), stack.init(jax.random.key(0)))
    xs, lengths = jax.random.normal(jax.random.key(1), (6, 2, 4)), jnp.array([6, 3])
    resets = jnp.zeros((6, 2), bool).at[2].set(True)

    def loss(model, params, xs):
        carry, ys = model.apply(params, xs, lengths=lengths, resets=resets, gradient=gradient)
        return jnp.sum(ys**2) + sum(jnp.sum(c) for c in jax.tree.leaves(carry))

    f = jax.value_and_grad(loss, (1, 2))
    value, (d_params, d_xs) = f(stack, params, xs)
    assert_close(f(repeat, stacked(params), xs), (value, (stacked(d_params), d_xs)), 1e-10)
    carry, _ = stack.apply(params, xs)
    want = jax.tree.map(lambda *rows: jnp.stack(rows), *carry)
    assert_close(repeat.apply(stacked(params), xs)[0], want, 1e-12)


def test_two_halves_are_one_whole_and_noise_differs_between_layers():
    model, xs = (
        jaxrnn.repeat(jaxrnn.gru(4, 4, recurrent_dropout=0.5), 2),
        jax.random.normal(jax.random.key(1), (6, 2, 4)),
    )
    params = model.init(jax.random.key(0))
    carry, first = model.apply(params, xs[:3])
    _, second = model.apply(params, xs[3:], carry=carry)
    assert_close(jnp.concatenate([first, second]), model.apply(params, xs)[1], 1e-6)
    noisy = [model.apply(params, xs, key=jax.random.key(i))[1] for i in (0, 1)]
    assert not jnp.array_equal(*noisy)


def test_layers_are_drawn_on_their_own():
    w = jaxrnn.repeat(jaxrnn.lstm(4, 4), 2).init(jax.random.key(0))["w_x"]
    assert w.shape == (2, 4, 16)
    assert not jnp.array_equal(w[0], w[1])


def test_its_program_does_not_grow_with_its_layers():
    def size(n):
        model = jaxrnn.repeat(jaxrnn.lstm(4, 4), n)
        params = jax.eval_shape(model.init, jax.random.key(0))
        f = jax.grad(lambda params, xs: model.apply(params, xs)[1].sum())
        return len(str(jax.make_jaxpr(f)(params, jnp.ones((5, 2, 4))))) - n

    assert abs(size(9) - size(3)) < 300  # numbers of more digits


def test_diagnostics_see_each_layer():
    model, xs = jaxrnn.repeat(jaxrnn.lstm(4, 4), 3), jax.random.normal(jax.random.key(1), (6, 2, 4))
    assert jaxrnn.check_gradients(model, model.init(jax.random.key(0)), xs).ok


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((jaxrnn.lstm(3, 4), 2), "cell: expected as many output features as input features, 3, got 4"),
        ((jaxrnn.lstm(4, 4), 0), "n: expected a positive integer, got 0"),
        (("lstm", 2), "cell: expected a Cell, got str 'lstm'"),
    ],
)
def test_bad_input(arguments, message):
    with pytest.raises((ValueError, TypeError), match=message):
        jaxrnn.repeat(*arguments)
