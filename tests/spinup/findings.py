"""What one rank and many have to find alike, in numbers."""

from __future__ import annotations

import jax.numpy as jnp
from small_basins import basin, turning

import dogcm
from dogcm.spinup import Anderson, NewtonKrylov, Settings, equilibrium, problem_of, sensitivity

DIFFUSIVITY = "vertical_diffusivity"
# Of one rank; both tests compare with these.
EXPECTED: dict[str, float] = {
    "residual 1": 0.48655882628901914,
    "residual 5": 0.010081729450101488,
    "residual 9": 0.0006704952844116187,
    "residual 2 of Newton": 0.018500456464716597,
    "residual 3 of Newton": 0.0003100384022298896,
    "derivatives": 15,
    "mean age": 19.050151712044265,
    "largest age": 36.393725859579654,
    "tangent": 84.08115371679321,
    "size of the tangent": 21.33491020102103,
    "tangent on a probe": 89.91619884694249,
    "gradient": -6776259.081374744,
}


def findings(comm=None) -> dict[str, float]:
    """Steps of Anderson acceleration on the way to the age of a basin, and that age, its tangent
    and its gradient by Newton's method."""
    # As many cells as six tiles need.
    size = {"grid.nx": 12, "grid.ny": 8}
    model = basin({"age": {"kind": "ideal_age"}}, comm, size)
    smooth = Settings(largest_step=30.0, advection=dogcm.Upwind())
    problem = problem_of(model, "age", turning(model, periods=1), smooth)
    space, start, out = problem.space, model.state, {}
    way = equilibrium(model, "age", Anderson(window=8), 1e-5, problem).history
    out |= {f"residual {n}": way[n].residual for n in (1, 5, 9)}
    model.state = start
    found = equilibrium(model, "age", NewtonKrylov(lumped=2), 1e-9, problem)
    out |= {f"residual {n} of Newton": found.history[n].residual for n in (2, 3)}
    x = space.stacked(found.tracers)
    out["derivatives"] = problem.costs.count("tangent")
    out["mean age"] = space.contents(x)[0] / space.contents(jnp.ones_like(x) * space.mask)[0]
    out["largest age"] = -float(problem.lowest(-x)[0, 0, 0, 0])
    along = problem.tangent(x, problem.probe() * x)
    out["tangent"] = space.contents(along)[0] / 1e15
    out["size of the tangent"] = space.sizes(along)[0]
    out["tangent on a probe"] = space.dot(along, problem.probe(), space.volume[None]) / 1e15
    share = lambda tracers, params: jnp.sum(tracers["age"].data ** 2 * space.volume) / 1e15
    out["gradient"] = float(sensitivity(found, share, [DIFFUSIVITY])[DIFFUSIVITY])
    return out
