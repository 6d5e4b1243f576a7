"""Singular values, radii, products and Lyapunov exponents: known cases."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxrnn
from tests.diagnostics.setup import linear
from tests.helpers import assert_close

pytestmark = pytest.mark.usefixtures("x64")
RNG = np.random.default_rng(0)


def random_jacobians(T=6, rows=(3,), N=4):
    return np.random.default_rng(1).standard_normal((T, *rows, N, N)) / np.sqrt(N)


def test_singular_values_and_the_spectral_radius_of_known_matrices():
    rotation = 0.9 * np.array([[np.cos(1.0), -np.sin(1.0)], [np.sin(1.0), np.cos(1.0)]])
    shear = np.array([[0.5, 100.0], [0.0, -0.25]])
    matrices = np.stack([rotation, shear])
    assert_close(jaxrnn.diagnostics.spectral_radius(matrices), np.array([0.9, 0.5]), 1e-12)
    values = np.asarray(jaxrnn.diagnostics.singular_values(matrices))
    assert_close(values[0], np.array([0.9, 0.9]), 1e-12)
    assert_close(values[1].prod(), 0.125, 1e-10)
    assert values[1, 0] > 100.0 > values[1, 1]
    assert_close(
        jax.vmap(jaxrnn.diagnostics.spectral_radius)(matrices), jaxrnn.diagnostics.spectral_radius(matrices), 1e-12
    )


def by_hand(J, lengths, resets):
    T, B = J.shape[:2]
    found = np.full((T + 1, B), np.nan)
    for row in range(B):
        for k in range(T + 1):
            norms = []
            for t in range(k - 1, lengths[row]):
                window = range(t - k + 1, t + 1)
                if t < 0 or any(resets[u, row] for u in window):
                    continue
                product = np.eye(J.shape[-1])
                for u in window:
                    product = J[u, row] @ product
                norms.append(np.linalg.norm(product, 2))
            if norms:
                found[k, row] = np.mean(norms)
            elif k == 0:
                found[k, row] = 1.0
    return found


def test_norms_of_products_against_a_plain_loop():
    J, lengths = random_jacobians(), np.array([6, 4, 0])
    resets = np.zeros((6, 3), bool)
    resets[2, 0] = True
    found = np.asarray(jax.jit(jaxrnn.diagnostics.product_norms)(J, lengths=lengths, resets=resets))
    want = by_hand(J, lengths, resets)
    np.testing.assert_allclose(found, want, rtol=1e-10)
    assert np.isnan(want).any()
    np.testing.assert_allclose(
        jaxrnn.diagnostics.product_norms(J, max_lag=2, lengths=lengths, resets=resets), want[:3], rtol=1e-10
    )
    unmasked = by_hand(J, np.full(3, 6), np.zeros((6, 3), bool))
    np.testing.assert_allclose(jaxrnn.diagnostics.product_norms(J), unmasked, rtol=1e-10)
    flipped = by_hand(np.flip(J, 0), np.full(3, 6), np.zeros((6, 3), bool))
    np.testing.assert_allclose(jaxrnn.diagnostics.product_norms(J, reverse=True), flipped, rtol=1e-10)


@pytest.mark.parametrize("reverse", [False, True], ids=["forward", "reverse"])
def test_padding_and_episodes_in_both_directions(reverse):
    """Of a recurrence that only scales, every product that counts has the norm factor^k."""
    cell, params = linear(2)
    params = params | {"w_h": 0.5 * np.eye(2)}
    resets = np.zeros((5, 2), bool)
    resets[1, 0] = True  # row 0: episodes of 1 and 4 steps; row 1: one of 3
    options = {"lengths": np.array([5, 3]), "resets": resets, "reverse": reverse}
    J = jaxrnn.diagnostics.state_jacobians(cell, params, np.ones((5, 2, 2)), **options)
    norms = np.asarray(jaxrnn.diagnostics.product_norms(J, **options))
    # Of the episode of 4 steps the first has no state before it, but where the loop starts with it (from the carry).
    for row, longest in enumerate((4 if reverse else 3, 3)):
        np.testing.assert_allclose(norms[: longest + 1, row], 0.5 ** np.arange(longest + 1), rtol=1e-12)
        assert np.all(np.isnan(norms[longest + 1 :, row]))
    assert_close(jaxrnn.diagnostics.lyapunov_spectrum(J, **options), np.full((2, 2), np.log(0.5)), 1e-12)


@pytest.mark.parametrize("gain", [0.5, 0.95])
def test_pascanu_a_largest_singular_value_below_one_bounds_every_product(gain):
    """tanh' <= 1, so |dh[t]/dh[t-k]| <= s^k for all inputs: the gradient must vanish."""
    H = 6
    cell = jaxrnn.elman(3, H, param_dtype=np.float64)
    params = cell.init(jax.random.key(0))
    w_h = RNG.standard_normal((H, H))
    params = params | {"w_h": jnp.asarray(gain * w_h / np.linalg.norm(w_h, 2))}
    J = jaxrnn.diagnostics.state_jacobians(cell, params, RNG.standard_normal((20, 4, 3)))
    norms = np.asarray(jaxrnn.diagnostics.product_norms(J))
    bound = gain ** np.arange(21)[:, None]
    assert np.all(norms <= bound * (1 + 1e-12))
    assert np.all(norms[1] > 0.3 * gain)  # the bound is near at one step
    loss_gradient = jaxrnn.diagnostics.gradient_norm_by_lag(
        cell, params, RNG.standard_normal((20, 4, 3)), lambda ys: ys[-1].sum()
    )
    assert np.all(np.asarray(loss_gradient) <= bound[:20, 0] * (1 + 1e-12))


