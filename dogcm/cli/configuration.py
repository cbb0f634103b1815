"""The configuration that the options of a command ask for."""

from __future__ import annotations

from pathlib import Path

from dogcm.components.errors import ConfigError
from dogcm.setups.config import Config
from dogcm.setups.paths import with_inputs
from dogcm.setups.registry import load_config


def configuration(
    source, sets: list[str] = (), precision: str | None = None, inputs: str | None = None
) -> Config:
    """The configuration that the options of a command ask for.

    Args:
        source: name of an experiment or path of a YAML file.
        sets: ``key=value`` texts. precision: ``float64`` or ``float32``.
        inputs: folder of the experiment's own input files, see
            :func:`dogcm.setups.paths.with_inputs`.

    Raises:
        ConfigError: see :func:`dogcm.load_config`.
    """
    sets = list(sets) + ([f"run.precision={precision}"] if precision else [])
    if inputs is None:
        try:
            return load_config(source, sets)
        except ConfigError as error:
            if "needs a path" in str(error):
                raise ConfigError(
                    f"{source} reads its inputs from files that are not part of dogcm: give their "
                    f"folder by "
                    "--inputs FOLDER"
                ) from None
            raise
    folder = Path(inputs).expanduser().resolve()
    if not folder.is_dir():
        raise NotADirectoryError(0, "no such folder (--inputs)", str(inputs))
    return with_inputs(source, sets, folder)
