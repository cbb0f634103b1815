"""Which columns train, validate and test: drawn once, by family and range, from a fixed seed.

No column is in two parts: each part has draws of its own, and `drawn` refuses parts that share one.
"""

from __future__ import annotations

import jax.numpy as jnp
import numpy as np
from columns import Cases
from scipy.stats import qmc

SEED = 20
F, MIXED = (5e-5, 1.4e-4), (0.0, 20.0)
N2 = (2e-5, 2e-4)
# Each family: (low, high) of what is drawn; ``deficit``: daily loss over the daily mean of light.
WITHIN = {
    "convection": {"loss": (50.0, 200.0)},
    "wind": {"stress": (0.05, 0.3)},
    "diurnal": {"stress": (0.02, 0.15), "sun": (200.0, 800.0), "deficit": (0.6, 1.3)},
}
BEYOND = {
    "convection": {"loss": (200.0, 300.0)},
    "wind": {"stress": (0.3, 0.5)},
    "diurnal": {"stress": (0.15, 0.25), "sun": (800.0, 1000.0), "deficit": (0.6, 1.3)},
    "stratified": {"stress": (0.05, 0.3), "loss": (50.0, 200.0), "n2": (2e-4, 5e-4)},
}
TOGETHER = {"wind and cooling": {"stress": (0.05, 0.3), "loss": (50.0, 200.0)}}
# Part: its families, and how many columns of each.
PARTS = {
    "train": (WITHIN, 32),
    "validation": (WITHIN, 16),
    "within": (WITHIN, 16),
    "beyond": (BEYOND, 12),
    "together": (TOGETHER, 24),
}
TESTS = ("within", "beyond", "together")


def drawn() -> tuple[Cases, list[str], list[str]]:
    """All columns, the part of each, and its family.

    Raises:
        ValueError: two parts share a column.
    """
    rows, parts, families = [], [], []
    for n, (part, (ranges, count)) in enumerate(PARTS.items()):
        for m, (family, limits) in enumerate(ranges.items()):
            rows += _draw(limits, count, SEED + 10 * n + m)
            parts += [part] * count
            families += [family] * count
    values = np.array(rows)
    seen: dict[tuple, str] = {}
    for row, part in zip(map(tuple, values), parts):
        if seen.setdefault(row, part) != part:
            raise ValueError(f"parts {seen[row]} and {part} share a column: change a seed")
    return Cases(*(jnp.asarray(x) for x in values.T)), parts, families


def _draw(limits: dict, count: int, seed: int) -> list[list[float]]:
    """Rows of stress, loss, sun, f, n2, mixed."""
    names = ("stress", "loss", "sun", "deficit", "f", "n2", "mixed")
    ranges = {"f": F, "n2": N2, "mixed": MIXED} | limits
    sample = qmc.LatinHypercube(len(names), seed=seed).random(count)
    rows = []
    for point in sample:
        v = {n: 0.0 for n in names}
        for n, x in zip(names, point):
            low, high = ranges.get(n, (0.0, 0.0))
            log = n == "n2"
            v[n] = float(low * (high / low) ** x if log else low + x * (high - low))
        loss = v["deficit"] * v["sun"] / np.pi if v["deficit"] else v["loss"]
        rows.append([v["stress"], loss, v["sun"], v["f"], v["n2"], v["mixed"]])
    return rows
