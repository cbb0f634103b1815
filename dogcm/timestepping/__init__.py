"""The one solver that advances the ocean: state, schemes and the step."""

from dogcm.timestepping.many import many_steps, many_steps_with
from dogcm.timestepping.schemes import TimeScheme
from dogcm.timestepping.state import State
from dogcm.timestepping.step import Dynamics

__all__ = ["Dynamics", "State", "TimeScheme", "many_steps", "many_steps_with"]
