"""Restarts: complete, checksummed, written atomically, independent of the layout.

A restart holds global arrays, all variables of the state at full precision, as a netCDF file
(:mod:`dogcm.io.restart_netcdf`) or as a zarr store (:mod:`dogcm.io.restart_zarr`); its suffix says
which. It is written beside its final name and renamed when it is safe on disk, so what has that
name is always whole. Its data have SHA-256 checksums, and its header has one of its own.
"""

from __future__ import annotations

import hashlib
import json
import math
import re
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from dogcm.components import ConfigError
from dogcm.dynamics import coriolis_cd
from dogcm.dynamics.coriolis_cd import D_GRID
from dogcm.field import Field, exchange
from dogcm.io import cold as parts
from dogcm.io import intervals as opened
from dogcm.io.description import Entry
from dogcm.io.intervals import OpenInterval
from dogcm.io.restart_file import Part, RestartFile
from dogcm.io.restart_netcdf import NetcdfRestart
from dogcm.io.restart_zarr import ZarrRestart
from dogcm.io.root import OutputError, on_root
from dogcm.timestepping.state import HISTORY_U, HISTORY_V, State

_FORMAT = 1
_HEADER = ("format", "time", "steps", "dt", "scheme", "grid", "precision")
_MARGIN_BYTES = 1 << 20
FORMATS: dict[str, type[RestartFile]] = {"netcdf": NetcdfRestart, "zarr": ZarrRestart}
_NAME = re.compile(r"restart_(\d{9,})\.(nc|zarr)")
# What reading a damaged file may raise.
_DAMAGE = (OSError, RuntimeError, AttributeError, LookupError, TypeError, ValueError)


class RestartError(ValueError):
    """A restart that cannot be used; the message says why and what to do. Nothing was changed."""


def restart_bytes(model) -> int:
    """Upper limit of the size of a restart in bytes."""
    ny, nx = model.horizontal.shape
    levels = sum(f.shape[0] if f.ndim == 3 else 1 for f in model.state.variables().values())
    return levels * ny * nx * model.dtype.itemsize + _MARGIN_BYTES


def restart_name(step: int, format: str = "netcdf") -> str:
    """Name of the restart written after ``step`` steps, of a file or (``zarr``) a folder."""
    return f"restart_{step:09d}{FORMATS[format].suffix}"


def is_restart(path: Path) -> bool:
    """Whether a path may be a restart itself, rather than a folder with restarts."""
    return path.is_file() or (path.is_dir() and path.suffix == ZarrRestart.suffix)


def _kind(path: Path) -> type[RestartFile]:
    return ZarrRestart if path.suffix == ZarrRestart.suffix else NetcdfRestart


def is_restart_name(name: str) -> bool:
    """Whether a run itself may have written a restart of this name: not an output file of a user's
    that begins alike, nor a copy kept beside it."""
    return _NAME.fullmatch(name) is not None


def restarts_in(folder: str | Path) -> list[Path]:
    """The restarts of a run's folder, oldest first by the model time inside them.

    The step in the name is no clock: it counts anew where a run goes on with another time step.
    Files that cannot be read come last.
    """
    found = [p for p in Path(folder).glob("restart_*") if is_restart_name(p.name)]
    return sorted(found, key=lambda p: (_time_inside(p), p.name))


def _time_inside(path: Path) -> float:
    """Model time (days); infinity where the file does not tell."""
    try:
        return restart_days(path)
    except RestartError:
        return math.inf


def latest_restart(folder: str | Path) -> Path:
    """The newest restart of a run's folder, by the model time inside.

    Raises:
        RestartError: if there is none, or one whose age cannot be read.
    """
    found = restarts_in(folder)
    if not found:
        raise RestartError(f"no restart (restart_NUMBER.nc or .zarr) in {folder}")
    restart_days(found[-1])
    return found[-1]


def restart_days(path: str | Path) -> float:
    """Model time of a restart in days.

    Raises:
        RestartError: if the file cannot be read.
    """
    try:
        return _kind(Path(path)).time(Path(path)) / 86400.0
    except _DAMAGE as error:
        raise RestartError(
            f"{path} is damaged or no restart ({error}); remove it or start without --resume"
        ) from None


