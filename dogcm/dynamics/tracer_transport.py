"""WENO advection of tracers over one step, in three stages.

WENO knows nothing of the time step, which a single forward step does not suit. It takes the
stages of the strong-stability-preserving Runge-Kutta method of third order (Shu and Osher 1988,
doi:10.1016/0021-9991(88)90177-5), an exchange of halos between them. The fluxes are those of the
whole step, so that a tracer's content changes by what crosses faces alone. The thickness goes along
stage by stage: a uniform tracer stays uniform.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import ClassVar

import jax
import jax.numpy as jnp

from dogcm.dynamics import weno
from dogcm.dynamics.continuity import convergence
from dogcm.dynamics.interfaces import Flow, Fluxes, TracerAdvection
from dogcm.field import Field, exchange, hold


class _Staged(TracerAdvection):
    """A scheme that takes several stages, of all tracers together."""

    def tracer_halo(self) -> int:
        return _halo_of(self.kind)

    def prepare(self, tracers, flow: Flow, halos, steps, grid) -> Callable[[str], Fluxes]:
        return _runge_kutta(tracers, flow, self.kind, halos, grid).__getitem__


def _halo_of(scheme: str) -> int:
    return weno.reach(scheme) + 1


class WENO5(_Staged):
    """Weighted essentially non-oscillatory reconstruction of fifth order."""

    kind: ClassVar[str] = "weno5"


class WENO7(_Staged):
    """Weighted essentially non-oscillatory reconstruction of seventh order."""

    kind: ClassVar[str] = "weno7"


def WENO(order: int = 5) -> _Staged:
    """WENO advection of this order (5 or 7)."""
    kinds = {5: WENO5, 7: WENO7}
    if order not in kinds:
        raise ValueError(f"WENO of order {order}: choose 5 or 7")
    return kinds[order]()


# Stage by stage: what remains of the mean of the fluxes so far, the part of the newest, and for
# which share of the step their mean acts before the next stage.
_STAGES = ((0.0, 1.0, 1.0), (0.5, 0.5, 0.5), (1 / 3, 2 / 3, 1.0))


def _runge_kutta(
    tracers: dict[str, Field], flow: Flow, scheme: str, halos, grid
) -> dict[str, Fluxes]:
    dt, depth, dry = flow.dt, _halo_of(scheme), 1.0 - grid.mask_c
    h = flow.h.crop(0)
    thickening = convergence(flow.u * grid.dy_u, flow.v * grid.dx_v, flow.w, grid)
    contents = {n: c.crop(0) * h for n, c in tracers.items()}

    def stage(carry, weights):
        values, means = carry
        weights, last = weights
        keep, new, share = (weights[m] for m in range(3))
        found = {n: hold(*_weno(c, flow, scheme, grid)) for n, c in values.items()}
        means = {n: tuple(m * keep + f * new for m, f in zip(means[n], found[n])) for n in tracers}

        def advanced(means):
            now = h + thickening * (share * dt) + dry
            after = {
                n: (contents[n] + convergence(*means[n], grid) * (share * dt)) / now * grid.mask_c
                for n in tracers
            }
            deep = exchange(halos, *((hold(after[n]), depth) for n in tracers))
            return {n: d.named(n) for n, d in zip(tracers, deep)}

        # After the last stage nobody needs them, and all ranks know that.
        values = jax.lax.cond(last, lambda _: values, advanced, means)
        return (values, means), None

    first = {n: c.crop(depth).named(n) for n, c in tracers.items()}
    nothing = jax.tree.map(
        lambda x: jnp.zeros(x.shape, x.dtype),
        jax.eval_shape(lambda c: {n: _weno(f, flow, scheme, grid) for n, f in c.items()}, first),
    )
    # A loop, so that the stages are compiled once.
    weights = jnp.asarray(_STAGES, h.dtype)
    last = jnp.arange(len(_STAGES)) == len(_STAGES) - 1
    (_, means), _ = jax.lax.scan(stage, (first, nothing), (weights, last))
    return means


def _weno(c: Field, flow: Flow, scheme: str, grid) -> Fluxes:
    return (
        flow.u * grid.dy_u * weno.reconstruct_x(c, flow.u, scheme, grid),
        flow.v * grid.dx_v * weno.reconstruct_y(c, flow.v, scheme, grid),
        flow.w * weno.reconstruct_z(c, flow.w, grid),
    )
