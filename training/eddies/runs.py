"""The recipes of this study: the grids, and what contenders change."""

from __future__ import annotations

from pathlib import Path

import dogcm

HERE = Path(__file__).parent
#: Spacing to its configuration. The steps are whole parts of the intervals between records.
GRIDS = {
    "50km": {},
    "37km": {"grid.nx": 32, "grid.ny": 32, "grid.dx": 37.5e3, "grid.dy": 37.5e3, "time.step": 3600},
    "75km": {"grid.nx": 16, "grid.ny": 16, "grid.dx": 75.0e3, "grid.dy": 75.0e3, "time.step": 3600},
    "25km": {"grid.nx": 48, "grid.ny": 48, "grid.dx": 25.0e3, "grid.dy": 25.0e3, "time.step": 2400},
}
_NO_NETWORK = {"corrector": {"network": "none"}, "optimiser.learning_rate.physics": 0.05}
# One update at the rate zero: what is given stays as it is.
_BY_HAND = _NO_NETWORK | {
    "learnable": ["leith"],
    "curriculum": [{"updates": 1, "days": 2}],
    "optimiser.warmup": 1,
    "targets.validation": 0,
}
#: What each contender changes in the recipe. A number at the end is a seed.
CONTENDERS: dict[str, dict] = {
    "network_0": {"seed": 0},
    "network_1": {"seed": 1},
    "network_2": {"seed": 2},
    # The constants of the closure and of the bottom friction, learned through the model.
    "leith": _NO_NETWORK | {"learnable": ["leith", "bottom_drag_linear"]},
    # The same closure weaker than forecasts want it, as one would tune it by hand for its eddies.
    "weak_leith": _BY_HAND | {"start": {"leith": 0.5}},
    "weaker_leith": _BY_HAND | {"start": {"leith": 0.2}},
    # With eddies as Gent and McWilliams, Redi.
    "gent_mcwilliams": _NO_NETWORK
    | {
        "overrides.physics.eddies": "isoneutral",
        "learnable": ["leith", "bottom_drag_linear", "gm_diffusivity", "isoneutral_diffusivity"],
        "start": {"gm_diffusivity": 100.0, "isoneutral_diffusivity": 100.0},
    },
}


# Does it pay to train through the model? All have as many updates, fewer than above, and the same
# forecasts choose their weights; but a network trained offline sees two days at a time alone.
_SHORT = {
    "curriculum": [{"updates": 100, "days": 2}, {"updates": 50, "days": 4}],
    "validation.days": 4,
}
_OFFLINE = _SHORT | {"offline": True, "curriculum": [{"updates": 150, "days": 2}]}
END_TO_END = "end_to_end"
_COMPARED = {
    "network": _SHORT,
    # The gradient is cut at every call of the network.
    "stop_gradient": _SHORT | {"truncate": 0.25},
    # No gradient through the model, and rollouts without the network: what it would have added in
    # the two days between records, against the error of the model without it.
    "offline": _OFFLINE,
}
CONTENDERS |= {
    f"{END_TO_END}/{name}_{seed}": changes | {"seed": seed}
    for name, changes in _COMPARED.items()
    for seed in (0, 1)
}
# Backscatter by products of vorticity and deformation with the friction it needs: three numbers,
# which settle in fewer updates.
CONTENDERS[f"{END_TO_END}/zanna_bolton"] = _NO_NETWORK | {
    "overrides.physics.backscatter": "zanna_bolton",
    "learnable": ["leith", "bottom_drag_linear", "zanna_bolton"],
    "curriculum": [{"updates": 60, "days": 2}],
    "validation.days": 4,
}


def recipe(folder: Path, km: str = "50km", **changes) -> dogcm.Recipe:
    """The recipe on the grid ``km`` with its truth in ``folder``."""
    overrides = {f"overrides.{k}": v for k, v in GRIDS[km].items()}
    truth = {"targets.folder": str(folder / f"truth_{km}")}
    return dogcm.load_recipe(HERE / "recipe.yaml", overrides | truth | changes)


def contender(folder: Path, name: str) -> dogcm.Recipe:
    """The recipe of a contender at 50 km. Seeds of one have the same name."""
    own = Path(name).name.rstrip("_0123456789")
    return recipe(folder, name=own, **CONTENDERS[name])
