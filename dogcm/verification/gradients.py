"""``dogcm verify gradients``: derivatives of a rollout, on the user's own machine and ranks.

The rollout starts from an ocean that has been set in motion. It is differentiated with respect to
every physical parameter, a map of viscosity, the forcing, the initial state, and the weights of a
hook that uses a global mean.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import jax
import jax.numpy as jnp
import numpy as np

from dogcm.decomp import SerialCommunicator
from dogcm.field import exchange
from dogcm.halo import differentiable_sum, exact_sum, once
from dogcm.learning.derivatives import check_derivatives, hessian_symmetry, order_deviation
from dogcm.learning.groups import Ranks, is_field
from dogcm.learning.parameters import LearnableSet
from dogcm.learning.rollout import rollout
from dogcm.setups.config import Config
from dogcm.setups.inputs import VECTORS
from dogcm.setups.registry import load_config
from dogcm.simulation.model import Model
from dogcm.timestepping import many_steps
from dogcm.verification.verify import Figure, halo_uses

# In units of the arithmetic's epsilon. A sum of some 1e5 terms in another order, over some ten
# steps.
SERIAL_LIMIT, DOT_LIMIT, SYMMETRY_LIMIT = 4.5e5, 4.5e3, 4.5e5
DIFFERENCE_LIMIT, ORDER_LIMIT, DECADES = 1e-5, 0.15, 4.0
LADDER = tuple(10.0**-k for k in range(0, 9))
# Of the directions of the finite differences: small against the ocean, large against rounding.
SIZES = {"u": 1e-3, "v": 1e-3, "eta": 1e-3, "temperature": 1e-2, "salinity": 1e-3}
FORCING_SIZES = {
    "taux": 1e-3,
    "tauy": 1e-3,
    "heat_flux": 1.0,
    "freshwater_flux": 1e-9,
    "sst": 0.1,
    "sss": 0.01,
}
WEIGHTS = (0.3, -0.2, 0.1)
HOOK_RATE = 1e-7  # K s-1, the largest


@dataclass(frozen=True)
class Gradients:
    """Figures of :func:`verify_gradients`.

    Attributes:
        title: what was compared. note: on what one rank alone can compare, or empty.
    """

    title: str
    steps: int
    figures: tuple[Figure, ...]
    note: str = ""

    @property
    def passed(self) -> bool:
        return all(f.passed for f in self.figures)

    def __getitem__(self, name: str) -> Figure:
        return next(f for f in self.figures if f.name == name)


class Rollout:
    """A loss of a rollout as a function of all that a user may want a gradient of.

    Attributes:
        controls: a tree of everything that is differentiated; zero, or the weights, mean the run as
            it is.
        loss: this rank's share as a function of ``controls`` (dimensionless).
    """

    def __init__(self, model: Model, steps: int):
        self.model, self.steps = model, steps
        m = model
        m.dynamics = replace(m.dynamics, extra_tendency=self._hook)
        self._cells = float(np.prod(m.layout.shape))
        volume = once(m.halos, (m.grid.h_c * m.grid.area_c).interior)
        self._volume = float(m.jit(lambda v: exact_sum(m.halos, v))(volume)[0])
        m.params = m.params | {"corrector": jnp.asarray(WEIGHTS, m.dtype)}
        m.state = jax.block_until_ready(self._spun_up(steps))
        self.learn = LearnableSet(["lateral_viscosity: map"])
        zero = lambda f: f.crop(0).with_data(jnp.zeros_like(f.crop(0).data))
        learned = {k: v for k, v in m.params.items() if k != "corrector"}
        self.controls = {
            "parameters": jax.tree.map(jnp.zeros_like, learned),
            "map": jax.tree.map(jnp.zeros_like, self.learn.initial(m.params, m.grid)),
            "forcing": {n: zero(f) for n, f in m.forcing.records.items()},
            "initial state": {n: zero(f) for n, f in self._initial(m.state).items()},
            "corrector": m.params["corrector"],
        }

    def _spun_up(self, steps: int):
        m = self.model

        def run(state, *fixed):
            return many_steps(m.dynamics.step, state, steps, *fixed)

        return m.jit(run)(m.state, m.params, m.forcing, m.grid)

    @staticmethod
    def _initial(state) -> dict:
        return {"u": state.u, "v": state.v, "eta": state.eta, **state.tracers}

    def _hook(self, state, params, now, grid) -> dict:
        """A closure in small: three weights, and the mean temperature of the whole ocean inside the
        model."""
        w, t, s = params["corrector"], state.temperature, state.salinity
        content = once(self.model.halos, (t * grid.h_c * grid.area_c).interior)
        # The same bits on every layout: a mean that differs in its last digit shifts the point at
        # which all is differentiated, and near-neutral columns magnify that in the gradient a
        # millionfold.
        mean = differentiable_sum(self.model.halos, content) / self._volume
        rate = t.with_data(
            jnp.tanh(w[0] * (t.data - mean) / 10 + w[1] * (s.data - 35) + w[2]) * HOOK_RATE
        )
        return {"temperature": rate * grid.mask_c}

    def loss(self, controls, checkpoint: str = "step"):
        m = self.model
        params = {
            k: v * (1 + controls["parameters"][k]) for k, v in m.params.items() if k != "corrector"
        }
        params["corrector"] = controls["corrector"]
        raw = jax.tree.map(jnp.add, self._raw(params), controls["map"])
        params = self.learn.apply(raw, params, m.halos, m.grid)
        state, forcing = self._start(controls["initial state"]), self._driven(controls["forcing"])
        last, _ = rollout(
            m.dynamics.step, state, params, forcing, m.grid, self.steps, checkpoint=checkpoint
        )
        return self._misfit(last)

    def _raw(self, params):
        (item,) = self.learn.items
        like = self.model.grid.wet_c.crop(0)
        return {
            item.name: like.with_data(
                like.data * 0 + item.bijector.inverse(params[item.name])
            ).named(item.name)
        }

    def _start(self, change: dict):
        state, g = self.model.state, self.model.grid
        mask = {"u": g.mask_u, "v": g.mask_v, "eta": g.wet_c}
        new = {n: f + change[n] * mask.get(n, g.mask_c) for n, f in self._initial(state).items()}
        tracers = {n: new[n] for n in state.tracers}
        return state.replace(u=new["u"], v=new["v"], eta=new["eta"], tracers=tracers)

    def _driven(self, change: dict):
        """The forcing of the tile alone is what is differentiated; its halo comes from the
        neighbours."""
        m = self.model
        records = m.forcing.records
        if not records:
            return m.forcing
        deep = exchange(
            m.halos, *((f.crop(0) + change[n], f.halo, n in VECTORS) for n, f in records.items())
        )
        return replace(m.forcing, records={n: f.named(n) for n, f in zip(records, deep)})

    def _misfit(self, state):
        """How far the ocean has moved from its start, each variable in its own small unit; of order
        one."""
        g = self.model.grid
        start = self._initial(self.model.state)
        total = 0.0
        for name, field in self._initial(state).items():
            wet = {"u": g.mask_u, "v": g.mask_v, "eta": g.wet_c}.get(name, g.mask_c)
            off = ((field - start[name]) * wet).interior / (10 * SIZES[name]) + 0.3
            total = total + jnp.sum(off**2 * wet.interior)
        return total / (self._cells * g.nz)

    def direction(self, n: int = 0):
        """The ``n``-th of several, smooth over the ocean and alike on every layout; a fraction of
        each quantity's own size."""
        g = self.model.grid
        wave = jnp.cos(g.lon_c.interior / 30.0 + n) + jnp.sin(g.lat_c.interior / 20.0 + n)

        def field(name, f):
            size = SIZES.get(name) or FORCING_SIZES.get(name, 0.1)
            return f.with_data(jnp.broadcast_to(size * wave, f.shape).astype(f.dtype))

        along = {
            k: {n: field(n, f) for n, f in self.controls[k].items()}
            for k in ("map", "forcing", "initial state")
        }
        number = lambda x: jnp.full_like(x, 0.1)
        return along | {
            k: jax.tree.map(number, self.controls[k]) for k in ("parameters", "corrector")
        }


