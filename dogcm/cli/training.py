"""``dogcm train``, ``dogcm evaluate`` and ``dogcm compare``."""

from __future__ import annotations

from pathlib import Path

from dogcm.cli.errors import OK, UNFINISHED


def train(
    source: str,
    sets: list[str],
    output: str | None,
    resume: bool,
    overwrite: bool,
    updates: int | None,
    layout: str,
    quiet: bool,
) -> int:
    """Train as a recipe says. Returns :data:`UNFINISHED` if it was asked to stop before the end.

    Raises:
        ConfigError: the recipe cannot be used. OutputError, CheckpointError, TrainingError: see
            :func:`dogcm.learning.training.train`.
    """
    from dogcm.learning import training
    from dogcm.learning.recipe import load_recipe

    recipe = load_recipe(source, sets)
    folder = Path(output or f"output/{recipe.name}")
    if recipe.sweep:
        return _sweep(source, sets, folder, resume, overwrite, updates, layout, quiet)
    trainer = training.train(
        recipe,
        folder,
        resume=resume,
        overwrite=overwrite,
        updates=updates,
        layout=layout,
        quiet=quiet,
    )
    wanted = trainer.updates if updates is None else updates
    if trainer.ranks.is_root:
        from dogcm.learning.training_log import loss_figure

        loss_figure(folder)
    return OK if trainer.progress.update >= wanted else UNFINISHED


def _sweep(source, sets, folder, resume, overwrite, updates, layout, quiet) -> int:
    """Train all members of a sweep, and print them side by side."""
    import typer

    from dogcm.components.errors import ConfigError
    from dogcm.decomp import world
    from dogcm.evaluation.comparison import compare_trainings, markdown
    from dogcm.learning.sweep import members_of, train_sweep

    if updates is not None:
        raise ConfigError("--updates: the trainings of a sweep end as its curriculum says")
    if resume and overwrite:
        raise ConfigError("--resume and --overwrite exclude each other")
    done = train_sweep(source, folder, sets, overwrite=overwrite, layout=layout, quiet=quiet)
    if done and world().rank == 0:
        found = compare_trainings(list(done))
        for rows in (found.summaries(), found.differences()):
            typer.echo(f"{markdown(rows)}\n")
    return OK if len(done) == len(members_of(source, sets)) else UNFINISHED


def evaluate(
    folder: str,
    days: float | None,
    windows: int,
    free: float | None,
    against: list[str],
    layout: str,
) -> int:
    """Score a training run; see :func:`dogcm.evaluation.evaluation.evaluate`."""
    from dogcm.evaluation.evaluation import evaluate as run

    run(folder, days=days, windows=windows, free=free, against=against, layout=layout)
    return OK


def compare(folders: list[str], page: str | None) -> int:
    """Print trainings side by side, and write a page about them if asked to.

    Raises:
        ConfigError: see :func:`dogcm.evaluation.comparison.compare_trainings`.
    """
    import typer

    from dogcm.evaluation.comparison import compare_trainings, markdown
    from dogcm.evaluation.report import write_report

    found = compare_trainings(list(folders))
    tables = (found.summaries(), found.differences(), found.scores())
    for text in [*found.notes(), *(markdown(rows) for rows in tables)]:
        if text:
            typer.echo(f"{text}\n")
    if page is not None:
        typer.echo(str(write_report(found, page)))
    return OK
