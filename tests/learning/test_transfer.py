"""A corrector that goes on from an earlier training, on the same grid or on another one."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace

import jax
import numpy as np
import pytest
from test_first_guess import MAPPED

from dogcm.components.errors import ConfigError
from dogcm.corrector.maps import MAPS, rates
from dogcm.evaluation.evaluation import trained_in
from dogcm.learning.groups import is_field
from dogcm.learning.recipe import load_recipe, write_recipe
from dogcm.learning.saving import checkpoint_path, save_checkpoint
from dogcm.learning.training import build, train, trainer_of
from dogcm.learning.transfer import _on_this_grid
from dogcm.setups import inputs
from dogcm.setups.registry import load_config

# As cheap as can be: no first guess, one update.
SHORT = MAPPED | {"first_guess": {"passes": 0}, "curriculum": [{"updates": 1, "days": 0.5}]}


@pytest.fixture(scope="module")
def earlier(tmp_path_factory):
    """What a training leaves behind; an update by hand, as large as Adam's first, has no gradient
    to compile."""
    folder, recipe = tmp_path_factory.mktemp("earlier"), load_recipe(SHORT)
    setup = build(recipe, folder)
    trainer, rng = trainer_of(setup), np.random.default_rng(0)
    moved = jax.tree.map(
        lambda x: x + 1e-3 * rng.choice([-1.0, 1.0], x.shape), trainer.weights.trainable
    )
    trainer.weights = replace(trainer.weights, trainable=moved, average=moved)
    tree, header = trainer.content()
    header["identity"] = recipe.identity()
    path = checkpoint_path(folder, 1)
    save_checkpoint(path, tree, header, setup.model.decomposition, setup.ranks.comm)
    write_recipe(folder / "recipe.yaml", recipe)
    return folder


def _sets(earlier, **more):
    return {"weights": str(earlier), "targets.folder": str(earlier / "truth"), "seed": 3} | more


def test_begins_with_what_was_learned_and_can_be_judged_as_it_is(earlier, tmp_path):
    train(load_recipe(SHORT, _sets(earlier)), tmp_path, updates=0, quiet=True)
    (_, before), (_, now) = trained_in(earlier), trained_in(tmp_path)
    was, here = (jax.tree.leaves(t["corrector"], is_leaf=is_field) for t in (before, now))
    values = lambda x: np.asarray(x.data if is_field(x) else x)
    assert any(np.abs(values(x)).max() > 0 for x in was if is_field(x))
    assert all((values(a) == values(b)).all() for a, b in zip(was, here, strict=True))


def test_maps_from_elsewhere_are_adapted(earlier, tmp_path, capsys):
    """Passes of a first guess begin with the maps that were carried over, here those of another
    wrong viscosity."""
    guess = {"passes": 2, "days": 0.5, "windows": 4}
    train(load_recipe(SHORT, _sets(earlier, first_guess=guess)), tmp_path, updates=0, quiet=True)
    said = [
        line.split()
        for line in capsys.readouterr().out.splitlines()
        if line.startswith("first guess, pass")
    ]
    first, second = (float(words[words.index("eta") + 1]) for words in said)
    assert second < 0.7 * first
    (_, before), (_, now) = trained_in(earlier), trained_in(tmp_path)
    was, here = (t["corrector"][MAPS]["u"].data for t in (before, now))
    assert np.abs(np.asarray(here) - np.asarray(was)).max() > 0


def test_another_network_is_refused(earlier, tmp_path):
    with pytest.raises(ConfigError, match="of another corrector.*same network, inputs"):
        train(
            load_recipe(SHORT, _sets(earlier, **{"corrector.network.width": 3})),
            tmp_path,
            quiet=True,
        )
    assert not list(tmp_path.iterdir())


def test_maps_of_other_harmonics_are_refused(earlier, tmp_path):
    more = load_recipe(SHORT).corrector.maps + 2
    with pytest.raises(ConfigError, match="of another corrector.*same network, inputs"):
        train(load_recipe(SHORT, _sets(earlier, **{"corrector.maps": more})), tmp_path, quiet=True)


def test_weights_without_a_place_for_them_are_refused():
    with pytest.raises(ConfigError, match="weights: needs a corrector"):
        load_recipe(
            SHORT,
            {
                "weights": "somewhere",
                "corrector": {"network": {"kind": "none"}},
                "learnable": ["gm_diffusivity"],
            },
        )


def test_maps_go_from_water_to_water():
    """Linear in latitude, on a grid twice as fine: exact but in the outer rows, and land has no
    say."""
    coarse = load_config("global_4deg")
    fine = load_config("global_2deg", {"grid.layers": coarse.grid.layers})
    old, new = (inputs.horizontal_grid(c) for c in (coarse, fine))
    layers = inputs.vertical_grid(fine)
    wet = inputs.cell_thickness(coarse, old, layers) > 0
    linear = np.broadcast_to(old.coordinates()["lat"][0][:, None], wet.shape)
    path, model = (
        f"['{MAPS}']['temperature']",
        SimpleNamespace(config=fine, horizontal=new, vertical=layers),
    )
    (there,) = _on_this_grid({path: np.where(wet, linear, 1e30)}, coarse, model, "file").values()
    assert there.shape == (layers.nz, *new.shape) and there.max() < 90
    open_ocean = inputs.cell_thickness(fine, new, layers)[0] > 0
    error = np.abs(there[0] - new.coordinates()["lat"][0][:, None])[open_ocean]
    # Next to land the interpolation leans to the water's side, by less than a coarse cell.
    assert np.median(error) < 1e-9 and error[np.isfinite(error)].max() < 90
    assert (error < 4).mean() > 0.97


def test_other_layers_are_refused():
    coarse, fine = load_config("global_4deg"), load_config("global_2deg")
    model = SimpleNamespace(config=fine, horizontal=None, vertical=inputs.vertical_grid(fine))
    with pytest.raises(ConfigError, match="other layers"):
        _on_this_grid({}, coarse, model, "file")


def test_strength_scales_all_that_a_corrector_does(earlier):
    setup, trained = trained_in(earlier)
    whole = setup.corrector.config
    half = whole.model_copy(update={"strength": 0.5})
    a, b = (rates(trained["corrector"][MAPS], c, setup.model.state.time) for c in (whole, half))
    assert all((np.asarray(a[n].data) == 2 * np.asarray(b[n].data)).all() for n in a)
    assert any(np.abs(np.asarray(f.data)).max() > 0 for f in a.values())