def verify_gradients(
    config: Config | str,
    steps: int = 48,
    layout: str = "auto",
    say: Callable[[str], None] = lambda text: None,
) -> Gradients:
    """Run the checks; every rank gets the same result. ``say`` hears what is being done, for it
    takes minutes.

    On one rank the gradient is compared with that of a run that uses the halo of the free surface
    in another way.
    """
    config = load_config(config)
    say("compiling and running the gradient on this launch's ranks")
    run = Rollout(Model(config, layout=layout), steps)
    model, eps = run.model, float(np.finfo(run.model.dtype).eps)
    ours, title = _gradient(run), f"{model.layout.describe()} against one tile"
    theirs, note = None, ""
    say("the same once more to compare with")
    if model.comm.size == 1:
        other = load_config(config, {"time.free_surface.short_steps_per_exchange": 3})
        theirs, title = _gradient(Rollout(Model(other), steps)), halo_uses(config)
        note = (
            "one rank has one layout: start it with several (mpirun -n 2 dogcm verify gradients) "
            "to compare layouts"
        )
    elif model.comm.rank == 0:
        theirs = _gradient(Rollout(Model(config, comm=SerialCommunicator()), steps))
    figures = _compare(ours, theirs, SERIAL_LIMIT * eps) if model.comm.rank == 0 else None
    figures = model.comm.broadcast(figures)
    say("differences, transpose and second derivatives")
    figures = figures + _checks(run, eps)
    return Gradients(title, steps, tuple(figures), note)