def fingerprint(model) -> str | None:
    """Hash of the grid: shape, coordinates, cell thicknesses (to float32). On rank 0; all ranks
    call it."""
    digest = hashlib.sha256(json.dumps([model.vertical.nz, *model.horizontal.shape]).encode())
    for name, (values, _) in sorted(model.horizontal.coordinates().items()):
        digest.update(name.encode() + np.asarray(values, "<f8").round(9).tobytes())
    if model.horizontal.curvilinear and model.comm.rank == 0:
        for values in model.horizontal.points("q"):
            digest.update(np.asarray(values, "<f4").tobytes())
    thickness = np.asarray(model.grid.h_c.interior)
    for level in thickness:
        values = model.decomposition.gather(level)
        if values is not None:
            digest.update(values.astype("<f4").tobytes())
    return digest.hexdigest() if model.comm.rank == 0 else None


# ---- writing
def write_restart(
    path: str | Path,
    model,
    attributes: dict | None = None,
    intervals: Sequence[OpenInterval] = (),
) -> Path:
    """Write the model's present state; to be called on every rank.

    Args:
        path: final name, of a zarr store if it ends in ``.zarr``.
        attributes: more global attributes (provenance).
        intervals: output intervals that this moment cuts in two.

    Raises:
        OutputError: if it cannot be written; a file that was there before is still there.
    """
    path, header = Path(path), _header(model)
    about = {"title": "dogcm restart", **(attributes or {}), **header}
    about |= {"header_sha256": _header_hash(header), **opened.attributes(intervals)}
    need = restart_bytes(model) + sum(i.bytes(model) for i in intervals)
    _kind(path)(path, model).write(about, [*_parts(model), *opened.parts(intervals)], need)
    return path


def _parts(model) -> list[Part]:
    """The variables of the state. z: layers; z_w: the interfaces between them."""
    found = []
    for name, field in model.state.variables().items():
        dimensions = ("z_w" if field.at.endswith("w") else "z", "y", "x")[3 - field.ndim :]
        entry = Entry(name, dimensions, model.dtype.str[1:], {"place": field.at})
        found.append(Part(entry, np.asarray(field.interior)))
    return found


def _header(model) -> dict:
    s = model.state
    return {
        "format": _FORMAT,
        "time": float(s.time),
        "steps": int(s.steps),
        "dt": float(model.physics.dt),
        "scheme": _scheme(model),
        "grid": fingerprint(model),
        "precision": model.dtype.name,
    }


def _scheme(model) -> str:
    """What old accelerations belong to, besides the step."""
    p = model.physics
    own = "" if p.momentum_dt == p.dt else f" with {p.momentum_dt:g} s for velocity"
    return model.scheme.name() + own


def _header_hash(header: dict) -> str:
    plain = [header[k].hex() if isinstance(header[k], float) else str(header[k]) for k in _HEADER]
    return hashlib.sha256(json.dumps(plain).encode()).hexdigest()


# ---- reading
def read_restart(path: str | Path, model, cold: Sequence[str] = ()) -> State:
    """The state in a restart, scattered to this model's tiles; to be called on every rank.

    Everything is checked before anything is used. A restart of another time step or time scheme is
    accepted: the old accelerations that it carries are then dropped and the scheme starts anew.
    Another precision is converted. Passive tracers that it lacks start from their initial values.
    All with a warning.

    Args:
        cold: keys of schemes (``vertical_mixing``, ``sea_ice``, ...) that start from rest, whatever
            the restart holds of them; where the model has no such scheme, what it held is dropped.

    Raises:
        ConfigError: an unknown key in ``cold``.
        RestartError: no such file, damaged file, other grid, missing variable; or it holds heat or
            water of a scheme that the model does not have.
    """
    path, grid = Path(path), fingerprint(model)
    stored = _open(path, model)
    header, found, same_grid = on_root(model.comm, _check, stored, grid, model, cold)
    damaged = _damaged(stored, found.wanted) if same_grid and not found.missing else []
    problems = on_root(model.comm, _judge, stored, header, found, same_grid, damaged, model)
    if model.comm.rank == 0:
        for text in problems:
            warnings.warn(text, stacklevel=2)
    keep_history = header["dt"] == model.physics.dt and header["scheme"] == _scheme(model)
    new = {*header["fresh"], *header["cold"]}
    arrays = {
        n: stored.tile(n, model.dtype)
        for n in model.state.variables()
        if n not in new and (keep_history or not n.startswith("history_"))
    }
    return _state(arrays, header, model, keep_history)


