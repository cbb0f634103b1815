"""Equilibrium without the millennia: the state that a year of the model brings back.

:func:`equilibrium` solves ``year(x) = x`` for passive tracers, carried by a recorded year of the
model's circulation, by direct integration, Anderson acceleration or Newton-Krylov.
"""

from dogcm.spinup.circulation import (
    Circulation,
    frozen,
    read_circulation,
    record,
    write_circulation,
)
from dogcm.spinup.errors import EquilibriumError
from dogcm.spinup.methods import Anderson, DirectIntegration, Method, NewtonKrylov
from dogcm.spinup.problem import Costs
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
