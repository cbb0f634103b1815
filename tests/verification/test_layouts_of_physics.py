"""Every closure on tiles: two stirred oceans that share all schemes between them evolve as on one
rank, bit for bit."""

from __future__ import annotations

from pathlib import Path

import jax.numpy as jnp
import numpy as np
import pytest
from same_bits import after, assert_same_bits
from toy_air import SMALL as UNDER_AIR
from toy_air import write_air

from dogcm.decomp import world
from dogcm.field import Field
from dogcm.simulation.model import Model

OCEANS = {
    "tke": {
        "physics.vertical_mixing": "tke",
        "physics.tidal_mixing": "st_laurent",
        "physics.background_mixing": "bryan_lewis",
        "physics.eddies": "visbeck",
        "parameters.lateral_diffusivity": 0.0,
        "physics.tracer_advection": "centered",
        "physics.coriolis": {"kind": "cd", "extrapolation": 0.6},
        "physics.bottom_drag.no_slip": True,
        "physics.friction": "laplacian",
        "physics.pressure": "linear",
        "time.momentum_step": 1800.0,
        "tracers": {
            "age": {"kind": "ideal_age"},
            "gas": {"kind": "surface_history", "times": [0, 1], "values": [1.0, 1.0]},
            "once": {"kind": "dye", "lat": [-30, 30], "depth": [0, 900]},
            "uniform": {"kind": "dye"},
            "held": {"kind": "dye", "release": "held", "lat": [-70, -40], "value": 2.0},
            "steady": {"kind": "dye", "release": "steady", "lat": [20, 70], "rate": 3.0},
            "cycle": {"kind": "phosphorus"},
            "c14": {"kind": "radiocarbon"},
        },
    },
    "kpp": {
        "physics.vertical_mixing": "kpp",
        "physics.vertical_mixing.limits": True,
        "physics.equation_of_state": "jmd95",
        "physics.eddies": "averaged_slopes",
        "parameters.isoneutral_floor": 50.0,
        "physics.tracer_advection": "weno5",
        "physics.momentum_advection": "weno5",
        "physics.eddy_viscosity": "leith",
        "physics.eddy_viscosity.form": "biharmonic",
        "physics.backscatter": {"kind": "zanna_bolton", "smoothings": 1},
        "physics.vertical_advection": {
            "kind": "adaptive",
            "courant_min": 1e-3,
            "courant_max": 2e-3,
        },
    },
}
# What shows that the schemes had something to do: a variable and the least of its largest value.
AT_WORK = {
    "tke": {
        "tke": 1e-5,
        "ice_thickness": 1e-3,
        "age": 1e-6,
        "once": 0.5,
        "held": 1.9,
        "steady": 1e-6,
    },
    "kpp": {"eta": 0.01},
}
STEPS = 30


def stir(model: Model) -> None:
    """Random currents and temperatures: what the schemes have to do in one cell differs from what
    they have in the next."""
    rng, shape = np.random.default_rng(8), (model.vertical.nz, *model.horizontal.shape)
    noise = {
        "u": 0.1 * rng.normal(size=shape),
        "v": 0.1 * rng.normal(size=shape),
        "temperature": 0.1 * rng.normal(size=shape),
    }
    share = lambda a: jnp.asarray(model.decomposition.scatter(a if model.comm.rank == 0 else None))
    wet = {"u": model.grid.mask_u, "v": model.grid.mask_v, "temperature": model.grid.mask_c}
    add = lambda f, n: Field(f.data + share(noise[n]) * wet[n].interior, f.at)
    s = model.state
    tracers = {**s.tracers, "temperature": add(s.temperature, "temperature")}
    model.state = s.replace(u=add(s.u, "u"), v=add(s.v, "v"), tracers=tracers)


@pytest.mark.mpi(min_size=2)
@pytest.mark.parametrize(
    "name",
    [
        pytest.param("tke", marks=pytest.mark.ranks(2, slow=(2,))),
        pytest.param("kpp", marks=pytest.mark.ranks(2)),
    ],
)
def test_layouts_agree_to_the_bit(name, tmp_path):
    comm = world()
    folder = Path(comm.broadcast(str(tmp_path)))
    air = comm.broadcast(write_air(folder) if comm.rank == 0 else None)

    def build(comm):
        model = Model("two_basin", UNDER_AIR | OCEANS[name] | air | {"time.step": 3600}, comm=comm)
        stir(model)
        return model

    def at_work(alone):
        assert all(np.isfinite(a).all() for a in alone.values())
        assert {n: a for n, a in AT_WORK[name].items() if alone[n].max() < a} == {}

    assert_same_bits(build, after(STEPS), at_work)
