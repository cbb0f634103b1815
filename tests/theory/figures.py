"""Figures of docs/verification.md: ``python tests/theory/figures.py [FOLDER]``."""

from __future__ import annotations

import sys
from pathlib import Path

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
import numpy as np
from test_theory_balance import adjusted, gyre, linear_gyre, munk_profile
from test_theory_transport import bump, cell_means, rotating, wave_errors

DEFAULT = Path(__file__).resolve().parents[2] / "docs" / "figures"


def adjustment(axes) -> None:
    """Sea level and flow after geostrophic adjustment."""
    y, eta, u, gill_eta, gill_u, _ = adjusted()
    for ax, model, theory, label in zip(
        axes, (eta, u), (gill_eta, gill_u), ("sea level / half step", "flow / jet")
    ):
        ax.plot(y, theory, "k-", lw=1, label="Gill (1982)")
        ax.plot(y, model, "C0o", ms=3, label="model")
        ax.set(xlim=(-4, 4), xlabel="y / Rossby radius", ylabel=label)
        ax.legend(frameon=False)


def munk(axes) -> None:
    """Streamfunction along mid-latitude."""
    for ax, no_slip in zip(axes, (False, True)):
        g = gyre(no_slip)
        n, unit = g["n"], g["sverdrup"] * g["size"]
        fine = np.linspace(0, g["size"], 600)
        ax.plot(fine / 1e3, munk_profile(g, fine, no_slip) / unit, "k-", lw=1, label="Munk (1950)")
        if no_slip:
            section = linear_gyre(g, 3 * n)[3 * n // 2] / unit
            ax.plot(
                np.linspace(0, g["size"], 3 * n + 1) / 1e3, section, "k:", label="all four walls"
            )
        ax.plot(
            np.arange(n + 1) * g["d"] / 1e3, g["psi"][n // 2] / unit, "C0o", ms=3, label="model"
        )
        ax.set(xlabel="x (km)", ylabel="transport / Sverdrup's", ylim=(-0.05, 1.45))
        ax.set_title("no slip" if no_slip else "free slip")
        ax.legend(frameon=False)


def advection(axes) -> None:
    """Convergence, and a section through the bump after one turn."""
    sizes = np.array([20, 40, 80, 160])
    for k, scheme in enumerate(("upwind", "dst3")):
        errors = wave_errors(scheme, sizes)
        axes[0].loglog(sizes, errors, f"C{k}o-", ms=4, label=scheme)
    axes[0].loglog(sizes, 0.2 * (20 / sizes), "k:", lw=1, label="orders 1 and 3")
    axes[0].loglog(sizes, 0.014 * (20 / sizes) ** 3, "k:", lw=1)
    axes[0].set_xticks(sizes, [str(s) for s in sizes])
    axes[0].minorticks_off()
    axes[0].set(xlabel="cells per wavelength", ylabel="r.m.s. error after one period")
    n = 64
    c0 = cell_means(lambda x, y: bump(x, y, 0.08), n)
    x = (np.arange(n) + 0.5) / n - 0.5
    axes[1].plot(x, c0[n // 2], "k-", lw=1, label="exact")
    for k, scheme in enumerate(("upwind", "dst3", "dst3_limited")):
        axes[1].plot(x, rotating(n, scheme).carry(c0, 20 * n)[n // 2], f"C{k}-", label=scheme)
    axes[1].set(xlabel="x", ylabel="tracer after one turn", xlim=(-0.2, 0.65))
    for ax in axes:
        ax.legend(frameon=False)


def main(folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for draw in (adjustment, munk, advection):
        figure, axes = plt.subplots(1, 2, figsize=(8, 3), constrained_layout=True)
        draw(axes)
        figure.savefig(folder / f"theory_{draw.__name__}.png", dpi=90)
        plt.close(figure)


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else DEFAULT)
