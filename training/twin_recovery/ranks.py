"""Whether training gives the same numbers however it is run: on how many ranks, and in one go or in
two.

Five mixing parameters and a small column network are trained in ``global_4deg`` for 200 updates on
four ranks, then again for its last 40 updates from the checkpoint before, and for the first 20
updates on one rank. Compares the checkpoints of the three and writes ``ranks.csv`` here.

    python training/twin_recovery/ranks.py            # about half an hour on two cores, most of it
    compilation
"""

from __future__ import annotations

import argparse
import csv
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
#: Every update ends with a comparison of all weights and of the optimiser's state over the ranks.
SETTINGS = (
    "curriculum=[{updates: 200, days: 1}]",
    "corrector={network: {kind: column, width: 8, depth: 1}}",
    "check_every=1",
    "targets.spinup=10",
    "targets.days=10",
    "save_every=20",
    "keep=20",
)


def train(folder: Path, ranks: int, updates: int, *more: str) -> None:
    """``dogcm train`` on so many ranks; its lines go to a log beside the folder."""
    command = [
        str(Path(sys.executable).with_name("dogcm")),
        "train",
        str(HERE / "recipe.yaml"),
        "-o",
        str(folder),
    ]
    command += ["--updates", str(updates), *more]
    command += [
        word
        for s in (*SETTINGS, f"targets.folder={folder.parent / 'truth'}")
        for word in ("--set", s)
    ]
    launch = [] if ranks == 1 else [str(ROOT / "launch" / "mpirun.sh"), "-n", str(ranks)]
    with open(folder.parent / f"{folder.name}.log", "w") as log:
        subprocess.run([*launch, *command], check=True, cwd=ROOT, stdout=log, stderr=log)


def arrays(folder: Path, update: int) -> dict[str, np.ndarray]:
    """Arrays of a checkpoint."""
    with np.load(folder / f"checkpoint_{update:08d}.npz") as file:
        return {n: file[n] for n in file.files if n != "header"}


def largest_difference(a: dict, b: dict, part: str) -> float:
    """Over all arrays whose name contains ``part``."""
    return max(float(np.max(np.abs(a[n] - b[n]), initial=0.0)) for n in a if part in n)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--output", type=Path, default=Path("output/ranks"))
    parser.add_argument("--ranks", type=int, default=4)
    options = parser.parse_args()
    output = options.output.resolve()
    straight, resumed, alone = (output / n for n in ("straight", "resumed", "alone"))
    output.mkdir(parents=True, exist_ok=True)
    train(alone, 1, 20, "--overwrite")
    train(straight, options.ranks, 200, "--overwrite")
    shutil.rmtree(resumed, ignore_errors=True)
    resumed.mkdir()
    for name in ("recipe.yaml", "training.csv", "checkpoint_00000160.npz"):
        shutil.copy(straight / name, resumed)
    train(resumed, options.ranks, 200, "--resume")

    whole, again = arrays(straight, 200), arrays(resumed, 200)
    same = whole.keys() == again.keys() and all(
        whole[n].tobytes() == again[n].tobytes() for n in whole
    )
    four, one = arrays(straight, 20), arrays(alone, 20)
    start, end = arrays(straight, 20), whole
    rows = [
        ("ranks", options.ranks),
        (
            "numbers that are learned",
            sum(v.size for n, v in whole.items() if "now" in n and "trainable" in n),
        ),
        (
            "updates after which all ranks held the same weights and optimiser state, bit for bit",
            200,
        ),
        ("resumed at update 160: same bits at update 200", same),
        (
            "largest change of a weight between updates 20 and 200",
            largest_difference(start, end, "trainable"),
        ),
        (
            f"largest difference of a weight after 20 updates on 1 and on {options.ranks} ranks",
            largest_difference(four, one, "trainable"),
        ),
    ]
    with open(HERE / "ranks.csv", "w", newline="") as f:
        csv.writer(f).writerows([("check", "result"), *rows])
    print(*rows, sep="\n")


if __name__ == "__main__":
    os.environ.setdefault("JAX_PLATFORMS", "cpu")
    main()