def _gradient(run: Rollout) -> dict[str, dict[str, np.ndarray]] | None:
    """Global arrays of the gradient by part and leaf, on rank 0, and the loss."""
    m = run.model
    ranks = Ranks(m.comm)
    value, gradient, _ = m.jit(lambda c: ranks.reduce(*jax.value_and_grad(run.loss)(c)))(
        run.controls
    )
    found = {"loss": {"": np.asarray(value)}}
    for part, tree in gradient.items():
        leaves = jax.tree_util.tree_leaves_with_path(tree, is_leaf=is_field)
        whole = lambda x: m.gather(x) if is_field(x) else np.asarray(x)
        found[part] = {jax.tree_util.keystr(p): whole(x) for p, x in leaves}
    return found


def _compare(ours: dict, theirs: dict, limit: float) -> list[Figure]:
    """Largest difference in each part, relative to the largest value of its variable."""
    figures = []
    for part, leaves in ours.items():
        worst, where, size = 0.0, "", 0.0
        for name, a in leaves.items():
            b = theirs[part][name]
            top = float(np.max(np.abs(b)))
            gap = float(np.max(np.abs(a - b)))
            relative = gap / top if top else (0.0 if gap == 0 else np.inf)
            size = max(size, top)
            if not relative <= worst:  # also for NaN
                worst, where = relative, name
        what = "the loss" if part == "loss" else f"gradient by {part}"
        meaning = (
            f"largest relative difference{f', in {where}' if where else ''}; largest value "
            f"{size:.2g}"
        )
        figures.append(Figure(what, worst, limit, "", meaning))
    return figures


def _checks(run: Rollout, eps: float) -> list[Figure]:
    """Tangent, transpose, Taylor's remainder and second derivatives of the rollout on these
    ranks."""
    m = run.model
    forward = lambda c: run.loss(c, "halo")
    report = check_derivatives(
        forward,
        run.controls,
        run.direction,
        m.halos.psum,
        rank=m.comm.rank,
        ladder=LADDER,
        decades=DECADES,
        limits=(DIFFERENCE_LIMIT, DOT_LIMIT * eps),
    )
    figures = [
        Figure(c.name, c.value, c.limit, "", c.meaning) for c in report.checks if not c.at_least
    ]
    off = order_deviation(report.ladder, report.remainders, DECADES)
    spoken = f"largest |order - 2| of the remainder over the best {DECADES:g} decades of steps"
    figures.append(Figure("Taylor order", off, ORDER_LIMIT, "", spoken))
    second = hessian_symmetry(
        run.loss, run.controls, m.halos.psum, rank=m.comm.rank, limit=SYMMETRY_LIMIT * eps
    )
    return [*figures, Figure(second.name, second.value, second.limit, "", second.meaning)]
