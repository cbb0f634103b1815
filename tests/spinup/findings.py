"""What one rank and many have to find alike, in numbers."""

from __future__ import annotations

import jax.numpy as jnp
from small_basins import basin, turning

import dogcm
from dogcm.spinup import Anderson, NewtonKrylov, Settings, equilibrium, problem_of, sensitivity

DIFFUSIVITY = "vertical_diffusivity"
# Of one rank; both tests compare with these.
EXPECTED: dict[str, float] = {
    "residual 1": 0.4860883828220808,
    "residual 5": 0.008271878598713317,
    "residual 9": 0.00025790859638506676,
    "derivatives": 15,
    "mean age": 17.6845783741137,
    "largest age": 31.658828066527512,
    "tangent": 39.12858772022895,
    "gradient": -2684017.585409564,
}


def findings(comm=None) -> dict[str, float]:
    """Steps of Anderson acceleration on the way to the age of a basin, and that age, its tangent
    and its gradient by Newton's method."""
    model = basin({"age": {"kind": "ideal_age"}}, comm)
    smooth = Settings(largest_step=30.0, advection=dogcm.Upwind())
    problem = problem_of(model, "age", turning(model, periods=1), smooth)
    space, start, out = problem.space, model.state, {}
    way = equilibrium(model, "age", Anderson(window=8), 1e-5, problem).history
    out |= {f"residual {n}": way[n].residual for n in (1, 5, 9)}
    model.state = start
    found = equilibrium(model, "age", NewtonKrylov(lumped=2), 1e-9, problem)
    x = space.stacked(found.tracers)
    out["derivatives"] = problem.costs.count("tangent")
    out["mean age"] = space.contents(x)[0] / space.contents(jnp.ones_like(x) * space.mask)[0]
    out["largest age"] = -float(problem.lowest(-x)[0, 0, 0, 0])
    out["tangent"] = space.contents(problem.tangent(x, problem.probe() * x))[0] / 1e15
    share = lambda tracers, params: jnp.sum(tracers["age"].data ** 2 * space.volume) / 1e15
    out["gradient"] = float(sensitivity(found, share, [DIFFUSIVITY])[DIFFUSIVITY])
    return out