def _open(path: Path, model) -> RestartFile:
    """A restart that can be read; on every rank."""
    if not on_root(model.comm, is_restart, path):
        raise RestartError(f"no such restart: {path}")
    stored = _kind(path)(path, model)
    try:
        stored.look()
    except ConfigError:  # not of the file: a library is missing
        raise
    except _DAMAGE as error:
        raise _no_restart(path, error) from None
    return stored


def _no_restart(path: Path, error: Exception) -> RestartError:
    return RestartError(
        f"{path} is damaged or not a restart ({type(error).__name__}: {error}); take an earlier one"
    )


def _damaged(stored: RestartFile, names: Sequence[str]) -> list[str]:
    try:
        return stored.damaged(names)
    except _DAMAGE as error:
        raise _no_restart(stored.path, error) from None


def read_intervals(path: str | Path, model) -> list[OpenInterval]:
    """The output intervals that a restart cut in two, without their sums; to be called on every
    rank.

    Raises:
        RestartError: they are damaged.
    """

    stored = _open(Path(path), model)
    try:
        intervals = on_root(model.comm, opened.described, stored.attributes)
        damaged = stored.damaged([n for i in intervals for n in i.stored.values()])
        if damaged:
            raise ValueError(f"the checksum of {damaged[0]} does not fit")
    except _DAMAGE as error:
        raise RestartError(
            f"{path} is damaged: its open output intervals cannot be read ({error}); take an "
            "earlier one"
        ) from None
    return intervals


def read_sums(path: str | Path, model, interval: OpenInterval, like: dict) -> dict[str, np.ndarray]:
    """What an interval has summed up to the restart, on this rank's tile, by variable; to be called
    on every rank.

    Args:
        interval: of :func:`read_intervals`. like: arrays of the right shapes, by variable.

    Raises:
        RestartError: they are of other shapes.
    """
    ny, nx = model.horizontal.shape
    kept = {v: a for v, a in like.items() if a.size}
    shapes = {v: (*a.shape[:-2], ny, nx) for v, a in kept.items()}

    stored = _open(Path(path), model)
    for variable, name in interval.stored.items():
        if stored.shapes[name] != shapes.get(variable):
            raise RestartError(
                f"{path}: {variable} of the output {interval.table} has another shape: "
                "give this output another name"
            )
    read = {v: stored.tile(interval.stored[v], np.dtype("f8")) for v in kept}
    return {v: read.get(v, like[v]) for v in like}


def lacking(path: str | Path, model, keys: Sequence[str]) -> list[str]:
    """Those of ``keys`` (see :func:`read_restart`) that this restart still needs, because it has
    not what their scheme carries, or has it and the model has no such scheme; to be called on every
    rank."""

    fields = _open(Path(path), model).fields
    return parts.lacking(keys, parts.carried_by_key(model), fields)


def _check(stored: RestartFile, grid: str, model, cold: Sequence[str]) -> tuple[dict, Any, bool]:
    """Header of a restart, its variables beside those of the model, and whether the grid is the
    same."""
    try:
        header = {k: stored.attributes[k] for k in _HEADER}
        sound = stored.attributes["header_sha256"] == _header_hash(header)
    except _DAMAGE as error:
        raise _no_restart(stored.path, error) from None
    if not sound:
        raise RestartError(_told_damaged(stored.path, "the header"))
    return header, _compare(stored, header, model, cold), header["grid"] == grid


