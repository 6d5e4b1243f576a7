"""Real-time recurrent learning: the gradient carried forward in time."""

import functools
from typing import Any, Literal

import jax
import jax.numpy as jnp

from jaxrnn import checks
from jaxrnn.float_leaves import cotangent, floats, with_floats
from jaxrnn.gradients.autodiff import autodiff
from jaxrnn.influences import exact, snap1
from jaxrnn.influences.exact import Influence
from jaxrnn.linear import state_dtype
from jaxrnn.masks import enter, select, zero_unless
from jaxrnn.primitives.primitive import CustomVJPPrimal, SymbolicZero
from jaxrnn.types import Cell, Gradient, Inputs, Params, Step, Tree, pytree

RULES = {None: exact, "snap1": snap1}
"""The kinds of influence by `sparsity`: modules with the same functions."""


@pytree
class RTRL(Gradient):
    """See `rtrl`."""

    sparsity: Literal["snap1"] | None = None

    def run(self, cell: Cell, params: Params, carry: Tree, inputs: Inputs) -> tuple[Tree, Tree]:
        RULES[self.sparsity].check(cell, params, carry)
        check_step(cell, params, carry, *inputs.steps.at_0)
        return _run(self.sparsity, cell, params, carry, inputs)


def rtrl(*, sparsity: Literal["snap1"] | None = None) -> RTRL:
    """Real-time recurrent learning (RTRL): carries d carry / d params forward instead of going back.

    The same gradient as `autodiff()` for parameters, options of the cell and the initial carry. The inputs have no
    gradient: RTRL raises where it is asked for, as in the lower layers of a stack. The backward pass of an unroll runs
    the steps once more from the first to the last. `jaxrnn.online.rtrl_step` does the same online, one step at a time.

    Memory: O(B * H * P) for P parameters, whatever T; time: O(B * H^2 * P) per step. So RTRL is for small networks.

    Args:
      sparsity: None: exact. "snap1": SnAp-1, for gated cells of element-wise equations: keeps each parameter's
        influence only on the unit that it acts on directly. Memory and time: O(B * P). An approximation, exact where
        the recurrence is element-wise too (w_h diagonal in each gate). Options of the cell have no gradient then.

    Returns:
      A Gradient.

    Raises:
      ValueError: an unknown sparsity; while tracing: the gradient of xs (or of the noise) is asked for, the cell does
        not allow "snap1", or its step holds a `jax.custom_vjp` function.

    References:
      Williams and Zipser 1989, A learning algorithm for continually running fully recurrent neural networks, Neural
      Computation 1(2); Menick et al. 2021, arXiv:2006.07232 (SnAp).

    Example:
      >>> import jax
      >>> import jaxrnn
      >>> cell = jaxrnn.elman(2, 3)
      >>> params, xs = cell.init(jax.random.key(0)), jax.numpy.ones((5, 2))
      >>> def loss(params, gradient):
      ...     return jaxrnn.unroll(cell, params, xs, gradient=gradient)[1].sum()
      >>> a, b = (jax.grad(loss)(params, g) for g in (jaxrnn.autodiff(), jaxrnn.rtrl()))
      >>> bool(jax.numpy.allclose(a["w_h"], b["w_h"], rtol=1e-4, atol=1e-5))
      True
    """
    return RTRL(checks.one_of("sparsity", sparsity, tuple(RULES)))


def has_forward_mode(cell: Cell, *arguments: Any) -> bool:
    """Tells whether the step has a forward-mode derivative at these arguments; a `jax.custom_vjp` has none."""

    def derivative(values: Tree, tangents: Tree) -> Tree:
        return jax.jvp(lambda *v: floats(cell.step(*map(with_floats, arguments, v))), values, tangents)

    point = tuple(map(floats, arguments))
    directions = jax.tree.map(lambda x: jnp.zeros((1, *jnp.shape(x)), jnp.result_type(x)), point)
    try:
        jax.eval_shape(jax.vmap(derivative, (None, 0)), point, directions)  # without vmap JAX raises too late
    except TypeError as error:
        if "custom_vjp" in str(error):
            return False
        raise
    return True


def check_step(*arguments: Any) -> None:
    """Raises ValueError if the step can't be differentiated in forward mode at these arguments."""
    if not has_forward_mode(*arguments):
        raise ValueError(
            f"cell: expected a step without jax.custom_vjp functions, which have no forward mode, got {arguments[0]}"
        )


