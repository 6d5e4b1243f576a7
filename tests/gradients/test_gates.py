"""Each kind of gate that a cell can declare: values, gradients and second derivatives against autodiff."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.tree_util import Partial

import jaxrnn
from jaxrnn.cells.gates import KNOWN
from jaxrnn.functions import unwrapped, wrapped
from tests.gradients.hessians import assert_hessians_agree, curved
from tests.helpers import assert_close, floats, gradients, merge, mostly_slow, relative_error
from tests.jaxprs import body, equations, scans

D, H = 3, 4


def power_softplus(z, *, power):
    return jax.nn.softplus(power * z) / power


GATES = {
    "sigmoid": jax.nn.sigmoid,
    "tanh": jnp.tanh,
    "relu": jax.nn.relu,
    "exp": jnp.exp,
    "identity": jaxrnn.identity,
    "softplus": jax.nn.softplus,
    "one's own": lambda z: z * jnp.tanh(z),
    "partial": Partial(power_softplus, power=1.3),
    "apart": jaxrnn.apart(lambda zx, zh, first: jnp.tanh(zx + first * zh)),
    "apart, a product": jaxrnn.apart(lambda zx, zh, first: jnp.sin(zx * zh) * first),
    "apart, zx alone": jaxrnn.apart(lambda zx, zh, first: jnp.tanh(zx)),
    "apart, zh alone": jaxrnn.apart(lambda zx, zh, first: jnp.tanh(zh)),
    "apart, neither": jaxrnn.apart(lambda zx, zh, first: first * first),
    "apart, partial": jaxrnn.apart(Partial(lambda zx, zh, first, *, rate: jnp.tanh(zx + rate * zh), rate=0.6)),
    "pair": jaxrnn.apart,
}


def last(zx, zh, *before):
    return jnp.tanh(zx) * jnp.sin(zh) + sum(jax.tree.leaves(before))


def update(params, h, gates, noise):
    """Equations that use a gate twice, or each part of one by itself, within a jitted function and a branch."""
    first, second, third = gates
    x, y = second if isinstance(second, tuple) else (second, second)
    new = jax.jit(lambda x, y: jnp.sin(x - 0.5 * y * h) * x)(x, y)
    return first * h + (1.0 - first) * new + 0.3 * jax.lax.cond(True, jnp.tanh, jnp.sin, third)


def cell_of(gate):
    return jaxrnn.gated_cell(D, H, {"first": jax.nn.sigmoid, "second": gate, "last": jaxrnn.apart(last)}, update)


def arguments(cell):
    rng = np.random.default_rng(0)
    K = H * cell.G
    params = {"w_x": rng.standard_normal((D, K)), "w_h": 0.5 * rng.standard_normal((H, K)), "b": rng.standard_normal(K)}
    return cell, *jax.tree.map(jnp.asarray, (params, rng.standard_normal((4, 2, D)), rng.standard_normal((2, H))))


def found(gradient, cell):
    return jax.jit(lambda a: gradients(gradient, *a))(arguments(cell))


@pytest.mark.parametrize("name", mostly_slow(GATES, *range(0, len(GATES), 4)))
def test_values_and_derivatives(name, x64):
    args = arguments(cell_of(GATES[name]))
    want = found(jaxrnn.autodiff(), args[0])
    assert_close(found(jaxrnn.reverse_scan(), args[0]), want, 1e-10)
    assert all(np.max(np.abs(d)) > 1e-3 for path, d in want.items() if path.startswith("['cell']"))
    assert_hessians_agree(lambda values, g: curved(jaxrnn.unroll(*merge(args, values), gradient=g)), floats(args))


def test_an_option_that_is_traced_where_the_cell_is_made(x64):
    def loss(power, gradient):
        return curved(jaxrnn.unroll(*arguments(cell_of(Partial(power_softplus, power=power)))[:3], gradient=gradient))

    slope = (loss(1.3 + 1e-6, jaxrnn.autodiff()) - loss(1.3 - 1e-6, jaxrnn.autodiff())) / 2e-6
    for gradient in (jaxrnn.reverse_scan(), jaxrnn.autodiff()):
        assert relative_error(jax.jit(jax.grad(loss), static_argnums=1)(1.3, gradient), slope) < 1e-7


def test_a_gate_declared_apart_or_as_identity_without_need_changes_nothing(x64):
    def of(f, n):
        return jaxrnn.gated_cell(D, H, {"f": f, "n": n}, lambda p, h, g, noise: activated(f)(g[0]) * h + g[1])

    def activated(f):
        return jax.nn.sigmoid if f is jaxrnn.identity else lambda a: a

    plain = of(jax.nn.sigmoid, jnp.tanh)
    candidate = jaxrnn.apart(lambda zx, zh, f: jnp.tanh(zx + zh))
    others = of(jaxrnn.identity, jnp.tanh), of(jax.nn.sigmoid, candidate), of(jaxrnn.identity, candidate)
    for gradient in (jaxrnn.reverse_scan(), jaxrnn.autodiff()):
        for other in others:
            assert_close(found(gradient, other), found(gradient, plain), 1e-12)


@pytest.mark.parametrize(("activation", "known"), KNOWN, ids=lambda x: getattr(x, "__name__", ""))
def test_slopes_and_bounds(activation, known, x64):
    z = jnp.concatenate([jnp.linspace(-5.0, 5.0, 101), jnp.array([-1e3, 0.0, 7e2])])
    a = activation(z)
    if known.slope is not None:
        np.testing.assert_allclose(known.slope(a), jax.vmap(jax.grad(activation))(z), rtol=1e-12, atol=1e-14)
    if known.bounds is not None:
        lowest, highest = known.bounds
        assert lowest <= a.min() <= lowest + 2e-3  # soft_sign comes near slowly
        assert min(highest, 700.0) - 2e-3 <= a.max() <= highest


@pytest.mark.parametrize(
    ("cell", "expected"),
    [(jaxrnn.lstm(3, 4), ["tanh"]), (jaxrnn.gru(3, 4), ["tanh"]), (jaxrnn.elman(3, 4), [])],
    ids=str,
)
def test_the_reverse_loop_takes_no_activation_again(cell, expected):
    """But for the LSTM's tanh of c, and the GRU's gate that is apart."""
    params = cell.init(jax.random.key(0))
    jaxpr = jax.make_jaxpr(jax.grad(lambda p: jaxrnn.unroll(cell, p, jnp.ones((5, 2, 3)))[1].sum()))(params)
    reverse = scans(jaxpr)[-1]
    assert reverse.params["reverse"]
    live = jax.jit(jax.extend.core.jaxpr_as_fun(body(reverse))).lower(*body(reverse).in_avals).compile().as_text()
    activations = [name for name in ("tanh", "logistic", "exponential") for _ in range(live.count(f" {name}("))]
    assert activations == expected
    assert any(e.primitive.name == "tanh" for e in equations(body(scans(jaxpr)[0])))


def test_only_a_partial_without_arguments_is_its_function():
    assert unwrapped(Partial(wrapped(jnp.tanh))) is jnp.tanh
    for partial in (Partial(power_softplus, power=1.3), Partial(jnp.multiply, 2.0)):
        assert unwrapped(partial) is partial
