"""Train all variants of the recipe and compare them on the last year of the truth.

    python training/neuralogcm/study.py train OUTPUT [VARIANT ...]
    python training/neuralogcm/study.py evaluate OUTPUT
    python training/neuralogcm/study.py draw OUTPUT
    python training/neuralogcm/study.py carry_on DAYS FILE

OUTPUT holds the truth, which all share, and a folder for each variant. Trainings that are there
already are left alone. ``draw`` writes the small tables and figures that are kept beside this
script. ``carry_on`` runs the truth itself for DAYS from its very beginning and writes its mean
temperature and salinity every 15 days.
"""

from __future__ import annotations

import csv
import shutil
import sys
from pathlib import Path

import dogcm

HERE = Path(__file__).parent
LEADS = (10, 20, 30, 60, 90, 120)
DRAWN = ("neuralogcm", "persistence", "climatology", "uncorrected", "network_only", "first_guess")
SCALARS = [
    "lateral_viscosity",
    "lateral_diffusivity",
    "vertical_diffusivity",
    "vertical_viscosity",
    "bottom_drag_quadratic",
]
SEARCHED = [
    {n: {"shape": "map", "held": True}} for n in ("convection_diffusivity", "convection_n2")
]
NO_GUESS = {
    "first_guess.passes": 0,
    "first_guess.columns.factors": {},
    "learnable": SCALARS,
    "corrector.maps_only": [],
}
NO_NETWORK = NO_GUESS | {"corrector": {"kind": "none"}}
# The network corrects all that the maps do, and constants are learned ten times as fast.
EAGER = {"corrector.maps_only": [], "optimiser.learning_rate.physics": 0.002}
# What each variant changes in the recipe.
VARIANTS = {
    "neuralogcm": {"seed": 0},
    "neuralogcm_1": {"seed": 1},
    "neuralogcm_2": {"seed": 2},
    "physics_only": NO_NETWORK | {"optimiser.learning_rate.physics": 0.02},
    "network_only": NO_GUESS
    | {
        "physics": False,
        "learnable": [],
        "curriculum": [{"updates": 150, "days": 10}],
        "optimiser.learning_rate.corrector": 2e-3,
        "corrector.rates.eta": 0.01,
        "corrector.network.kind": "unet",
        "corrector.network.width": 24,
        "corrector.network.depth": 2,
        "corrector.every": 16,
        "corrector.outputs": {
            "temperature": "tendency",
            "salinity": "tendency",
            "velocity": "tendency",
            "eta": "tendency",
        },
    },
    "first_guess": {"curriculum": [{"updates": 1, "days": 10}], "optimiser.warmup": 1},
    "salinity_too": {
        "corrector.maps_only": ["temperature"],
        "optimiser.learning_rate.physics": 0.002,
    },
    "fast_physics": {"optimiser.learning_rate.physics": 0.002},
    "slow": EAGER | {"optimiser.learning_rate.corrector": 3e-4},
    "eager": EAGER,
    "fixed_physics": EAGER | {"learnable": SEARCHED},
    "no_search": EAGER | {"first_guess.columns.factors": {}, "learnable": SCALARS},
    "one_step": EAGER | {"curriculum": [{"updates": 100, "days": 5}]},
    "stop_gradient": EAGER | {"truncate": 0.5},
    "no_maps": NO_GUESS | EAGER | {"corrector.maps": 0},
}


def main(argv: list[str]) -> None:
    """See the module."""
    if len(argv) < 2 or argv[0] not in ("train", "evaluate", "draw", "carry_on"):
        sys.exit(__doc__)
    if argv[0] == "carry_on":
        return carry_on(float(argv[1]), Path(argv[2]))
    folder = Path(argv[1])
    if argv[0] == "train":
        for name in argv[2:] or VARIANTS:
            train_one(name, folder)
    elif argv[0] == "evaluate":
        others = [
            folder / n
            for n in VARIANTS
            if n != "neuralogcm" and (folder / n / "recipe.yaml").exists()
        ]
        free = [f for f in others if f.name == "first_guess"]
        # First the free runs: both calls write their scores, and those of eight starts are to stay.
        dogcm.evaluate(folder / "neuralogcm", days=10, windows=1, free=3650, against=free)
        dogcm.evaluate(folder / "neuralogcm", days=120, windows=8, against=others)
    else:
        draw(folder / "neuralogcm")


def train_one(name: str, folder: Path) -> None:
    """One variant, unless it is there. Seeds of one model have its name."""
    if (folder / name / "recipe.yaml").exists():
        return print(f"{name}: trained already", flush=True)
    changes = VARIANTS[name] | {
        "name": name.rstrip("_0123456789"),
        "targets.folder": str(folder / "truth"),
    }
    dogcm.train(dogcm.load_recipe(HERE / "recipe.yaml", changes), folder / name)


def carry_on(days: float, path: Path, every: float = 15.0) -> None:
    """Mean temperature (degC) and salinity (g/kg) of the truth; the free runs begin at its day
    1455."""
    truth = dogcm.Model(dogcm.load_recipe(HERE / "recipe.yaml").truth_config())
    with open(path, "w", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(["day", "temperature", "salinity"])
        for n in range(round(days / every)):
            truth.advance(truth.steps_in(every))
            reading = truth.read()
            writer.writerow(
                [(n + 1) * every, f"{reading.temperature:.8g}", f"{reading.salinity:.8g}"]
            )
            file.flush()


def draw(run: Path) -> None:
    """Figures, the table of the scores at the leads that are asked for, and that of the free
    runs."""
    rows = dogcm.read_scores(run / "evaluation.csv")
    for row in rows:
        row["contender"] = {"trained": "neuralogcm"}.get(row["contender"], row["contender"])
    chosen = [r for r in rows if r["lead_days"] in LEADS]
    columns = [
        "variable",
        "depth",
        "lead_days",
        "contender",
        "seeds",
        "cases",
        "rmse",
        "rmse_std",
        "acc",
        "bias",
    ]
    with open(HERE / "scores.csv", "w", newline="") as file:
        writer = csv.DictWriter(file, columns, extrasaction="ignore")
        writer.writeheader()
        writer.writerows(
            {k: f"{v:.4g}" if isinstance(v, float) else v for k, v in r.items()} for r in chosen
        )
    dogcm.draw_by_lead([r for r in rows if r["contender"] in DRAWN], "rmse", HERE / "rmse.png")
    for name in ("free_run.csv", "free_run.png"):
        shutil.copyfile(run / name, HERE / name)


if __name__ == "__main__":
    main(sys.argv[1:])