@functools.partial(jax.custom_vjp, nondiff_argnums=(0,))
def _run(sparsity: str | None, cell: Cell, params: Params, carry: Tree, inputs: Inputs) -> tuple[Tree, Tree]:
    del sparsity
    return autodiff().run(cell, params, carry, inputs)


def _forward(sparsity: str | None, *args: Any) -> Tree:
    cell, _, _, inputs = args
    forbidden = {"xs": inputs.steps.x, "noise": inputs.steps.noise}
    forbidden |= {"cell": cell} if sparsity else {}
    for name, tree in forbidden.items():
        if any(x.perturbed for x in jax.tree.leaves(tree, is_leaf=_is_primal)):
            raise ValueError(
                f"gradient: expected one that goes back in time where the gradient of {name} is asked for (in a lower "
                f"layer of a stack, for instance), got {RTRL(sparsity)}, which has none"  # pyright: ignore
            )
    values = jax.tree.map(lambda x: x.value, args, is_leaf=_is_primal)
    return _run(sparsity, *values), values


def _is_primal(x: Any) -> bool:
    return isinstance(x, CustomVJPPrimal)


def _backward(sparsity: str | None, residuals: Tree, cotangents: Tree) -> Tree:
    rule = RULES[sparsity]
    cell, params, carry, inputs = residuals
    d_final, d_ys = (floats(jax.tree.map(_instantiated, d, is_leaf=_is_zero)) for d in cotangents)
    shared, initial = rule.arrays(cell, params), floats(inputs.initial)
    rows = [*floats(carry), *initial]
    start = Influence(rule.none(shared, carry), rule.of_itself(carry) + rule.none_of_rows(initial, carry))
    restart = start
    if initial:
        of_itself = rule.of_itself(inputs.initial)
        restart = Influence(start.shared, rule.none_of_rows(floats(carry), carry) + of_itself)
    zeros = [jnp.zeros(a.shape, state_dtype(a.dtype)) for a in shared], [jnp.zeros(a.size, a.dtype) for a in rows]

    def body(state: Tree, at_t: tuple[Step, Tree]) -> tuple[Tree, None]:
        carry, seen, d = state
        step, d_y = at_t
        before = enter(carry, inputs.initial, step.reset)
        seen = seen if step.reset is None else rule.choose(step.reset, restart, seen)
        after, _ = cell.step(params, before, step.x, step.noise)
        seen_after = rule.advance(cell, params, seen, before, step.x, step.noise)
        d_y = zero_unless(step.valid, d_y)
        found = rule.observe(cell, params, (seen, seen_after), (before, after), step.x, step.noise, d_y)
        state = select(step.valid, after, before), rule.choose(step.valid, seen_after, seen)
        return (*state, jax.tree.map(jnp.add, d, found)), None

    (_, seen, (d_shared, d_rows)), _ = jax.lax.scan(body, (carry, start, zeros), (inputs.steps, d_ys))
    of_final = rule.apply(seen.shared, d_final, shared)
    d_shared = [(a + b).astype(c.dtype) for a, b, c in zip(d_shared, of_final, shared, strict=True)]
    d_rows = [a + b for a, b in zip(d_rows, rule.apply_to_rows(seen.rows, d_final), strict=True)]
    d_rows = [d.reshape(a.shape) for d, a in zip(d_rows, rows, strict=True)]
    options = floats(cell) if len(shared) > len(floats(params)) else []
    d_cell, d_params = d_shared[: len(options)], d_shared[len(options) :]
    d_carry, d_initial = d_rows[: len(floats(carry))], d_rows[len(floats(carry)) :]
    d_inputs = Inputs(Step(None, None, None, None), cotangent(inputs.initial, d_initial))  # pyright: ignore
    return (
        cotangent(cell, d_cell) if options else None,
        cotangent(params, d_params),
        cotangent(carry, d_carry),
        d_inputs,
    )


def _is_zero(x: Any) -> bool:
    return isinstance(x, SymbolicZero)


def _instantiated(d: Any) -> jax.Array:
    return jnp.zeros(d.shape, d.dtype) if _is_zero(d) and jnp.issubdtype(d.dtype, jnp.inexact) else d


_run.defvjp(_forward, _backward, symbolic_zeros=True)
