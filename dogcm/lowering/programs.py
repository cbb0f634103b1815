"""Compiled programs are kept in a folder of the user's: nobody waits for the compiler twice.

JAX's own cache on disk does most of this. Its folder is replaced by one that survives what happens
to files: entries are written whole or not at all, a damaged one is recognised and removed, the
oldest go when the folder is full, and a disk without room costs no more than the entry.
Programs that exchange halos through MPI hold addresses of one process and are not kept.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import platform
import tempfile
import warnings
from pathlib import Path

import jax

#: Names a folder, or is ``off``.
VARIABLE = "DOGCM_CACHE"
#: Bytes that a folder may hold.
LIMIT = 2 << 30
# Seconds of compiling.
_WORTH_KEEPING = 0.05
_ENDING, _DIGEST = ".program", hashlib.sha256().digest_size


def keep_programs() -> Path | None:
    """Have JAX keep what it compiles from now on, and use what it has kept.

    The folder is ``programs`` in ``DOGCM_CACHE``, else in ``dogcm`` where the system keeps caches
    (``$XDG_CACHE_HOME`` or ``~/.cache``); each kind of machine has one in it. Nothing is done where
    the user has given JAX a cache (``JAX_COMPILATION_CACHE_DIR``), where ``DOGCM_CACHE=off``, and
    where the folder cannot be used.

    Returns:
        the folder, or None.
    """
    if _folder() or os.environ.get(VARIABLE) == "off":
        return _kept_in()
    folder = _place() / _machine()
    try:
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        _only_mine(folder)
        from jax._src import compilation_cache

        compilation_cache.reset_cache()
        compilation_cache._cache = _store(folder)
        compilation_cache._cache_initialized = True
    except (OSError, RuntimeError, ImportError, AttributeError) as error:
        # Compiling anew is slower and no less right.
        if os.environ.get(VARIABLE):
            warnings.warn(f"{VARIABLE}: compiled programs are not kept: {error}", stacklevel=2)
        return None
    jax.config.update("jax_compilation_cache_dir", str(folder))
    if "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS" not in os.environ:
        jax.config.update("jax_persistent_cache_min_compile_time_secs", _WORTH_KEEPING)
    return folder


def _folder() -> str | None:
    """The folder of JAX's cache."""
    return jax.config.values["jax_compilation_cache_dir"]


def _kept_in() -> Path | None:
    """The folder that an earlier call has chosen."""
    folder = _folder()
    return Path(folder) if folder and Path(folder).parent.name == "programs" else None


def _place() -> Path:
    chosen = os.environ.get(VARIABLE)
    if chosen:
        return Path(chosen).expanduser() / "programs"
    caches = os.environ.get("XDG_CACHE_HOME")
    home = Path(caches) if caches else Path("~/.cache").expanduser()
    return home / "dogcm" / "programs"


def _machine() -> str:
    """Name of the kind of machine: what a program may use there is compiled into it.

    JAX's keys hold the program, versions and flags; they hold neither the processor nor the number
    of its cores, over which loops are shared when they are compiled.
    """
    flags = ""
    with contextlib.suppress(OSError), open("/proc/cpuinfo") as file:
        kinds = ("flags", "Features", "model name")
        flags = "".join(sorted({line for line in file if line.startswith(kinds)}))
    count = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    said = f"{platform.machine()} {platform.processor()} {flags} {jax.__version__}"
    return f"{platform.machine()}-{count}-{hashlib.sha256(said.encode()).hexdigest()[:12]}"


def _only_mine(folder: Path) -> None:
    """What lies there is run: nobody else may write it."""
    if not hasattr(os, "getuid"):
        return
    found = folder.stat()
    if found.st_uid != os.getuid() or found.st_mode & 0o022:
        raise PermissionError(f"{folder} can be written by others")


def _store(folder: Path):
    """A cache of JAX's kind in ``folder``."""
    from jax._src.compilation_cache_interface import CacheInterface

    class Store(CacheInterface):
        """Entries are a digest and what it is of."""

        def __init__(self) -> None:
            self._path = folder

        def get(self, key: str) -> bytes | None:
            return read_entry(folder, key)

        def put(self, key: str, value: bytes) -> None:
            try:
                write_entry(folder, key, value)
            except OSError as error:
                warnings.warn(f"a compiled program is not kept: {error}", stacklevel=2)

    return Store()


def read_entry(folder: Path, key: str) -> bytes | None:
    """What is kept under ``key``; None, and the file is removed, if it is damaged."""
    file = _file(folder, key)
    try:
        content = file.read_bytes()
        if hashlib.sha256(content[_DIGEST:]).digest() != content[:_DIGEST]:
            file.unlink(missing_ok=True)
            return None
        os.utime(file)
    except OSError:
        return None
    return content[_DIGEST:]


def write_entry(folder: Path, key: str, value: bytes, limit: int = LIMIT) -> None:
    """Keep ``value``, whole or not at all, and remove the longest unused beyond ``limit`` bytes.

    Raises:
        OSError: the folder cannot be written, or the disk has no room.
    """
    if _DIGEST + len(value) > limit:
        return
    number, name = tempfile.mkstemp(dir=folder, suffix=".partial")
    try:
        with os.fdopen(number, "wb") as file:
            file.write(hashlib.sha256(value).digest() + value)
        os.replace(name, _file(folder, key))
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise
    _remove_oldest(folder, limit)


def _file(folder: Path, key: str) -> Path:
    return folder / f"{hashlib.sha256(key.encode()).hexdigest()}{_ENDING}"


def _remove_oldest(folder: Path, limit: int) -> None:
    """Other processes may do the same at the same time."""
    found = []
    for file in folder.iterdir():
        with contextlib.suppress(OSError):
            state = file.stat()
            found.append((state.st_mtime, state.st_size, file))
    size = sum(s for _, s, _ in found)
    for _, freed, file in sorted(found):
        if size <= limit:
            return
        with contextlib.suppress(OSError):
            file.unlink()
            size -= freed
