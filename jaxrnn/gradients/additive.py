"""Whether a cell's update sees its pre-activations only as the sum zx + zh."""

import jax

from jaxrnn.gated import GatedCell, Gates
from jaxrnn.types import Params, Tree


def is_additive(cell: GatedCell, own: Params, carry: Tree, zx: Gates, zh: Gates, noise: Tree) -> bool:
    """True if each gate's zx and zh occur in the equations only in their sum: then one array serves for both.

    Args:
      cell, own, carry, zx, zh, noise: what `GatedCell.advance` takes; only shapes are looked at.
    """
    jaxpr = jax.make_jaxpr(type(cell).advance)(cell, own, carry, zx, zh, noise).jaxpr
    first = len(jax.tree.leaves((cell, own, carry)))
    G = len(zx)
    for gate in zip(jaxpr.invars[first : first + G], jaxpr.invars[first + G : first + 2 * G], strict=True):
        users = [eqn for eqn in jaxpr.eqns if any(v is z for v in eqn.invars for z in gate)]
        returned = any(v is z for v in jaxpr.outvars for z in gate)
        sums = [eqn.primitive.name == "add" and all(any(v is z for v in eqn.invars) for z in gate) for eqn in users]
        if returned or sums != [True]:
            return False
    return True
