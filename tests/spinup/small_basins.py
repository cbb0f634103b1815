"""Oceans that are solved in seconds."""

from __future__ import annotations

import copy
import dataclasses

import jax.numpy as jnp
import numpy as np

import dogcm
from dogcm.decomp import SerialCommunicator
from dogcm.field import Field
from dogcm.simulation.model import Model
from dogcm.spinup import Circulation

DAY, YEAR = 86400.0, 365 * 86400.0
DIFFUSIVITY = 1e-3  # m2 s-1
_WIDTH = 2e5  # m
_BASIN = {
    "name": "basin",
    "grid": {"kind": "cartesian", "nx": 8, "ny": 6, "dx": 2e5, "dy": 2e5, "f0": 1e-4}
    | {"periodic": False, "layers": [200.0] * 6},
    "bathymetry": {"source": "flat", "depth": 1200.0},
    "initial": {"source": "profile"},
    "forcing": {"source": "none"},
    "physics": {"equation_of_state": "linear", "freezing": None},
    "time": {"step": DAY / 24},
}


def basin(tracers: dict, comm=None, overrides=()) -> Model:
    """A closed flat basin on a plane, 8 x 6 cells and 6 layers."""
    return Model(basin_of(tracers), overrides, comm=comm or SerialCommunicator())


def basin_of(tracers: dict) -> dict:
    """Its configuration."""
    return copy.deepcopy({**_BASIN, "tracers": tracers})


def sphere(tracers: dict, comm=None) -> Model:
    """The same between 20 and 50 degrees north, where there is daylight."""
    config = basin_of(tracers)
    config["grid"] = {"kind": "latlon", "nx": 8, "ny": 6, "lon": [0, 40], "lat": [20, 50]} | {
        "layers": [100.0, 200.0, 400.0, 500.0]
    }
    return Model(config, comm=comm or SerialCommunicator())


def turning(model: Model, strength: float = 2.0, periods: int = 2) -> Circulation:
    """A circulation by hand: an overturning and a gyre without divergence that come and go within
    the year, with mixing; ``strength`` in m2 s-1."""
    nz, (ny, nx) = model.grid.nz, model.horizontal.shape
    # Stream functions at corners vanish at the walls.
    y, x, z = (np.sin(np.pi * np.arange(n + 1) / n) for n in (ny, nx, nz))
    gyre, cell = y[:, None] * x[None, :], z[:, None] * x[None, :-1]
    u = -(gyre[1:, :-1] - gyre[:-1, :-1]) + (cell[1:] - cell[:-1])[:, None, :]
    v = np.broadcast_to(gyre[:-1, 1:] - gyre[:-1, :-1], (nz, ny, nx))
    lines = model.horizontal.metrics(np.arange(ny), np.arange(nx))
    u, v = u * (_WIDTH / lines.dy_u), v * (_WIDTH / lines.dx_v)
    season = 1.0 + 0.5 * np.cos(2 * np.pi * (np.arange(periods) + 0.5) / periods)
    season = season[:, None, None, None]
    shape = (periods, nz, ny, nx)
    warm = np.broadcast_to(np.linspace(20, 4, nz)[:, None, None], shape)
    tile = model.decomposition.tile

    def field(values, at):
        mine = np.asarray(values)[..., tile.j0 : tile.j1, tile.i0 : tile.i1]
        return Field(jnp.asarray(mine), at)

    return Circulation(
        flow_u=field(strength * season * u, "u"),
        flow_v=field(strength * season * v, "v"),
        diffusivity=field(DIFFUSIVITY * season * np.ones((nz - 1, ny, nx)), "cw"),
        temperature=field(warm, "c"),
        salinity=field(np.full(shape, 35.0), "c"),
        eta=field(np.zeros((periods + 1, ny, nx)), "c"),
        background=model.params["vertical_diffusivity"],
        start=jnp.asarray(0.0),
        year=YEAR,
    )


def age_of_a_basin() -> tuple[Model, Circulation, dict]:
    """A basin with age, its circulation, and settings of a solve whose advection has no kinks."""
    model = basin({"age": {"kind": "ideal_age"}})
    return model, turning(model), {"advection": dogcm.DST3(), "largest_step": 20.0}


def column(tracers: dict, layers: int = 40, depth: float = 1000.0) -> tuple[Model, Circulation]:
    """A box of still water that is mixed by a constant diffusivity alone."""
    size = {"grid.layers": [depth / layers] * layers, "bathymetry.depth": depth}
    model = basin(tracers, overrides=size | {"grid.nx": 4, "grid.ny": 4})
    still = turning(model, strength=0.0, periods=1)
    mixing = still.diffusivity
    even = mixing.with_data(jnp.full_like(mixing.data, DIFFUSIVITY))
    return model, dataclasses.replace(still, diffusivity=even)
