"""Schemes from outside the package: one file each, on tiles, in restarts, gradients and tables."""

from __future__ import annotations

import sys
from dataclasses import dataclass, field
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from same_bits import after, assert_same_bits

from dogcm.cli import main
from dogcm.components import ConfigError
from dogcm.decomp import SerialCommunicator
from dogcm.decomp.binding import looks_like_mpi_launch
from dogcm.learning.parameters import LearnableSet
from dogcm.learning.rollout import rollout
from dogcm.setups.registry import load_config
from dogcm.simulation.model import Model
from dogcm.verification.verify import verify_restart

PLUGINS = Path(__file__).resolve().parents[2] / "examples" / "plugins"
sys.path.insert(0, str(PLUGINS))
one_rank = pytest.mark.skipif(looks_like_mpi_launch(), reason="checked on one rank")
SMALL = {
    "grid.nx": 24,
    "grid.ny": 18,
    "grid.nz": 6,
    "time.step": 3600,
    "run.output": {},
}


@dataclass(frozen=True)
class Plugin:
    """One of the files, and where the configuration names its class.

    Attributes:
        key: of the configuration. kind: module and class. parameters: that it owns.
        shown: words that ``dogcm show`` prints of it. options: of its own. others: settings.
    """

    key: str
    kind: str
    parameters: tuple[str, ...] = ()
    shown: tuple[str, ...] = ()
    options: dict = field(default_factory=dict)
    others: dict = field(default_factory=dict)

    @property
    def settings(self) -> dict:
        return {**SMALL, **self.others, self.key: {"kind": self.kind, **self.options}}

    def model(self, comm=None) -> Model:
        return Model("two_basin", self.settings, comm=comm)


CASES = {
    "advection": Plugin(
        "physics.tracer_advection", "koren_advection:Koren", shown=("sharpness", "correction")
    ),
    "mixing": Plugin(
        "physics.vertical_mixing",
        "sluggish_mixing:SluggishMixing",
        ("sluggish_strength", "sluggish_time"),
        ("sluggish_time", "time scale of turbulence"),
        {"sluggish_strength": 0.05, "sluggish_time": 7200.0},
        # Thin layers, between which wind makes shear.
        {"grid.layers": [10.0, 15.0, 25.0, 50.0, 150.0, 500.0]},
    ),
    "eddies": Plugin(
        "physics.eddies",
        "surface_eddies:SurfaceEddies",
        ("surface_eddies",),
        ("eddy_depth", "diffusivity at the surface"),
    ),
    "flux": Plugin(
        "forcing.fluxes.sun",
        "diurnal_heating:DiurnalHeating",
        ("diurnal_amplitude",),
        ("diurnal_amplitude", "largest heating"),
    ),
}
STEPS = 12
each = pytest.mark.parametrize("name", CASES)
ALL_PARAMETERS = tuple(n for p in CASES.values() for n in p.parameters)


def together(comm=None) -> Model:
    """A model with all of them: ranks compile one program instead of four."""
    settings = {k: v for plugin in CASES.values() for k, v in plugin.settings.items()}
    return Model("two_basin", settings | CASES["mixing"].others, comm=comm)


@pytest.mark.mpi(min_size=2)
@pytest.mark.ranks(2, 4, slow=(4,))
def test_tiles_give_the_same_bits():
    def at_work(alone):
        assert all(np.isfinite(a).all() for a in alone.values())
        assert alone["sluggish"].max() > 1e-3 and np.ptp(alone["temperature"][0]) > 1.0

    assert_same_bits(together, after(STEPS), at_work)


@one_rank
@each
def test_gives_other_numbers_than_the_scheme_that_ships(name):
    found = []
    for settings in (CASES[name].settings, SMALL | CASES[name].others):
        model = Model("two_basin", settings, comm=SerialCommunicator())
        model.advance(STEPS)
        found.append(model.gather("temperature"))
    assert np.isfinite(found[0]).all() and np.abs(found[0] - found[1]).max() > 1e-9


@one_rank
@each
def test_restart_changes_no_bit(name):
    result = verify_restart(load_config("two_basin", CASES[name].settings), 6)
    assert result.passed, result
    if name == "mixing":
        assert "sluggish" in {row.name for row in result.rows}


@pytest.mark.mpi
@pytest.mark.ranks(1, 2, 4, slow=(2, 4))
def test_gradients_of_their_parameters():
    """Equal to finite differences, also where tiles share the loss."""
    model = together()
    learn = LearnableSet(list(ALL_PARAMETERS))
    start = learn.initial(model.params, model.grid)
    before = model.state.temperature.interior

    # One program for values and derivatives: compiling is what takes time.
    @jax.jit
    @jax.value_and_grad
    def share(raw):
        params = learn.apply(raw, model.params, model.halos, model.grid)
        last, _ = rollout(
            model.step, model.state, params, model.forcing, model.grid, 14, checkpoint="step"
        )
        warmed = (last.temperature.interior - before) * model.grid.mask_c.interior
        return jnp.sum(last.u.interior**2) + jnp.sum(warmed**2)

    value = lambda raw: float(model.halos.psum(share(raw)[0]))
    _, gradient = share(start)
    for parameter, local in gradient.items():
        found = float(model.halos.psum(local))
        ahead, behind = ({**start, parameter: start[parameter] + h} for h in (1e-3, -1e-3))
        expected = (value(ahead) - value(behind)) / 2e-3
        assert abs(expected) > 0
        assert found == pytest.approx(expected, rel=1e-3), parameter


@one_rank
@each
def test_shown_with_its_options(name, capsys):
    plugin = CASES[name]
    pairs = [f"{plugin.key}.kind={plugin.kind}"]
    if name == "flux":
        pairs = [f"{plugin.key}={{kind: '{plugin.kind}'}}"]
    assert main(["show", "two_basin", *(w for p in pairs for w in ("--set", p))]) == 0
    out = " ".join(capsys.readouterr().out.split())
    assert plugin.kind in out
    assert all(word in out for word in plugin.shown), out


WRONG = {
    "no such module": ("physics.eddies", "nowhere_at_all:X", "cannot import"),
    "no such class": ("physics.eddies", "surface_eddies:Nothing", "cannot import"),
    "another slot": ("physics.eddies", "koren_advection:Koren", "is no dogcm.physics.interfaces"),
    "a method is missing": ("physics.eddies", f"{__name__}:Unfinished", "fluxes"),
    "a parameter twice": ("physics.eddies", f"{__name__}:Twin", "both have a parameter"),
}


def _unfinished():
    import dogcm

    class Unfinished(dogcm.Eddies):
        def prepare(self, density, n2, stretch, params, grid, physics):
            return None

    class Twin(dogcm.Isoneutral):
        lateral_diffusivity: float = dogcm.parameter(1.0, "m2 s-1", "taken", ge=0)

    return Unfinished, Twin


Unfinished, Twin = _unfinished()


@one_rank
@pytest.mark.parametrize("case", WRONG)
def test_what_cannot_be_used_is_refused(case):
    key, kind, says = WRONG[case]
    with pytest.raises(ConfigError, match=says) as error:
        load_config("two_basin", {**SMALL, key: kind})
    assert key in str(error.value) or kind.partition(":")[0] in str(error.value)


@one_rank
def test_two_kinds_of_one_name_are_refused():
    import dogcm

    with pytest.raises(ConfigError, match="two components of the slot eddies are named 'visbeck'"):
        type("Again", (dogcm.Eddies,), {"kind": "visbeck", "__module__": __name__})
