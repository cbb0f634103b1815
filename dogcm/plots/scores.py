"""Pictures of scores: against lead time with the spread over seeds, maps of bias, spectra.

Rows are plain dictionaries with the columns ``variable, depth, lead_days, contender``, a score and
its ``..._std``, as a score table has them.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

# Contenders that others are measured against are drawn grey and dashed, so that colours mean
# models.
_REFERENCES = {"persistence": "--", "climatology": ":", "damped_persistence": "-."}
_LABELS = {
    "rmse": "RMSE",
    "acc": "anomaly correlation",
    "bias": "bias",
    "variance_ratio": "variance ratio",
}
_UNITS = {
    "temperature": "°C",
    "sst": "°C",
    "salinity": "g kg$^{-1}$",
    "eta": "m",
    "u": "m s$^{-1}$",
    "v": "m s$^{-1}$",
}
_LAND = "0.72"


class ScorePlotError(ValueError):
    """Nothing to draw; the message says what is there."""


def _pyplot():
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    return plt


def draw_by_lead(rows: list[dict], score: str, path, variables=None, depth: str = "all") -> Path:
    """A score against lead time: a panel per variable, a line per contender, the spread over seeds
    shaded.

    Args:
        score: a column of the rows, such as ``rmse`` or ``acc``. variables: default all that have
            the depth.

    Raises:
        ScorePlotError: no row fits.
    """
    plt = _pyplot()
    rows = [r for r in rows if r["depth"] == depth and np.isfinite(r.get(score, np.nan))]
    there = list(dict.fromkeys(r["variable"] for r in rows))
    variables = list(variables or there)
    if not variables or set(variables) - set(there):
        raise ScorePlotError(
            f"no {score} of {set(variables) - set(there) or 'anything'} at depth {depth!r}; have "
            f"{there}"
        )
    figure, axes = plt.subplots(
        1,
        len(variables),
        figsize=(4.2 * len(variables) + 1.2, 3.6),
        layout="constrained",
        squeeze=False,
    )
    for ax, name in zip(axes[0], variables):
        _lines(ax, [r for r in rows if r["variable"] == name], score)
        unit = f" ({_UNITS[name]})" if score in ("rmse", "bias") and name in _UNITS else ""
        ax.set(xlabel="lead time (days)", ylabel=_LABELS.get(score, score.replace("_", " ")) + unit)
        ax.set_title(name.replace("_", " "), loc="left", fontsize=11)
        ax.grid(alpha=0.3)
        if score == "rmse":
            ax.set_ylim(bottom=0)
        elif score in ("bias", "variance_ratio") or score.startswith("skill"):
            ax.axhline(1.0 if score == "variance_ratio" else 0.0, color="k", linewidth=0.6)
    axes[0][-1].legend(fontsize=8, loc="center left", bbox_to_anchor=(1.01, 0.5), frameon=False)
    return _save(plt, figure, path)


def _lines(ax, rows: list[dict], score: str) -> None:
    contenders = list(dict.fromkeys(r["contender"] for r in rows))
    colour = 0
    for contender in contenders:
        mine = sorted(
            (r for r in rows if r["contender"] == contender), key=lambda r: r["lead_days"]
        )
        x, y, spread = (
            np.array([r.get(k, 0.0) for r in mine]) for k in ("lead_days", score, f"{score}_std")
        )
        style: dict[str, object]
        if contender in _REFERENCES:
            style = dict(color="0.4", linestyle=_REFERENCES[contender])
        else:
            style = dict(color=f"C{colour}", marker="o", markersize=3)
            colour += 1
        ax.plot(x, y, label=contender.replace("_", " "), linewidth=1.5, **style)
        if (spread > 0).any():
            ax.fill_between(x, y - spread, y + spread, color=style["color"], alpha=0.2, linewidth=0)


def draw_bias_maps(
    maps: dict[str, np.ndarray], lat, lon, path, unit: str = "", title: str = "Bias"
) -> Path:
    """Maps of several contenders on one colour scale, symmetric about 0.

    Args:
        maps: contender to ``(ny, nx)``, NaN on land. lat, lon: ``(ny,)`` and ``(nx,)``, degrees (or
            km).

    Raises:
        ScorePlotError: no map, or no finite value.
    """
    finite = [np.abs(m[np.isfinite(m)]) for m in maps.values()]
    if not finite or not sum(f.size for f in finite):
        raise ScorePlotError("no bias map with a finite value to draw")
    import cmocean

    plt = _pyplot()
    # Single extreme cells should not make the rest pale.
    top = max(float(np.percentile(np.concatenate(finite), 99)), 1e-12)
    columns = min(len(maps), 2)
    lines = -(-len(maps) // columns)
    figure, axes = plt.subplots(
        lines,
        columns,
        figsize=(5.4 * columns + 0.6, 2.8 * lines + 0.3),
        layout="constrained",
        squeeze=False,
        sharex=True,
        sharey=True,
    )
    for ax in axes.flat[len(maps) :]:
        ax.set_visible(False)
    for ax, (name, values) in zip(axes.flat, maps.items()):
        ax.set_facecolor(_LAND)
        mesh = ax.pcolormesh(
            lon, lat, values, cmap=cmocean.cm.balance, vmin=-top, vmax=top, shading="nearest"
        )
        ax.set_title(name.replace("_", " "), loc="left", fontsize=10)
    figure.colorbar(
        mesh, ax=axes, label=f"{title} ({unit})" if unit else title, extend="both", shrink=0.9
    )
    return _save(plt, figure, path)


def draw_spectra(spectra: dict[str, np.ndarray], path, title: str = "", unit: str = "") -> Path:
    """Zonal spectra, log-log: name to ``(waves,)``, or ``(seeds, waves)`` with the range over seeds
    shaded.

    Raises:
        ScorePlotError: nothing to draw.
    """
    if not spectra:
        raise ScorePlotError("no spectrum to draw")
    plt = _pyplot()
    figure, ax = plt.subplots(figsize=(5.4, 3.8), layout="constrained")
    for n, (name, values) in enumerate(spectra.items()):
        values = np.atleast_2d(values)
        waves = np.arange(1, values.shape[1] + 1)
        colour = "k" if name == "truth" else f"C{n}"
        ax.loglog(waves, values.mean(0), label=name.replace("_", " "), color=colour, linewidth=1.5)
        if values.shape[0] > 1:
            ax.fill_between(
                waves, values.min(0), values.max(0), color=colour, alpha=0.2, linewidth=0
            )
    ax.set(xlabel="zonal wave number", ylabel=f"variance ({unit})" if unit else "variance")
    ax.set_title(title, loc="left", fontsize=11)
    ax.grid(alpha=0.3, which="both")
    ax.legend(fontsize=8, frameon=False)
    return _save(plt, figure, path)


def _save(plt, figure, path) -> Path:
    path = Path(path)
    figure.savefig(path, dpi=150, bbox_inches="tight", pad_inches=0.15)
    plt.close(figure)
    return path
