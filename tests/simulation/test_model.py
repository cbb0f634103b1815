"""The model as Python has it: parts that are replaced, and the command as a module."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest

from dogcm.decomp import SerialCommunicator
from dogcm.decomp.binding import looks_like_mpi_launch
from dogcm.simulation.model import Model

pytestmark = pytest.mark.skipif(looks_like_mpi_launch(), reason="checked on one rank")
SMALL = {
    "grid.nx": 12,
    "grid.ny": 10,
    "grid.nz": 3,
    "run.output": {},
    # Simpler physics compiles faster.
    "physics.tracer_advection": "upwind",
    "physics.momentum_advection": "none",
    "physics.equation_of_state": "linear",
    "physics.convection": "none",
}


def push(state, params, now, grid):
    """Everything is accelerated eastwards."""
    return {"u": grid.mask_u * 1e-5}


def test_a_part_replaced_after_the_first_step_acts():
    """The compiled step follows, as in a model that had the part from the start."""
    model = Model("gyre", SMALL, comm=SerialCommunicator())
    model.advance(4)
    model.dynamics = replace(model.dynamics, extra_tendency=push)
    model.advance(4)
    fresh = Model("gyre", SMALL, comm=SerialCommunicator())
    fresh.advance(4)
    fresh.dynamics = replace(fresh.dynamics, extra_tendency=push)
    fresh.advance(4)
    usual = Model("gyre", SMALL, comm=SerialCommunicator())
    usual.advance(8)
    np.testing.assert_array_equal(model.gather("u"), fresh.gather("u"))
    assert np.abs(model.gather("u") - usual.gather("u")).max() > 5e-3
    assert np.abs(usual.gather("u")).max() < 0.02


def test_a_corrector_from_the_start_is_the_same():
    late = Model("gyre", SMALL, comm=SerialCommunicator())
    late.dynamics = replace(late.dynamics, extra_tendency=push)
    early = Model("gyre", SMALL, comm=SerialCommunicator(), corrector=push)
    for model in (late, early):
        model.advance(4)
    np.testing.assert_array_equal(late.gather("u"), early.gather("u"))


def test_another_step_is_refused():
    model = Model("gyre", SMALL, comm=SerialCommunicator())
    model.step = model.dynamics.step
    with pytest.raises(AttributeError, match="assign model.dynamics"):
        model.step = lambda s, p, f, g: s


def test_another_physics_is_the_models():
    model = Model("gyre", SMALL, comm=SerialCommunicator())
    half = replace(model.dynamics.physics, dt=900.0)
    model.dynamics = replace(model.dynamics, physics=half)
    assert model.physics.dt == 900.0 and model.steps_in(1) == 96


def test_the_command_as_a_module(alone):
    command = [sys.executable, "-m", "dogcm", "list"]
    ran = subprocess.run(command, env=alone, capture_output=True, text=True, timeout=120)
    assert ran.returncode == 0 and "global_4deg" in ran.stdout, ran.stderr
