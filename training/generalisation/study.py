"""Run a corrector that was trained at 4 degrees at 2 degrees: as it is, weaker, after some
fine-tuning, and
with its maps adapted by short forecasts.

    python training/generalisation/study.py train OUTPUT TRAINED [VARIANT ...]
    python training/generalisation/study.py evaluate OUTPUT

OUTPUT holds the truth, which all share, and a folder for each variant; TRAINED is a folder of
../neuralogcm. ``evaluate`` also writes the small table and figure that are kept beside this script.
"""

from __future__ import annotations

import csv
import sys
from pathlib import Path

import dogcm

HERE = Path(__file__).parent
LEADS = (10, 20, 30, 60)
# Changes of the recipe, and updates (None: all).
VARIANTS = {
    "quarter": ({"corrector.strength": 0.25}, 0),
    "unchanged": ({"corrector.strength": 1.0}, 0),
    "fine_tuned": ({"corrector.strength": 0.25}, None),
    "adapted": ({"corrector.strength": 0.25, "first_guess": {"passes": 4, "windows": 19}}, 0),
}


def main(argv: list[str]) -> None:
    """See the module."""
    if argv[:1] == ["train"] and len(argv) >= 3:
        for name in argv[3:] or VARIANTS:
            changes, updates = VARIANTS[name]
            changes = changes | {
                "name": name,
                "weights": argv[2],
                "targets.folder": str(Path(argv[1]) / "truth"),
            }
            dogcm.train(
                dogcm.load_recipe(HERE / "recipe.yaml", changes),
                Path(argv[1]) / name,
                updates=updates,
            )
    elif argv[:1] == ["evaluate"] and len(argv) == 2:
        first, *others = [
            Path(argv[1]) / n for n in VARIANTS if (Path(argv[1]) / n / "recipe.yaml").exists()
        ]
        write(dogcm.evaluate(first, days=max(LEADS), windows=6, against=others), first.name)
    else:
        sys.exit(__doc__)


def write(rows: list[dict], first: str) -> None:
    """Table and figure of the scores over all depths."""
    rows = [
        r | {"contender": first} if r["contender"] == "trained" else r
        for r in rows
        if r["depth"] == "all"
    ]
    columns = ["variable", "lead_days", "contender", "cases", "rmse", "acc", "bias"]
    with open(HERE / "scores.csv", "w", newline="") as file:
        writer = csv.DictWriter(file, columns, extrasaction="ignore")
        writer.writeheader()
        chosen = [r for r in rows if r["lead_days"] in LEADS]
        writer.writerows(
            {k: f"{v:.4g}" if isinstance(v, float) else v for k, v in r.items()} for r in chosen
        )
    dogcm.draw_by_lead(rows, "rmse", HERE / "rmse.png")


if __name__ == "__main__":
    main(sys.argv[1:])
