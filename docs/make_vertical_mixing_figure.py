"""Draw how a column of ocean deepens under wind and under cooling: ``python
docs/make_vertical_mixing_figure.py``.

Takes two minutes. Prints the ratios that docs/vertical_mixing.md quotes.
"""

from __future__ import annotations

import sys
from pathlib import Path

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
import numpy as np

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "tests"))
import vertical_columns as columns  # noqa: E402

N2, FRICTION, LOSS, HOUR = 1e-4, 0.01, 200.0, 3600.0
RUNS = (
    ("tke", 300.0, "C0-", "tke, steps of 300 s"),
    ("tke", 3600.0, "C0o", "tke, steps of 1 h"),
    ("kpp", 300.0, "C2-", "kpp, steps of 300 s"),
    ("kpp", 3600.0, "C2o", "kpp, steps of 1 h"),
    ("richardson", 300.0, "C1-", "richardson with convection, steps of 300 s"),
)


def depths(model, hours, **flux) -> np.ndarray:
    """Depth (m) of the mixed layer's foot at these hours."""
    columns.start(model, N2, **flux)
    found = []
    for hour in hours:
        model.advance(round((hour * HOUR - float(model.state.time)) / model.physics.dt))
        # Without entrainment stratification has no maximum at the foot.
        sharp = columns.stratification(model).max() > 1.02 * N2
        found.append(columns.entrainment_depth(model) if sharp else np.nan)
    return np.array(found)


def main() -> None:
    hours = np.arange(2, 49, 2)
    figure, (wind, cold) = plt.subplots(1, 2, figsize=(11, 4.2), sharey=True)
    for scheme, dt, style, label in RUNS:
        model = columns.column([1.0] * 60, dt, scheme, parameters={"mixing_richardson": 5e-3})
        for ax, flux in ((wind, {"stress": columns.RHO0 * FRICTION**2}), (cold, {"heat": -LOSS})):
            h = depths(model, hours, **flux)
            ax.plot(hours, h, style, ms=4, label=label)
            law = tank(hours) if ax is wind else cooled(hours)
            print(
                f"{label}: {'wind' if ax is wind else 'cooling'}, depth over the law "
                + ", ".join(f"{t} h {a / b:.3f}" for t, a, b in list(zip(hours, h, law))[5::6])
            )
    wind.plot(hours, tank(hours), "k--", label=r"$1.05\, u_* \sqrt{t/N}$ (Kato and Phillips)")
    band = cooled(hours), cooled(hours) * np.sqrt(1.4)
    cold.fill_between(hours, *band, color="0.85", label=r"$\sqrt{2 (1 + 2A) B t}/N$, A = 0 to 0.2")
    wind.set(
        title="wind stress, $u_*$ = 1 cm/s", xlabel="hours", ylabel="depth of the mixed layer (m)"
    )
    cold.set(title=f"heat loss of {LOSS:g} W m$^{{-2}}$", xlabel="hours", ylim=(45, 0))
    for ax in (wind, cold):
        ax.legend(fontsize=8, loc="lower left")
    figure.tight_layout()
    figure.savefig(ROOT / "docs" / "figures" / "vertical_mixing.png", dpi=90)


def tank(hours):
    """Depth (m) by wind."""
    return 1.05 * FRICTION * np.sqrt(hours * HOUR / np.sqrt(N2))


def cooled(hours):
    """Depth (m) by cooling alone."""
    return np.sqrt(2 * columns.buoyancy_flux(LOSS) * hours * HOUR / N2)


if __name__ == "__main__":
    main()
