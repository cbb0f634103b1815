"""Time scheme and free surface as components: options, checks, and classes of one's own."""

from __future__ import annotations

import numpy as np
import pytest

from dogcm.components import ConfigError, kinds_of
from dogcm.decomp import SerialCommunicator
from dogcm.decomp.binding import looks_like_mpi_launch
from dogcm.dynamics.free_surface import ShortSteps
from dogcm.setups.registry import load_config
from dogcm.simulation.model import Model
from dogcm.timestepping.schemes import ForwardBackwardAB2

one_rank = pytest.mark.skipif(looks_like_mpi_launch(), reason="checked on one rank")
SMALL = {
    "grid.nx": 18,
    "grid.ny": 12,
    "grid.nz": 3,
    "run.output": {},
    # Simpler physics compiles faster.
    "physics.tracer_advection": "upwind",
    "physics.equation_of_state": "linear",
    "physics.convection": "none",
}
STEPS = 5


class OwnScheme(ForwardBackwardAB2):
    """As the default, without damping where nothing is said."""

    stabilisation: float = 0.0


class OwnSurface(ShortSteps):
    """Twice as many short steps as asked for."""

    def made_for(self, setting):
        more = self.model_copy(update={"barotropic_steps": 2 * self.barotropic_steps})
        return ShortSteps.made_for(more, setting)


def after(changes: dict) -> np.ndarray:
    model = Model("two_basin", SMALL | changes, comm=SerialCommunicator())
    model.advance(STEPS)
    return np.asarray(model.state.u.interior)


@pytest.mark.parametrize("kind", kinds_of("time_scheme"))
def test_weights_sum_to_one_also_in_the_first_steps(kind):
    scheme = load_config("gyre", {"time.scheme": kind}).time.scheme
    for available in range(scheme.memory + 1):
        assert sum(scheme._row(available)) == pytest.approx(1.0, abs=1e-15)


@one_rank
def test_a_scheme_of_ones_own_is_named_by_its_module():
    own = f"{__name__}:OwnScheme"
    default = after({})
    damped = after({"time.scheme": own, "time.scheme.stabilisation": 0.1})
    np.testing.assert_array_equal(damped, default)
    undamped = after({"time.scheme": own})
    np.testing.assert_array_equal(undamped, after({"time.scheme.stabilisation": 0.0}))
    assert np.abs(undamped - default).max() > 0


@one_rank
def test_a_free_surface_of_ones_own_is_named_by_its_module():
    own = {"time.free_surface": f"{__name__}:OwnSurface"}
    asked = after(own | {"time.free_surface.barotropic_steps": 15})
    np.testing.assert_array_equal(asked, after({"time.free_surface.barotropic_steps": 30}))
    assert np.abs(asked - after({"time.free_surface.barotropic_steps": 15})).max() > 0


def test_a_configuration_keeps_the_options_of_its_parts():
    one = load_config("gyre", {"time.free_surface.barotropic_steps": 20, "time.scheme": "ab3"})
    again = load_config(one.model_dump(mode="json"))
    assert again.time == one.time
    assert again.time.free_surface.barotropic_steps == 20


@pytest.mark.parametrize(
    "change, words",
    [
        ({"time.barotropic_steps": 20}, ["is now time.free_surface.barotropic_steps"]),
        ({"time.solver_tolerance": 1e-9}, ["is now time.free_surface.solver_tolerance"]),
        ({"time.free_surface.implicitness": 1.0}, ["split", "belongs to kind implicit"]),
        ({"time.free_surface.barotropic_steps": -1}, ["barotropic_steps", "greater than or equal"]),
        ({"time.scheme": "none"}, ["time.scheme: none is no choice", "ab3"]),
        ({"time.free_surface": "dogcm.timestepping.schemes:AB2"}, ["is no", "FreeSurface"]),
    ],
    ids=str,
)
def test_what_does_not_fit_is_refused(change, words):
    with pytest.raises(ConfigError) as error:
        load_config("two_basin", change)
    assert all(w in str(error.value) for w in words), error.value
