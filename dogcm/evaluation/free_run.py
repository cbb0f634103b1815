"""Free runs of several models from one state: drift and stability."""

from __future__ import annotations

import csv
from pathlib import Path

from dogcm.diagnostics.monitor import Reading
from dogcm.io.root import on_root
from dogcm.simulation.progress import say

FREE_FILE = "free_run.csv"
_POINTS = 60
_SHOWN = {
    "temperature_drift": "drift of mean temperature (°C)",
    "salinity_drift": "drift of mean salinity (g kg$^{-1}$)",
    "kinetic_energy": "kinetic energy (J m$^{-3}$)",
    "speed": "largest speed (m s$^{-1}$)",
}


def free_run(model, state, contenders: list, steps: int, every: int, folder: Path) -> list[dict]:
    """Run each contender for ``steps`` and follow its global means, until it is no longer finite.

    Every rank calls it. Results go to ``free_run.csv`` and ``free_run.png``.

    Args:
        model: whose monitor reads. state: where all start.
        contenders: see :class:`dogcm.evaluation.evaluation.Contender`.
        every: readings are a multiple of so many steps apart, about 60 in all.

    Returns:
        rows with ``contender``, ``days`` since the start, the columns of
        :class:`dogcm.diagnostics.monitor.Reading`, and the drifts of mean temperature and salinity.
    """
    interval = every * max(1, round(steps / every / _POINTS))
    rows = []
    names = [c.name for c in contenders]
    for contender in contenders:
        twice = names.count(contender.name) > 1
        name = f"{contender.name} (seed {contender.seed})" if twice else contender.name
        now = state
        rows.append(_row(name, first := model.monitor(now, model.grid), first))
        done = 0
        while done < steps and rows[-1]["finite"]:
            count = min(interval, steps - done)
            now = contender.run(now, count)
            done += count
            rows.append(_row(name, model.monitor(now, model.grid), first))
    on_root(model.comm, _write, Path(folder), rows)
    say(model.comm, text(rows))
    return rows


def _row(name: str, r: Reading, first: Reading) -> dict:
    values = {k: getattr(r, k) for k in Reading.names()}
    return {
        "contender": name,
        "days": (r.time - first.time) / 86400.0,
        "temperature_drift": r.temperature - first.temperature,
        "salinity_drift": r.salinity - first.salinity,
        **values,
    }


def text(rows: list[dict]) -> str:
    """One line on each contender."""
    lines = ["free run"]
    for name in dict.fromkeys(r["contender"] for r in rows):
        last = [r for r in rows if r["contender"] == name][-1]
        state = "stable" if last["finite"] else "BLEW UP"
        lines.append(
            f"{name:<12} {last['days']:g} days, {state}: drift of mean temperature "
            f"{last['temperature_drift']:+.3g} degC, salinity {last['salinity_drift']:+.3g} g/kg; "
            f"largest speed {last['speed']:.3g} m/s"
        )
    return "\n".join(lines)


def _write(folder: Path, rows: list[dict]) -> None:
    with open(folder / FREE_FILE, "w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(1, 4, figsize=(14, 3.2), layout="constrained")
    for ax, (key, label) in zip(axes, _SHOWN.items()):
        for name in dict.fromkeys(r["contender"] for r in rows):
            mine = [r for r in rows if r["contender"] == name and r["finite"]]
            ax.plot([r["days"] for r in mine], [r[key] for r in mine], label=name)
        ax.set(xlabel="days", ylabel=label)
        ax.grid(alpha=0.3)
    axes[0].legend()
    figure.savefig(folder / "free_run.png", dpi=120)
    pyplot.close(figure)


__all__ = ["FREE_FILE", "free_run"]
