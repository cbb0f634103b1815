"""Evaluation of a training run on records that it has not seen."""

from __future__ import annotations

import csv
from dataclasses import replace
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np

from dogcm.experiments.progress import say
from dogcm.experiments.recipe import load_recipe
from dogcm.experiments.training import RECIPE_FILE, Setup, build, read_into, trainer_of
from dogcm.experiments.training_log import loss_figure
from dogcm.io.root import on_root
from dogcm.learning.losses import COMPARED, observe, squared_error
from dogcm.learning.saving import latest_checkpoint

EVALUATION_FILE = "evaluation.csv"
FORECASTS = ("trained", "uncorrected", "persistence")


def evaluate(folder: str | Path, *, days: float | None = None, windows: int = 8, layout: str = "auto", comm=None):
    """Root mean square errors by lead of the trained model, of the model before training, and of persistence.

    Every rank calls it. Results go to ``evaluation.csv`` and figures in ``folder``.

    Args:
        folder: of a training run. days: longest lead; default: the longest rollout of its curriculum.
        windows: at most so many test windows, evenly spread.

    Returns:
        ``{variable: {forecast: array (leads,)}}`` in the unit of the variable, and the leads in days.

    Raises:
        FileNotFoundError, CheckpointError: no training there.
    """
    folder = Path(folder)
    if not (folder / RECIPE_FILE).is_file():
        raise FileNotFoundError(0, "no training run (recipe.yaml is missing)", str(folder))
    # All ranks are tiles here, however many groups there were in training.
    recipe = load_recipe(folder / RECIPE_FILE, {"groups": 1})
    setup = build(recipe, folder, layout, comm)
    trainer = trainer_of(setup)
    tree, _ = read_into(trainer, on_root(setup.ranks.comm, latest_checkpoint, folder), setup)
    longest = days or max(s.days for s in setup.recipe.curriculum)
    steps = setup.steps(longest, "days")
    scores = errors_by_lead(setup, tree["now"].average, steps, windows)
    leads = np.arange(1, steps // setup.every + 1) * setup.recipe.targets.every
    comm = setup.ranks.comm
    on_root(comm, _write, folder, scores, leads)
    say(comm, table(scores, leads))
    return scores, leads


def errors_by_lead(setup: Setup, trained: dict, steps: int, windows: int) -> dict[str, dict[str, np.ndarray]]:
    """Root mean square errors over the test windows."""
    model, names = setup.model, list(setup.recipe.loss.factors)
    count = setup.test.count(steps)
    if count < 1:
        raise ValueError(
            f"no test window is long enough for leads of {steps} steps: give shorter --days, or raise targets.days "
            "or targets.test in the recipe"
        )
    chosen = np.unique(np.linspace(0, count - 1, min(count, windows)).round().astype(int))
    plain = squared_error(model.halos, model.grid, {n: 1.0 for n in names}, {n: 1.0 for n in names}, "volume")
    uncorrected = replace(setup.problem, step=model.step, learn=None)
    forecast = {
        "trained": jax.jit(lambda t, s, f: setup.problem.forecast(t, s, f, steps, names)),
        "uncorrected": jax.jit(lambda t, s, f: uncorrected.forecast({}, s, f, steps, names)),
        "persistence": jax.jit(lambda t, s, f: _persistence(s, names, steps // setup.every)),
    }
    measure = jax.jit(lambda p, w: jax.tree.map(model.halos.psum, plain.by_time(p, w.values, w.valid)))
    total = {n: {f: 0.0 for f in FORECASTS} for n in names}
    for index in chosen:
        window = setup.test.window(int(index), steps)
        for kind in FORECASTS:
            squares = measure(forecast[kind](trained, window.state, setup.fixed), window)
            for n in names:
                total[n][kind] = total[n][kind] + np.asarray(squares[n]) / len(chosen)
    return {n: {f: np.sqrt(v) for f, v in by.items()} for n, by in total.items()}


def _persistence(state, names, count: int):
    now = observe(state, names)
    return {n: f.with_data(jnp.broadcast_to(f.data, (count, *f.shape))) for n, f in now.items()}


def table(scores, leads) -> str:
    """Errors at the first, a middle and the last lead."""
    chosen = sorted({0, len(leads) // 2, len(leads) - 1})
    lines = ["root mean square error on test windows"]
    lines.append("variable     forecast     " + "".join(f"{leads[k]:>9g} d" for k in chosen))
    for name, by in scores.items():
        lines += [f"{name:<12} {kind:<12} " + "".join(f"{v[k]:11.4g}" for k in chosen) for kind, v in by.items()]
    return "\n".join(lines)


def _write(folder: Path, scores, leads) -> None:
    with open(folder / EVALUATION_FILE, "w", newline="") as file:
        rows = csv.writer(file)
        rows.writerow(["variable", "lead_days", *FORECASTS])
        for name, by in scores.items():
            rows.writerows([name, lead, *(repr(float(by[f][k])) for f in FORECASTS)] for k, lead in enumerate(leads))
    _figure(folder, scores, leads)
    loss_figure(folder)


def _figure(folder: Path, scores, leads) -> None:
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    size = (4 * len(scores), 3.2)
    figure, axes = pyplot.subplots(1, len(scores), figsize=size, layout="constrained", squeeze=False)
    for ax, (name, by) in zip(axes[0], scores.items()):
        for kind, style in zip(FORECASTS, ("-o", "--s", ":")):
            ax.plot(leads, by[kind], style, ms=3, label=kind)
        ax.set(xlabel="lead (days)", ylabel=f"RMSE ({COMPARED[name][2]})", title=name)
        ax.grid(alpha=0.3)
    axes[0][0].legend()
    figure.savefig(folder / "evaluation.png", dpi=120)
    pyplot.close(figure)


__all__ = ["errors_by_lead", "evaluate", "table"]
