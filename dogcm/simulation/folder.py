"""The folder of a run: checks before the first step, and the files that say what the run was."""

from __future__ import annotations

import json
import socket
import sys
import tempfile
from datetime import UTC, datetime
from pathlib import Path

import jax
import yaml

import dogcm
from dogcm.diagnostics.files import CIRCULATION_FILE, MONITOR_FILE
from dogcm.io.restart import restarts_in
from dogcm.io.root import OutputError, free_bytes, megabytes
from dogcm.io.whole import discard, whole_file
from dogcm.setups.paths import absolute_paths

RUN_FILE, CONFIG_FILE = "run.json", "config.yaml"


def check_folder(folder: Path, config, overwrite: bool, restart_from: Path | None) -> bool:
    """See that a run may write into ``folder``, and make it; nothing is changed in it. Rank 0 calls
    it.

    Returns:
        Whether the run continues the one in ``folder``: it starts from one of its restarts.

    Raises:
        OutputError: not writable, or it holds a run that would be lost.
    """
    _check_writable(folder)
    continues = restart_from is not None and restart_from.resolve().parent == folder.resolve()
    found = _existing(folder, config)
    if overwrite or not found:
        return continues and not overwrite
    name, status = _earlier_run(folder)
    if name == config.name and continues:
        return True
    if name not in (None, config.name):
        held = f"a run of {name}"
    else:
        held = (
            f"a run of this experiment ({status})"
            if name
            else f"files of an earlier run ({found[0]})"
        )
    advice = (
        "or continue it from its last restart" if name == config.name else "or the right folder"
    )
    raise OutputError(
        f"{folder} holds {held}: choose another output folder, allow it to be overwritten "
        f"(--overwrite), "
        f"{advice}"
    )


def _check_writable(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        raise OutputError(
            f"cannot write into the output folder {folder} ({error.strerror or error}); choose "
            f"another one"
        ) from None


def _existing(folder: Path, config) -> list[str]:
    """Files of an earlier run that this one would write over."""
    names = [
        RUN_FILE,
        MONITOR_FILE,
        CONFIG_FILE,
        CIRCULATION_FILE,
        *(n + suffix for n in config.run.output for suffix in (".nc", ".zarr")),
    ]
    found = [n for n in names if (folder / n).exists()]
    return found + [p.name for p in restarts_in(folder)]


def _earlier_run(folder: Path) -> tuple[str | None, str]:
    """Experiment and status of the run in ``folder``; None if it does not say."""
    try:
        info = json.loads((folder / RUN_FILE).read_text(encoding="utf-8"))
        return str(info["experiment"]), str(info["status"])
    except (OSError, ValueError, KeyError, TypeError):
        return None, "unknown"


def compile_seconds(folder: Path) -> float | None:
    """How long the last run in ``folder`` compiled (s); None if it does not say."""
    try:
        info = json.loads((folder / RUN_FILE).read_text(encoding="utf-8"))
        return float(info["compile_seconds"])
    except (OSError, ValueError, KeyError, TypeError):
        return None


def clear_folder(folder: Path, config, keep: Path | None) -> None:
    """Remove the earlier run's files, but not ``keep``."""
    for name in _existing(folder, config):
        path = folder / name
        if keep is None or path.resolve() != keep.resolve():
            discard(path)


def check_space(folder: Path, needs: dict[str, int]) -> None:
    """Compare what the run will write with what is free.

    Raises:
        OutputError: with the largest items.
    """
    need, free = sum(needs.values()), free_bytes(folder)
    if need > free:
        items = ", ".join(
            f"{n} {megabytes(b)}" for n, b in sorted(needs.items(), key=lambda kv: -kv[1])[:4]
        )
        raise OutputError(
            f"the run would write up to {megabytes(need)} into {folder} ({items}), but "
            f"{megabytes(free)} "
            "are free: write fewer variables or less often (run.output), keep fewer restarts, or "
            "choose another "
            "folder"
        )


def configuration_text(config) -> str:
    """The full configuration as files hold it (JSON)."""
    return json.dumps(absolute_paths(config.model_dump(mode="json")), separators=(",", ":"))


def write_config(folder: Path, config) -> None:
    """The full configuration, ready to be run again."""
    tree = absolute_paths(config.model_dump(mode="json"))
    text = yaml.safe_dump(tree, sort_keys=False, allow_unicode=True)
    (folder / CONFIG_FILE).write_text(text, encoding="utf-8")


class RunRecord:
    """``run.json``: what was run, where, by which command, and how it ended."""

    def __init__(self, folder: Path, model, days: float, restart_from):
        self._path = folder / RUN_FILE
        self._content = {
            "experiment": model.config.name,
            "status": "running",
            "dogcm_version": dogcm.__version__,
            "command": " ".join(sys.argv),
            "started": now(),
            "finished": None,
            "days": days,
            "restart_from": str(restart_from) if restart_from else None,
            "layout": model.layout.describe(),
            "tiles": [model.layout.px, model.layout.py],
            "ranks": model.comm.size,
            "host": socket.gethostname(),
            "jax_version": jax.__version__,
            "backend": jax.default_backend(),
            "precision": model.dtype.name,
        }

    def write(self, **changes) -> None:
        """Write the file as a whole, with the given entries changed."""
        self._content.update(changes)
        with whole_file(self._path) as partial:
            partial.write_text(json.dumps(self._content, indent=1) + "\n", encoding="utf-8")


def provenance(model) -> dict[str, str]:
    """Global attributes that tell where a file comes from."""
    c = model.config
    return {
        "title": c.description or c.name,
        "source": f"dogcm {dogcm.__version__}",
        "experiment": c.name,
        "history": f"{now()}: {' '.join(sys.argv)}",
        "date_created": now(),
        "precision": model.dtype.name,
        "configuration": configuration_text(c),
    }


def now() -> str:
    """Date and time, UTC, ISO 8601."""
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
