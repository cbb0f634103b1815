"""``dogcm spinup``."""

from __future__ import annotations

from pathlib import Path

from dogcm.cli.console import console
from dogcm.cli.errors import OK
from dogcm.cli.running import given_folder
from dogcm.components.errors import ConfigError
from dogcm.setups.config import Config


def spinup(
    config: Config,
    variables: list[str],
    way: dict,
    output: str | None,
    restart: str | None,
    layout: str,
    quiet: bool,
) -> int:
    """Solve for an equilibrium and write it as a restart.

    Args:
        way: ``method``, ``tolerance`` and ``most_years``, see :func:`dogcm.equilibrium`.
        restart: file of the state whose year is recorded; None: the start of the experiment.

    Raises:
        ConfigError, EquilibriumError: see :func:`dogcm.equilibrium`. RestartError: see
            :func:`dogcm.io.restart.read_restart`.
    """
    from dogcm.io.restart import read_restart, restart_name, write_restart
    from dogcm.simulation.folder import write_config
    from dogcm.simulation.model import Model
    from dogcm.spinup import equilibrium

    if not variables:
        known = [v.name for v in config_tracers(config)]
        raise ConfigError(
            "name the tracers by --variable NAME; "
            + (f"there are {', '.join(known)}" if known else "the experiment declares none")
        )
    model = Model(config, layout=layout)
    if restart is not None:
        model.state = read_restart(restart, model)
    named = f"output/{config.name}_equilibrium" if output is None else given_folder(output)
    folder, out = Path(named), console()

    def report(line) -> None:
        if not quiet and model.comm.rank == 0:
            out.print(str(line), highlight=False, soft_wrap=True)

    found = equilibrium(model, variables, folder=folder, report=report, **way)
    path = write_restart(
        folder / restart_name(int(model.state.steps), config.run.restart_format), model
    )
    if model.comm.rank == 0:
        write_config(folder, config)
        out.print(
            f"{', '.join(variables)}: residual {found.residual:.3g} after {found.years:.1f} "
            f"model-year equivalents; go on from {path}",
            highlight=False,
            soft_wrap=True,
        )
    return OK


def config_tracers(config: Config) -> list:
    """The passive tracers that a configuration declares."""
    return [v for kind in config.tracers.values() for v in kind.variables()]
