"""The scan that overwrites arrays against `jax.lax.scan`, under every transformation, and how it is compiled."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxrnn
from jaxrnn.primitives import one_kernel
from jaxrnn.primitives.scan_in_place import scan_in_place
from tests.helpers import assert_close
from tests.jaxprs import body, equations, scans
from tests.registry import ENTRIES

T, B, H = 4, 3, 2


def arguments():
    rng = np.random.default_rng(0)

    def draw(*shape):
        return jnp.asarray(rng.standard_normal(shape))

    return draw(H, H), (draw(B, H), jnp.arange(B)), [draw(T, B, H), draw(T, B)], draw(T, B, H)


def step(w, carry, entry, x):
    """A carry with an integer part, two arrays, and something stacked."""
    (h, count), (a, b) = carry, entry
    h = jnp.tanh(h @ w + a * x)
    return (h, count + 1), [a + h, b * count.astype(b.dtype)], (h.sum(), x - a)


def in_place(w, carry, arrays, xs, reverse):
    return scan_in_place(lambda *args: step(w, *args), carry, arrays, xs, reverse)


def plain(w, carry, arrays, xs, reverse):
    def body(carry, at_t):
        carry, entry, y = step(w, carry, *at_t)
        return carry, (entry, y)

    carry, (arrays, ys) = jax.lax.scan(body, carry, (arrays, xs), reverse=reverse)
    return carry, arrays, ys


def loss(f, reverse):
    def run(w, h, arrays, xs):
        carry, arrays, ys = f(w, (h, jnp.arange(B)), arrays, xs, reverse)
        return sum(jnp.sum(jnp.sin(x)) for x in jax.tree.leaves((carry, arrays, ys)))

    return run


@pytest.mark.parametrize("reverse", [False, True])
def test_values_and_derivatives(reverse, x64):
    w, (h, count), arrays, xs = arguments()

    def run(f):
        point = w, h, arrays, xs
        values = f(w, (h, count), arrays, xs, reverse)
        gradient = jax.grad(loss(f, reverse), (0, 1, 2, 3))
        forward = jax.jvp(loss(f, reverse), point, jax.tree.map(jnp.cos, point))
        return values, gradient(*point), forward, jax.hessian(loss(f, reverse))(*point)

    assert_close(jax.jit(run, static_argnums=0)(in_place), jax.jit(run, static_argnums=0)(plain), 1e-12)


AXES = [(None, None, 0, None), (0, None, None, None), (None, 1, None, None), (1, None, 2, 1), (0, 0, 0, 0)]


@pytest.mark.parametrize("axes", AXES, ids=str)
def test_vmap(axes, x64):
    w, (h, _), arrays, xs = arguments()
    point = [
        tree if axis is None else jax.tree.map(lambda x, axis=axis: jnp.stack([x, 2 * x], axis), tree)
        for tree, axis in zip((w, h, arrays, xs), axes, strict=True)
    ]

    def run(f):
        one = loss(f, False)
        both = jax.vmap(one, axes)
        shared = jax.grad(lambda *p: both(*p).sum(), (0, 1, 2, 3))(*point)
        return both(*point), shared, jax.vmap(jax.grad(one, (0, 1, 2, 3)), axes)(*point)

    assert_close(jax.jit(run, static_argnums=0)(in_place), jax.jit(run, static_argnums=0)(plain), 1e-12)


def test_eager_calls(x64):
    w, carry, arrays, xs = arguments()
    assert_close(in_place(w, carry, arrays, xs, False), plain(w, carry, arrays, xs, False), 1e-12)


def gradient_program(batch, H=5, vmapped=False):
    """The compiled gradient of an LSTM, as text."""
    cell = jaxrnn.lstm(H, H)
    params = cell.init(jax.random.key(0))

    def total(params, xs):
        def run(xs):
            return jaxrnn.unroll(cell, params, xs)[1]

        return jnp.sum(jax.vmap(run, 1, 1)(xs) if vmapped else run(xs))

    return jax.jit(jax.grad(total)).lower(params, jnp.ones((7, *batch, H))).compile()


def test_the_mapped_axis_stays_behind_time():
    """`grad(vmap(unroll))` is the program of a batch: as many bytes, and no array with rows before time."""
    native, vmapped = gradient_program((11,)), gradient_program((11,), vmapped=True)
    assert vmapped.memory_analysis().temp_size_in_bytes == native.memory_analysis().temp_size_in_bytes
    assert "[7,11,20]" in vmapped.as_text()
    assert "[11,7," not in vmapped.as_text()


@pytest.mark.skipif(jax.default_backend() != "cpu", reason="the CPU backend's own attribute")
class TestOneKernel:
    def calls(self, program):
        return program.as_text().count('xla_cpu_small_call="true"')

    def test_a_loop_of_one_row_is_one_kernel(self):
        assert self.calls(gradient_program((1,)))
        assert self.calls(gradient_program(()))

    @pytest.mark.parametrize("entry", [e for e in ENTRIES if e.gated], ids=lambda e: e.name)
    def test_so_is_that_of_every_cell(self, entry, monkeypatch):
        """Both loops of each, so no cell makes use of an operation that is left out; but several heads are several
        products."""
        found, is_small = [], one_kernel._is_small
        monkeypatch.setattr(one_kernel, "_is_small", lambda jaxpr: found.append(is_small(jaxpr)) or found[-1])
        cell = entry.build()
        params = cell.init(jax.random.key(0))
        total = jax.grad(lambda p, xs: jaxrnn.unroll(cell, p, xs)[1].sum())
        jax.jit(total).lower(params, jnp.ones((5, 1, cell.D)))
        assert found == [cell.heads == 1] * 2

    def test_a_loop_of_more_rows_is_not(self):
        assert not self.calls(gradient_program((2,)))
        assert not self.calls(gradient_program((2,), vmapped=True))  # known only once it is vmapped

    def test_a_large_matrix_is_not(self):
        H = int((one_kernel.LARGEST / 4) ** 0.5)
        assert self.calls(gradient_program((1,), H))
        assert not self.calls(gradient_program((1,), H + 1))


def test_the_transpose_of_w_h_is_made_once():
    """It is no part of the reverse loop."""
    cell = jaxrnn.lstm(5, 5)
    params = cell.init(jax.random.key(0))
    jaxpr = jax.make_jaxpr(jax.grad(lambda p: jaxrnn.unroll(cell, p, jnp.ones((7, 11, 5)))[1].sum()))(params)
    names = [e.primitive.name for e in equations(jaxpr)]
    assert names.count("transpose") > 0
    assert "transpose" not in [e.primitive.name for e in equations(body(scans(jaxpr)[-1]))]


USES = {
    "sort": lambda h: jnp.sort(h, -1),
    "top_k": lambda h: jax.lax.top_k(h, 4)[0],
    "fft": lambda h: jnp.fft.fft(h).real,
    "callback": lambda h: (jax.debug.callback(lambda x: None, h), h)[1],
    "cond": lambda h: jax.lax.cond(h.sum() > 0, jnp.tanh, jnp.sin, h),
    "cumsum": lambda h: jnp.cumsum(h, -1),
}


@pytest.mark.parametrize("batch", [(), (1,)], ids=str)
@pytest.mark.parametrize("name", USES)
def test_one_row_of_any_equations(name, batch):
    """XLA can't make one kernel of all of them."""
    cell = jaxrnn.gated_cell(3, 4, {"n": jnp.tanh}, lambda params, h, gates, noise: gates[0] + 0.1 * USES[name](h))
    params, xs = cell.init(jax.random.key(0)), jax.random.normal(jax.random.key(1), (5, *batch, 3))
    run = jax.jit(jax.grad(lambda p, g: jnp.sum(jaxrnn.unroll(cell, p, xs, gradient=g)[1] ** 2)), static_argnums=1)
    found = [run(params, gradient) for gradient in (jaxrnn.reverse_scan(), jaxrnn.autodiff())]
    assert_close(*found, 1e-5)


def test_scans_hold_no_other_scan():
    """One primitive a loop in the traced program, so that a later `vmap` sees it whole."""
    cell = jaxrnn.gru(3, 4)
    jaxpr = jax.make_jaxpr(lambda p, xs: jaxrnn.unroll(cell, p, xs)[1])(
        cell.init(jax.random.key(0)), jnp.ones((5, 2, 3))
    )
    names = [e.primitive.name for e in equations(jaxpr)]
    assert names.count("scan_in_place") == 1
    assert "scan" not in names