def _judge(
    stored: RestartFile, header: dict, found: _Compared, same_grid: bool, damaged: list[str], model
) -> list[str]:
    """Refuse what cannot be used; returns warnings."""
    path = stored.path
    if damaged:
        raise RestartError(_told_damaged(path, ", ".join(damaged)))
    if not same_grid:
        raise RestartError(
            f"{path} is of another grid (shape, coordinates, layers or bathymetry differ from this "
            "configuration); use the config.yaml beside it, or start without a restart"
        )
    if found.missing:
        raise RestartError(_told_missing(path, found.missing, model))
    try:
        held = parts.contents(stored.whole, found.lost, model.horizontal)
    except _DAMAGE as error:
        raise _no_restart(path, error) from None
    return _warnings(header, model) + found.told(path, held)


def _told_damaged(path: Path, what: str) -> str:
    return f"{path} is damaged: the checksum of {what} does not fit; take an earlier one"


@dataclass(frozen=True)
class _Compared:
    """Variables of a restart beside those of a model.

    Attributes:
        wanted: to be read. missing: that should be read, and are not there or of another shape.
        lost: of the restart that no scheme of the model takes on. key_of: their keys; "" unknown.
        dropped: those of ``lost`` that may go, because ``cold`` names them.
    """

    wanted: list[str]
    missing: list[str]
    lost: list[str]
    key_of: dict[str, str]
    dropped: list[str]

    def told(self, path: Path, held: dict[str, dict[str, float]]) -> list[str]:
        """A warning about what is left behind, which holds so much heat and water.

        Raises:
            RestartError: nobody has said that it may go.
        """
        if not self.lost:
            return []
        keys = sorted({k for n in self.lost if (k := self.key_of[n])})
        text = f"the restart's {', '.join(self.lost)} stay behind: this configuration has no such"
        text += f" {' or '.join(keys) or 'tracer or scheme'}"
        if barred := {n: held[n] for n in held if n not in self.dropped}:
            options = " ".join(f"--cold {k}" for k in sorted({self.key_of[n] for n in barred}))
            raise RestartError(
                f"{path}: {text}, and the ocean would lose {parts.in_words(barred)}; keep the "
                f"scheme, or say {options} to let it go"
            )
        return [f"{text}{f'; the ocean loses {parts.in_words(held)}' if held else ''}"]


def _compare(stored: RestartFile, header: dict, model, cold: Sequence[str]) -> _Compared:
    """What of the restart is wanted, and what not; adds to ``header`` which Fields start anew:
    ``fresh`` passive tracers and the ``cold`` Fields of schemes."""
    fields = model.state.variables()
    carried = parts.carried_by_key(model)
    held = stored.fields
    lost = sorted(n for n in held - set(fields) if not n.startswith("history_"))
    left = parts.left_by_key(lost)
    keys = parts.chosen(cold, carried, left)
    passive = {v.name for v in model.passive.variables}
    same_scheme = header["dt"] == model.physics.dt and header["scheme"] == _scheme(model)
    header["fresh"] = [n for n in fields if n in passive and n not in held]
    header["cold"] = [n for k in sorted(keys & set(carried)) for n in carried[k]]
    new = {*header["fresh"], *header["cold"]}
    wanted = [n for n in fields if n not in new and (same_scheme or not n.startswith("history_"))]
    fits = lambda n: n in held and stored.shapes[n][:-2] == fields[n].shape[:-2]
    return _Compared(
        wanted,
        [n for n in wanted if not fits(n)],
        lost,
        {n: k for k, names in left.items() for n in names},
        [n for k in keys & set(left) for n in left[k]],
    )


def _told_missing(path: Path, missing: list[str], model) -> str:
    keys = {n: k for k, names in parts.carried_by_key(model).items() for n in names}
    text = f"{path} has no {', '.join(missing)} of this shape: it was written by another set-up"
    needed = dict.fromkeys(keys[n] for n in missing if n in keys)
    if not needed or set(missing) - set(keys):
        return text
    options = " ".join(f"--cold {k}" for k in needed)
    return f"{text}; {options} starts {' and '.join(needed)} from rest"


