"""State: what a restart needs, and nothing else."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import jax
import jax.numpy as jnp
import numpy as np

from dogcm.decomp.depth import Halo
from dogcm.dynamics.coriolis_cd import KEPT
from dogcm.field import Field

# Where old accelerations are kept: also on the faces next door that this tile computes again, so
# that extrapolating them needs no message.
HISTORY_U, HISTORY_V = Halo(s=1, n=1, w=0, e=1), Halo(s=0, n=1, w=0, e=0)


@functools.partial(
    jax.tree_util.register_dataclass,
    data_fields=[
        "u",
        "v",
        "eta",
        "tracers",
        "history_u",
        "history_v",
        "time",
        "steps",
        "d_grid",
        "closures",
        "solver",
    ],
    meta_fields=[],
)
@dataclass(frozen=True)
class State:
    """Prognostic state of one tile.

    Attributes:
        u, v: velocity (m s-1) at west and south faces, (nz, ny, nx).
        eta: sea level (m), (ny, nx).
        tracers: name to Field at centres; ``temperature`` and ``salinity`` always.
        history_u, history_v: older accelerations (m s-2), newest first.
        time: model time since the start of year 1 (s, float64).
        steps: steps since the cold start.
        d_grid: v on west and u on south faces (m s-1) where the Coriolis force is by the C-D
            scheme, and, where that extrapolates, u, v and eta of the step before; else empty.
        closures: what closures carry from step to step, by name (turbulent kinetic energy, ice,
            ...): Fields of (ny, nx), (nz, ny, nx) at layers or (nz - 1, ny, nx) at the interfaces
            between them.
        solver: where the free surface is implicit, its solver's iterations in the last step; from a
            step on in which they did not suffice, minus that. Not part of a restart.
    """

    u: Field
    v: Field
    eta: Field
    tracers: dict[str, Field]
    history_u: tuple[Field, ...]
    history_v: tuple[Field, ...]
    time: jax.Array
    steps: jax.Array
    d_grid: tuple[Field, ...] = ()
    closures: dict[str, Field] = field(default_factory=dict)
    solver: tuple[jax.Array, ...] = ()

    @property
    def temperature(self) -> Field:
        return self.tracers["temperature"]

    @property
    def salinity(self) -> Field:
        return self.tracers["salinity"]

    def replace(self, **changes) -> State:
        return replace(self, **changes)

    def variables(self) -> dict[str, Field]:
        """All Fields by name, as a restart stores them."""
        out = {"u": self.u, "v": self.v, "eta": self.eta, **self.tracers, **self.closures}
        out.update(zip(KEPT, self.d_grid))
        for name, fields in (("history_u", self.history_u), ("history_v", self.history_v)):
            out.update({f"{name}_{m + 1}": f for m, f in enumerate(fields)})
        return out


def at_rest(
    tracers: dict[str, Field], memory: int, time: float = 0.0, d_grid: Sequence[str] = ()
) -> State:
    """A state without motion, with the given tracers (interior, at centres); ``d_grid``: what the
    C-D scheme keeps, of the names :data:`~dogcm.dynamics.coriolis_cd.KEPT`."""
    like = next(iter(tracers.values()))
    nz = like.shape[0]
    ny, nx = like.tile_shape
    # Copied from numpy: JAX compiles a program for every shape of zeros.
    zero = lambda at, halo, lead: Field(
        jnp.array(np.zeros((*lead, ny + halo.s + halo.n, nx + halo.w + halo.e), like.dtype)),
        at,
        halo,
    )
    like_u, like_v, flat = ("u", Halo(), (nz,)), ("v", Halo(), (nz,)), ("c", Halo(), ())
    placed = dict(zip(KEPT, (like_u, like_v, like_u, like_v, flat)))
    return State(
        u=zero(*like_u).named("u"),
        v=zero(*like_v).named("v"),
        eta=zero(*flat).named("eta"),
        tracers=tracers,
        history_u=tuple(zero("u", HISTORY_U, (nz,)) for _ in range(memory)),
        history_v=tuple(zero("v", HISTORY_V, (nz,)) for _ in range(memory)),
        time=jnp.asarray(time, jnp.float64),
        steps=jnp.asarray(0, jnp.int64),
        d_grid=tuple(zero(*placed[n]).named(n) for n in d_grid),
    )
