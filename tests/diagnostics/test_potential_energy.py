"""Reference potential energy against cases whose sorted state is known."""

from __future__ import annotations

import numpy as np
import pytest

from dogcm.decomp import SerialCommunicator, world
from dogcm.diagnostics.potential_energy import potential_energies, reference_height
from dogcm.simulation.model import Model

G, RHO0, ALPHA = 9.81, 1000.0, 2e-4


def box(comm=None, **changes) -> Model:
    """Two by one columns of two layers, 10 m deep, cold water beside warm."""
    config = {
        "name": "box",
        "grid": {
            "kind": "cartesian",
            "nx": 8,
            "ny": 6,
            "dx": 1e3,
            "dy": 2e3,
            "periodic": False,
            "layers": [5.0, 5.0],
        },
        "bathymetry": {"source": "flat", "depth": 10.0, "min_depth": 0.0},
        "forcing": {"source": "none"},
        "physics": {
            "equation_of_state": {"kind": "linear", "thermal_expansion": ALPHA},
            "rho0": RHO0,
            "freezing": None,
        },
        "time": {"step": 60.0},
        "run": {"output": {}},
    }
    temperature = lambda x, y, z: np.where(x < 4e3, 3.0, 13.0) + 0 * z + 0 * y
    start = {"temperature": temperature, "salinity": 35.0}
    return Model(config, changes, initial=start, comm=comm)


def test_cold_beside_warm_in_a_box():
    """At rest cold water fills the lower half: g * 5 m * (difference of density) * volume / 4."""
    model = box()
    area = 8 * 6 * 2e6
    light, heavy = (RHO0 * (1 - ALPHA * (t - 8.0)) for t in (13.0, 3.0))
    found = potential_energies(model)
    assert found.potential == pytest.approx(G * 0.5 * (light + heavy) * area * 10 * 5, rel=1e-14)
    reference = G * area * 5 * (heavy * 2.5 + light * 7.5)
    assert found.reference == pytest.approx(reference, rel=1e-14)
    assert found.available == pytest.approx(G * area * 5 * 2.5 * (heavy - light), rel=1e-9)
    assert potential_energies(model, box=True).reference == pytest.approx(reference, rel=1e-14)


def test_sorting_stratified_water_over_a_slope_changes_nothing():
    """A basin with steps, filled in layers: the sorted state is the state."""
    floor = np.array([0.0, 0.0, 10.0, 30.0])
    area = np.array([2.0, 1.0, 3.0, 4.0])
    edges = np.array([0.0, 10.0, 30.0, 50.0])
    density = np.array([1003.0, 1002.0, 1001.0])
    volume = np.array([3 * 10.0, 6 * 20.0, 10 * 20.0])
    expected = (density * volume * 0.5 * (edges[1:] + edges[:-1])).sum()
    mixed = np.array([2, 0, 1])
    found = reference_height(density[mixed], volume[mixed], area, floor)
    assert found == pytest.approx(expected, rel=1e-14)


def test_mixing_raises_it_and_moving_does_not():
    rng = np.random.default_rng(1)
    density, volume = 1000 + rng.random(50), np.full(50, 2.0)
    area, floor = np.ones(10), rng.random(10)
    before = reference_height(density, volume, area, floor)
    assert reference_height(density[::-1], volume, area, floor) == pytest.approx(before, rel=1e-15)
    density[[3, 30]] = density[[3, 30]].mean()
    assert reference_height(density, volume, area, floor) > before


@pytest.mark.mpi(min_size=2)
def test_same_bits_on_tiles():
    """And the world's communicator is one, so that one rank alone may ask for it."""
    wide = {"grid.nx": 24, "grid.ny": 18}
    alone = potential_energies(box(comm=SerialCommunicator(), **wide))
    assert potential_energies(box(**wide)) == alone
    if world().rank == 0:
        assert world().size > 1 and world() is world()
