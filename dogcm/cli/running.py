"""``dogcm run`` and ``dogcm restart``."""

from __future__ import annotations

from pathlib import Path

from dogcm.cli.configuration import configuration
from dogcm.cli.errors import OK, UNFINISHED
from dogcm.components.errors import ConfigError
from dogcm.setups.config import Config

DEFAULT_DAYS = 30.0


def duration(config: Config, days: float | None, years: float | None) -> float:
    """Length of a run in days.

    Raises:
        ConfigError: both or a negative length given.
    """
    if days is not None and years is not None:
        raise ConfigError("give --days or --years, not both")
    length = (
        years * config.forcing.year if years is not None else DEFAULT_DAYS if days is None else days
    )
    if not 0 < length < 1e7:
        raise ConfigError(f"a run of {length:g} days: the length must be above 0")
    return length


def given_folder(output: str) -> str:
    """The word after ``--output``.

    Raises:
        ConfigError: it is empty.
    """
    if not output.strip():
        raise ConfigError("--output is empty: name a folder, or leave it out")
    return output


def start(
    config: Config,
    layout: str,
    days: float,
    output: str | None,
    options: dict,
    resume: bool = False,
) -> int:
    """Run from the beginning. ``options`` as :func:`dogcm.simulation.run.run` takes them.

    With ``resume`` the run goes on from the newest restart in its folder, if there is one, until
    ``days`` are done in all; it returns :data:`UNFINISHED` if it was asked to stop before, so that
    a job script knows to start it again.
    """
    from dogcm.io.restart import lacking
    from dogcm.simulation.model import Model

    folder = Path(f"output/{config.name}" if output is None else given_folder(output))
    model = Model(config, layout=layout)
    newest, done = model.comm.broadcast(
        _progress_of(folder) if resume and model.comm.rank == 0 else (None, 0.0)
    )
    cold = options.get("cold", [])
    if newest:
        # A job script that says the same again and again must not begin anew each time.
        options = options | {"restart_from": newest, "cold": lacking(newest, model, cold)}
    elif cold:
        options = options | {"cold": []}
    if days - done < 1e-9:
        if model.comm.rank == 0:
            print(f"{folder}: {days:g} days are done already")
        return OK
    reading = model.run(days - done, folder, **options)
    unfinished = reading.time < days * 86400.0 - 0.5 * model.physics.dt
    return UNFINISHED if resume and unfinished else OK


def _progress_of(folder: Path) -> tuple[Path | None, float]:
    """The newest restart in ``folder`` and the days it stands at; None and 0 without one."""
    from dogcm.io.restart import latest_restart, restart_days, restarts_in

    if not restarts_in(folder):
        return None, 0.0
    newest = latest_restart(folder)
    return newest, restart_days(newest)


def go_on(
    path, days, years, sets: list[str], output: str | None, layout: str, options: dict
) -> int:
    """Continue from a restart with the configuration beside it.

    Args:
        path: output folder (its newest restart is taken) or restart file.
        output: folder to write to; default: that of the restart.

    Raises:
        FileNotFoundError, RestartError: no such folder, restart or configuration.
    """
    from dogcm.io.restart import is_restart, latest_restart
    from dogcm.simulation.model import Model

    path = Path(path)
    if not path.exists():
        raise FileNotFoundError(f"no such output folder or restart file: {path}")
    file = path if is_restart(path) else latest_restart(path)
    beside = file.parent / "config.yaml"
    if not beside.is_file():
        raise FileNotFoundError(
            f"{beside} is missing: a restart is continued with the configuration it was made with"
        )
    config = configuration(str(beside), sets)
    length = duration(config, days, years)
    folder = file.parent if output is None else Path(given_folder(output))
    Model(config, layout=layout).run(length, folder, restart_from=file, **options)
    return OK


def dry_run(config: Config, layout: str, days: float, binding) -> int:
    """Show what a run would be and what it reads; see :mod:`dogcm.cli.estimate`."""
    from dogcm.cli import estimate, inputs
    from dogcm.simulation.model import Model

    model = Model(config, layout=layout)
    if model.comm.rank == 0:
        inputs.report(config)
        print()
    return estimate.show(model, days, binding)