def _warnings(header: dict, model) -> list[str]:
    found = []
    if header["cold"]:
        found.append(f"{', '.join(header['cold'])} start anew, as asked")
    if header["fresh"]:
        found.append(
            f"the restart has no {', '.join(header['fresh'])}: passive tracers that start now"
        )
    if header["dt"] != model.physics.dt or header["scheme"] != _scheme(model):
        found.append(
            f"the restart was made with steps of {header['dt']:g} s of {header['scheme']}, this "
            f"run "
            f"takes {model.physics.dt:g} s of {_scheme(model)}: its old accelerations are dropped"
        )
    if header["precision"] != model.dtype.name:
        found.append(f"the restart is in {header['precision']}, converted to {model.dtype.name}")
    return found


def _state(arrays: dict, header: dict, model, keep_history: bool) -> State:
    old = model.state
    fresh = model.passive.initial(model.grid) if header["fresh"] else {}
    cold = _at_rest(header["cold"], model)
    field = lambda n, at: Field(jnp.asarray(arrays[n]), at).named(n)
    if keep_history:
        history_u, history_v = _histories(arrays, model)
    else:
        history_u = tuple(f.with_data(jnp.zeros_like(f.data)) for f in old.history_u)
        history_v = tuple(f.with_data(jnp.zeros_like(f.data)) for f in old.history_v)
    return State(
        u=field("u", "u"),
        v=field("v", "v"),
        eta=field("eta", "c"),
        tracers={n: field(n, "c") if n in arrays else fresh[n] for n in old.tracers},
        history_u=history_u,
        history_v=history_v,
        time=jnp.asarray(header["time"], jnp.float64),
        # Without old accelerations the scheme has to start as it does from rest.
        steps=jnp.asarray(header["steps"] if keep_history else 0, jnp.int64),
        d_grid=_d_grid(arrays, (field("u", "u"), field("v", "v"), field("eta", "c")), model),
        closures={n: field(n, f.at) if n in arrays else cold[n] for n, f in old.closures.items()},
        solver=jax.tree.map(jnp.zeros_like, old.solver),
    )


def _at_rest(names: Sequence[str], model) -> dict[str, Field]:
    """What schemes carry at a start from rest, for those whose names are given."""
    found: dict[str, Field] = {}
    for one in model.physics.carriers().values():
        if set(one.carries()) & set(names):
            found |= one.at_rest(model.state.temperature, model.params, model.grid)
    return found


def _d_grid(arrays: dict, now: tuple[Field, ...], model) -> tuple[Field, ...]:
    """What the C-D scheme keeps. From rest, its velocities are those of the C grid around them, and
    what was before is as it is ``now`` (u, v, eta)."""
    names = model.physics.coriolis.keeps()
    if not names:
        return ()
    if D_GRID[0] in arrays:
        old = zip(names, model.state.d_grid)
        return tuple(Field(jnp.asarray(arrays[n]), f.at).named(n) for n, f in old)
    start = model.halos.jit(coriolis_cd.from_c_grid, static_argnums=0)
    found = (*start(model.halos, *now[:2], model.grid), *coriolis_cd.before(*now))
    return tuple(f.named(n) for n, f in zip(names, found))


def _histories(arrays: dict, model) -> tuple[tuple[Field, ...], tuple[Field, ...]]:
    """Old accelerations with the halo in which the state keeps them."""
    count = len(model.state.history_u)
    if not count:
        return (), ()
    fields = [Field(jnp.asarray(arrays[f"history_u_{m + 1}"]), "u") for m in range(count)]
    fields += [Field(jnp.asarray(arrays[f"history_v_{m + 1}"]), "v") for m in range(count)]
    refill = model.halos.jit(_refill, static_argnums=0)
    filled = refill(model.halos, tuple(fields), model.grid)
    return tuple(filled[:count]), tuple(filled[count:])


def _refill(halos, fields: tuple[Field, ...], grid) -> tuple[Field, ...]:
    depth = {"u": HISTORY_U, "v": HISTORY_V}
    deep = exchange(halos, *((f, depth[f.at]) for f in fields))
    # What an exchange brings from beyond a wall belongs elsewhere.
    return tuple(f * (grid.mask_u if f.at == "u" else grid.mask_v) for f in deep)


__all__ = [
    "OutputError",
    "RestartError",
    "fingerprint",
    "lacking",
    "latest_restart",
    "read_intervals",
    "read_restart",
    "read_sums",
    "restart_bytes",
    "write_restart",
]
