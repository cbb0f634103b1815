"""Ranks that were started differently are refused before the first step, by one message on all."""

from __future__ import annotations

import pytest

import dogcm
from dogcm.components.errors import ConfigError
from dogcm.decomp import SerialCommunicator, world
from dogcm.setups.registry import load_config
from dogcm.simulation.agreement import require_agreement

SMALL = {"grid.nx": 24, "grid.ny": 16, "grid.nz": 2}


class SomeRanks(SerialCommunicator):
    """Ranks of which the others say what they are told to."""

    size = 3

    def __init__(self, others: dict):
        self.others = others

    def gather(self, value):
        return [value, value, value | self.others]


@pytest.mark.parametrize(
    "others, says",
    [
        ({"physics.rho0": 1000.0}, "physics.rho0 is 1026.0 on rank 0 and 1000.0 on rank 2"),
        ({"DOGCM_REPRODUCIBLE": "0"}, "DOGCM_REPRODUCIBLE is 1 on rank 0 and 0 on rank 2"),
        ({"version of jax": "0.1"}, "version of jax is .* and 0.1 on rank 2"),
        ({"run.precision": "float32"}, "run.precision is float64"),
        ({f"k{n}": n for n in range(7)}, "k4 is nothing.*; and 2 more"),
    ],
)
def test_what_differs_is_told(others, says):
    with pytest.raises(ConfigError, match=says):
        require_agreement(SomeRanks(others), load_config("channel"))


def test_equal_ranks_agree():
    require_agreement(SomeRanks({}), load_config("channel"))


@pytest.mark.ranks(2, 4)
@pytest.mark.mpi(min_size=2)
@pytest.mark.parametrize(
    "key, values",
    [
        ("physics.friction.lateral_viscosity", (1e4, 2e4)),
        ("run.precision", ("float64", "float32")),
        ("time.free_surface.barotropic_steps", (20, 30)),
    ],
)
def test_ranks_of_two_models_are_refused(key, values):
    comm = world()
    mine = values[comm.rank == comm.size - 1]
    with pytest.raises(ConfigError, match=f"{key} is .* on rank {comm.size - 1}"):
        dogcm.Model("channel", SMALL | {key: mine}, comm=comm)
