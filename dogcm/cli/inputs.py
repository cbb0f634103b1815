"""``dogcm inputs``: what is understood of input files."""

from __future__ import annotations

from pathlib import Path

from dogcm.cli.errors import FILE, OK


def show(target: str, sets: list[str], folder: str | None) -> int:
    """Print what is understood of a file, or of every input of an experiment.

    Args:
        target: netCDF file, name of an experiment, or YAML file.
        sets: ``key=value`` texts. folder: of the inputs, see
            :func:`dogcm.cli.configuration.configuration`.

    Returns:
        exit status: not 0 if an input of an experiment is refused.
    """
    from dogcm.setups import understood

    if Path(target).suffix.lower() not in ("", ".yaml", ".yml"):
        found = understood.variables_of(target)
        print("\n\n".join(u.text() for u in found))
        return OK
    return report(_configuration(target, sets, folder))


def _configuration(target: str, sets: list[str], folder: str | None):
    from dogcm.cli.configuration import configuration

    return configuration(target, sets, None, folder)


def report(config) -> int:
    """Print what is understood of every input file of an experiment."""
    from dogcm.setups import understood

    found = understood.inputs_of(config)
    print("\n\n".join(u.text() for u in found) or "this experiment reads no netCDF files")
    return FILE if any(u.refused for u in found) else OK
