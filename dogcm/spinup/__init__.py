"""Equilibrium without the millennia: the state that a year of the model brings back.

:func:`equilibrium` solves ``year(x) = x`` for passive tracers, carried by a recorded year of the
model's circulation, by direct integration, Anderson acceleration or Newton-Krylov.
"""

from importlib import import_module

from dogcm.spinup.circulation import (
    Circulation,
    frozen,
    read_circulation,
    record,
    write_circulation,
)
from dogcm.spinup.errors import EquilibriumError
from dogcm.spinup.methods import Anderson, DirectIntegration, Method, NewtonKrylov
from dogcm.spinup.problem import Costs, Problem
from dogcm.spinup.sensitivity import sensitivity
from dogcm.spinup.solve import Equilibrium, Iteration, Settings, equilibrium, free_years, problem_of

__all__ = [
    "Anderson",
    "Circulation",
    "Costs",
    "DirectIntegration",
    "Equilibrium",
    "EquilibriumError",
    "Iteration",
    "Method",
    "NewtonKrylov",
    "Problem",
    "Settings",
    "equilibrium",
    "free_years",
    "frozen",
    "problem_of",
    "read_circulation",
    "record",
    "sensitivity",
    "write_circulation",
]

# Networks need flax, which takes long to load.
_JUMP = (
    "Example",
    "JumpConfig",
    "JumpError",
    "JumpNetwork",
    "JumpVariable",
    "JumpWeights",
    "LearnedJump",
    "Prepared",
    "Training",
    "age_in_years",
    "features_of",
    "predict",
    "reference_of",
    "train_jump",
)
__all__ += _JUMP


def __getattr__(name: str):
    if name in _JUMP:
        return getattr(import_module("dogcm.spinup.jump"), name)
    raise AttributeError(f"module 'dogcm.spinup' has no attribute {name!r}")
