"""The gradient of a functional of the equilibrium, without differentiating the spin-up.

From ``x = year(x, p)`` the implicit function theorem gives ``dx = (I - J)^-1 (d year / dp) dp``, J
the derivative of the year at the equilibrium. With the adjoint state ``(I - J') a = dL/dx`` the
gradient of ``L(x, p)`` is ``dL/dp + a' d year / dp``: one linear solve in reverse mode for all
parameters, through ranks. Where contents are conserved, ``I - J + R W'`` stands for ``I - J``:
states of the same content are compared.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from dogcm.components import ConfigError
from dogcm.field import Field
from dogcm.spinup.krylov import gmres
from dogcm.spinup.preconditioner import Preconditioner
from dogcm.spinup.problem import Problem
from dogcm.spinup.solve import Equilibrium


def sensitivity(
    solution: Equilibrium,
    functional: Callable[[dict[str, Field], dict], jax.Array],
    parameters: list[str],
    tolerance: float = 1e-10,
    products: int = 60,
    lumped: int = 1,
) -> dict[str, Any]:
    """Gradient of a functional of the equilibrium with respect to parameters of the model.

    Args:
        solution: of :func:`dogcm.equilibrium`, well converged: its residual is not accounted for.
        functional: ``(tracers, params) -> scalar``: this rank's share, the sum of which over ranks
            is meant; tracers by name, (nz, y, x) without halo.
        parameters: names in ``model.params``: of tracers (``LABEL.OPTION``), of eddies, lateral
            diffusion, and ``vertical_diffusivity``. The circulation is held.
        tolerance: of the adjoint solve. products: at most. lumped: see :class:`NewtonKrylov`.

    Returns:
        gradients by name, the same on every rank for scalars and profiles; this tile's for maps.

    Raises:
        ConfigError: unknown parameter. EquilibriumError: singular Jacobian.
    """
    problem = solution.problem
    assert problem is not None
    unknown = [n for n in parameters if n not in problem.params]
    if unknown:
        raise ConfigError(
            f"sensitivity: no parameter {unknown[0]!r}; there are {', '.join(problem.params)}"
        )
    x = problem.space.stacked(solution.tracers)
    chosen = {n: problem.params[n] for n in parameters}
    share = lambda x, p: functional(problem.space.fields(x), problem.params | p)
    jit = problem.space.halos.jit
    to_state, direct = jit(jax.grad(share, argnums=(0, 1)))(x, chosen)
    adjoint = adjoint_state(problem, x, to_state, tolerance, products, lumped)

    def through_year(p):
        return problem.map(x, problem.params | p, remember=False)

    def pulled(a, p):
        return jax.vjp(through_year, p)[1](a)[0]

    through = jit(pulled)(adjoint, chosen)
    total = jax.tree.map(jnp.add, direct, through)
    add = jit(problem.space.halos.psum)
    return {n: v if isinstance(v, Field) else add(v) for n, v in total.items()}


def adjoint_state(
    problem: Problem, x, to_state, tolerance: float = 1e-10, products: int = 60, lumped: int = 1
):
    """Solution a of ``(I - J + R W')' a = to_state``, (tracer, z, y, x).

    Args:
        to_state: derivative of the functional with respect to the equilibrium ``x``.
    """
    inverse = Preconditioner(problem, x, lumped) if lumped else None
    space, found = problem.space, problem.invariants
    ones = jnp.ones(x.shape)

    def matrix(a):
        out = problem.transpose(x, a) - a
        if found.count:
            amounts = space.dots(problem.invariants.directions, a, ones)
            for amount, weight in zip(amounts, problem.invariants.weights):
                out = out - float(amount) * weight
        return out * space.mask

    # Derivatives are measured by what they do to a state of the size of the equilibrium.
    inner = space.weights(space.sizes(x))
    dual = jnp.where(inner > 0, 1.0 / jnp.where(inner > 0, inner, 1.0), 0.0)
    back = None if inverse is None else (lambda b: inverse.transposed(b) * space.mask)
    return gmres(space, matrix, -to_state * space.mask, dual, tolerance, products, back).x


__all__ = ["adjoint_state", "sensitivity"]
