"""The configuration that the options of a command ask for."""

from __future__ import annotations

from pathlib import Path

from dogcm.components.errors import ConfigError
from dogcm.setups.config import Config
from dogcm.setups.registry import load_config

_OWN_FILES = ("mitgcm", "file")
_SECTIONS = ("bathymetry", "initial", "forcing")


def configuration(
    source, sets: list[str] = (), precision: str | None = None, inputs: str | None = None
) -> Config:
    """The configuration that the options of a command ask for.

    Args:
        source: name of an experiment or path of a YAML file.
        sets: ``key=value`` texts. precision: ``float64`` or ``float32``.
        inputs: folder for the inputs that the experiment reads from its own files: the folder
            itself where the source is ``mitgcm``, the folder of a relative path where it is
            ``file``.

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


def with_inputs(source, sets: list[str], folder: Path) -> Config:
    """The configuration with its own input files in ``folder``; see :func:`configuration`."""
    # First with a path that satisfies the checks, to learn which sources there are; the user's own
    # paths win.
    unset = "?"
    tree = load_config(
        load_config(source, {f"{s}.path": unset for s in _SECTIONS}), sets
    ).model_dump()
    for name in _SECTIONS:
        section = tree[name]
        given = "" if section["path"] == unset else section["path"]
        if section["source"] == "mitgcm":
            section["path"] = given or str(folder)
        else:
            section["path"] = (
                str(folder / given) if given and section["source"] == "file" else given
            )
    for entry in tree["forcing"]["files"].values():
        entry["path"] = str(folder / entry["path"])
    return load_config(tree)