def test_pascanu_a_linear_recurrence_explodes_only_above_one():
    cell, params = linear(5)
    w_h = params["w_h"] / np.abs(np.linalg.eigvals(params["w_h"])).max()
    for radius, explodes in ((0.8, False), (1.3, True)):
        J = jaxrnn.diagnostics.state_jacobians(cell, params | {"w_h": radius * w_h}, np.zeros((60, 5)))
        last = float(jaxrnn.diagnostics.product_norms(J)[-1])
        assert (last > 1e3) == explodes
        assert (last < 1e-3) != explodes


def test_the_exponents_of_a_linear_recurrence_are_the_logarithms_of_its_eigenvalues():
    """Exactly, once Q has turned: for distinct magnitudes the transient dies out."""
    cell, params = linear(4)
    basis, eigenvalues = RNG.standard_normal((4, 4)), np.array([1.4, -0.9, 0.5, -0.2])
    params = params | {"w_h": basis @ np.diag(eigenvalues) @ np.linalg.inv(basis)}
    J = jaxrnn.diagnostics.state_jacobians(cell, params, np.zeros((150, 2, 4)))
    found = jax.jit(lambda J: jaxrnn.diagnostics.lyapunov_spectrum(J, transient=120))(J)
    assert_close(found, np.tile(np.log(np.abs(eigenvalues)), (2, 1)), 1e-10)


def test_rotations_have_the_exponent_of_their_factor_from_the_first_step():
    angle = 0.7
    rotation = 1.1 * np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    found = jaxrnn.diagnostics.lyapunov_spectrum(np.tile(rotation, (7, 1, 1)))
    assert_close(found, np.full(2, np.log(1.1)), 1e-12)


def test_the_sum_of_all_exponents_is_the_mean_logarithm_of_the_determinants():
    J = random_jacobians()
    want = np.log(np.abs(np.linalg.det(J))).mean(0)
    found = jaxrnn.diagnostics.lyapunov_spectrum(J)
    assert_close(found.sum(-1), want, 1e-10)
    assert np.all(np.diff(found, axis=-1) <= 0)
    assert_close(jax.vmap(jaxrnn.diagnostics.lyapunov_spectrum, in_axes=1)(J), found, 1e-12)


def test_steps_that_do_not_count_change_no_exponent():
    J, T = random_jacobians(rows=(1,)), 6
    padded = np.concatenate([J, np.full((2, 1, 4, 4), np.nan)])
    assert_close(
        jaxrnn.diagnostics.lyapunov_spectrum(padded, lengths=np.array([T])),
        jaxrnn.diagnostics.lyapunov_spectrum(J),
        1e-12,
    )
    resets = np.zeros((T, 1), bool)
    resets[2] = True
    zeroed = J.copy()
    zeroed[2] = 0.0
    without = np.delete(J, 2, axis=0)
    assert_close(
        jaxrnn.diagnostics.lyapunov_spectrum(zeroed, resets=resets),
        jaxrnn.diagnostics.lyapunov_spectrum(without),
        1e-12,
    )


def test_a_reset_on_padding_is_none():
    J, lengths = random_jacobians(T=5), np.array([3, 5, 0])
    resets = np.zeros((5, 3), bool)
    resets[3:, 0] = resets[1:, 2] = True
    for reverse in (False, True):
        with_resets = jaxrnn.diagnostics.product_norms(J, lengths=lengths, resets=resets, reverse=reverse)
        np.testing.assert_allclose(
            with_resets, jaxrnn.diagnostics.product_norms(J, lengths=lengths, reverse=reverse), rtol=1e-12
        )
