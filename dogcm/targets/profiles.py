"""Profiles by position and depth, and the operator that reads the model there.

Each profile belongs to the tile that holds its cell, so one cell of halo is all that interpolation
needs, and the result does not depend on the layout. Bilinear in the horizontal, linear in depth,
between wet cells only: the weights of wet corners are renormalised, and a level without any leaves
    the other its whole weight.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass, field
from pathlib import Path

import gsw
import jax
import jax.numpy as jnp
import numpy as np
import xarray as xr

from dogcm.decomp import Decomposition
from dogcm.field import Field, FieldError
from dogcm.grid.horizontal import LatLonGrid
from dogcm.io.reading import reader, seawater, units
from dogcm.targets import quality
from dogcm.targets.clock import Clock, decode_times
from dogcm.targets.errors import TargetError, in_unit

#: Wet corners that add up to less than this are no basis for a value.
_LEAST_WEIGHT = 1e-6


@dataclass(frozen=True)
class Profiles:
    """Observed profiles.

    Attributes:
        lat, lon: degrees, ``(n,)``. times: s since the start of model year 1, ``(n,)``.
        depth: m, positive down, ``(n, m)``.
        values: name (``temperature``, degC; ``salinity``, g kg-1) to ``(n, m)``, NaN where there is
            none.
        left_out: what was not taken from the file, and how often.
    """

    lat: np.ndarray
    lon: np.ndarray
    times: np.ndarray
    depth: np.ndarray
    values: dict[str, np.ndarray] = field(default_factory=dict)
    left_out: dict[str, int] = field(default_factory=dict)

    def __post_init__(self):
        n = np.shape(self.lat)
        if len(n) != 1 or np.shape(self.lon) != n or np.shape(self.times) != n:
            raise TargetError(
                f"profiles: lat {np.shape(self.lat)}, lon {np.shape(self.lon)} and times "
                f"{np.shape(self.times)} must all have shape (profiles,)"
            )
        if np.ndim(self.depth) == 1:
            object.__setattr__(
                self, "depth", np.broadcast_to(self.depth, (*n, np.size(self.depth)))
            )
        for name, values in {"depth": self.depth, **self.values}.items():
            if np.shape(values) != np.shape(self.depth) or np.shape(values)[0] != n[0]:
                raise TargetError(
                    f"profiles: {name} has shape {np.shape(values)}, needed is {(n[0], 'depths')}"
                )
        bad = (np.abs(self.lat) > 90) | ~np.isfinite(self.lat) | ~np.isfinite(self.lon)
        if bad.any():
            raise TargetError(
                f"profiles: {int(bad.sum())} have no valid position, the first is number "
                f"{np.argmax(bad)}"
            )

    def __len__(self) -> int:
        return len(self.lat)

    def pick(self, which) -> Profiles:
        """Some of the profiles, by index or mask."""
        values = {k: v[which] for k, v in self.values.items()}
        return Profiles(
            self.lat[which],
            self.lon[which],
            self.times[which],
            self.depth[which],
            values,
            self.left_out,
        )

    def window(self, start: float, length: float) -> Profiles:
        """Profiles with ``start <= time <= start + length`` (s).

        Raises:
            TargetError: there is none.
        """
        inside = (self.times >= start) & (self.times <= start + length)
        if not inside.any():
            raise TargetError(
                f"no profile between model day {start / 86400:.2f} and "
                f"{(start + length) / 86400:.2f}; they run from day {self.times.min() / 86400:.2f} "
                f"to {self.times.max() / 86400:.2f}"
            )
        return self.pick(inside)


def joined(parts: list[Profiles]) -> Profiles:
    """Several sets as one, in the order of their times; levels that one set lacks are NaN."""
    levels = max(p.depth.shape[1] for p in parts)

    def wide(arrays) -> np.ndarray:
        return np.concatenate(
            [np.pad(a, ((0, 0), (0, levels - a.shape[1])), constant_values=np.nan) for a in arrays]
        )

    whole = Profiles(
        *(np.concatenate([getattr(p, n) for p in parts]) for n in ("lat", "lon", "times")),
        wide([np.asarray(p.depth, float) for p in parts]),
        {n: wide([p.values[n] for p in parts]) for n in parts[0].values},
        {w: sum(p.left_out.get(w, 0) for p in parts) for p in parts for w in p.left_out},
    )
    return whole.pick(np.argsort(whole.times, kind="stable"))


def read_profiles(
    path, *, clock: Clock | None = None, names: dict[str, str] | None = None
) -> Profiles:
    """Profiles from a netCDF file ``(profile, depth)``, also as Argo's data centres give them.

    In-situ or potential temperature (by standard name; without one: potential) and practical
    salinity become Conservative Temperature and Absolute Salinity. See
    :mod:`dogcm.targets.quality` for quality flags and adjusted values.

    Args:
        path: file with a temperature and a practical salinity ``(profile, level)``, positions,
            times, and depth or pressure, ``(level,)`` or ``(profile, level)``.
        clock: default: model year 1 is the year of the first profile.
        names: names in the file of ``temperature, salinity, lat, lon, time`` and ``depth`` or
            ``pressure``; default: those of this project, or Argo's where the file has them.

    Raises:
        TargetError: a missing or mis-shaped variable, wrong units, times that cannot be decoded, no
            profile with a position and a time.
    """
    raw, left_out, about, own = _read(path, names)
    raw, dropped = _placed(raw, own, path)
    left_out |= dropped
    unit = lambda what: str(about[what].get("units", ""))
    for name in ("temperature", "salinity"):
        raw[name] = np.where(np.abs(raw[name]) > 1e19, np.nan, raw[name])
        raw[name] = in_unit(name, raw[name], unit(name), f"variable '{own[name]}' of {path}")
    depth = _depth(raw, own, unit, path)
    scale = seawater.temperature_scale(str(about["temperature"].get("standard_name", "")))
    values = _on_scale(raw, depth, scale or "potential")
    order = np.argsort(raw["time"], kind="stable")
    dates = _dates(raw["time"], unit("time"), str(about["time"].get("calendar", "")), str(path))
    clock = clock or Clock(min(dates).year)
    times = clock.seconds(dates)
    out = Profiles(raw["lat"], raw["lon"], times, np.array(depth), values, left_out)
    return out.pick(order)


def _read(path, names: dict[str, str] | None):
    """Values, how many were left out, attributes and names in the file, by what they are."""
    try:
        with reader.open_dataset(Path(path)) as data:
            own = _names(data, names, path)
            raw, left_out = quality.values(data, own)
            return raw, left_out, {k: data[v].attrs for k, v in own.items()}, own
    except FileNotFoundError:
        raise TargetError(f"no such profile file: {path}") from None
    except TargetError:
        raise
    # Texts where numbers should be, damaged chunks: what the libraries happen to raise.
    except (ValueError, TypeError, OSError, RuntimeError) as error:
        raise TargetError(f"{path} cannot be read as profiles: {error}") from None


def _on_scale(raw: dict, depth: np.ndarray, scale: str) -> dict[str, np.ndarray]:
    """Conservative Temperature and Absolute Salinity where both have a value."""
    lat, lon = raw["lat"][:, None], raw["lon"][:, None]
    there = np.isfinite(raw["temperature"]) & np.isfinite(raw["salinity"]) & np.isfinite(depth)
    salinity = seawater.absolute_salinity(np.where(there, raw["salinity"], np.nan), depth, lat, lon)
    temperature = np.where(there, raw["temperature"], np.nan)
    return {
        "temperature": seawater.conservative(temperature, scale, salinity, depth, lat),
        "salinity": salinity,
    }


_OWN = {
    "temperature": "theta",
    "salinity": "psal",
    "lat": "lat",
    "lon": "lon",
    "time": "juld",
    "depth": "depth",
}
_ARGO = {
    "temperature": "TEMP",
    "salinity": "PSAL",
    "lat": "LATITUDE",
    "lon": "LONGITUDE",
    "time": "JULD",
    "pressure": "PRES",
}


def _names(data: xr.Dataset, names: dict[str, str] | None, path) -> dict[str, str]:
    """Names in the file of what a profile consists of."""
    usual = _ARGO if all(n in data.variables for n in _ARGO.values()) else _OWN
    own = dict(usual) | (names or {})
    if names and {"pressure", "depth"} & set(names):
        own = {k: v for k, v in own.items() if k in names or k not in ("pressure", "depth")}
    missing = [v for v in own.values() if v not in data.variables]
    if missing:
        raise TargetError(
            f"{path} has no variable {', '.join(missing)}; it has "
            f"{', '.join(map(str, data.variables))}"
        )
    return own


def _placed(raw: dict, own: dict[str, str], path) -> tuple[dict, dict[str, int]]:
    """Only the profiles that have a position and a time, and how many others there were."""
    shape = raw["temperature"].shape
    if len(shape) != 2 or raw["salinity"].shape != shape or raw["lat"].shape != shape[:1]:
        raise TargetError(
            f"{path}: {own['temperature']} {shape}, {own['salinity']} {raw['salinity'].shape} and "
            f"{own['lat']} {raw['lat'].shape} must be (profile, level), (profile, level) and "
            "(profile,)"
        )
    nowhere = ~(np.abs(raw["lat"]) <= 90.0) | ~(np.abs(raw["lon"]) <= 720.0)
    never = ~np.isfinite(raw["time"]) & ~nowhere
    good = ~(nowhere | never)
    if not good.any():
        raise TargetError(
            f"{path}: none of {shape[0]} profiles has a position ({own['lat']}, {own['lon']}) and "
            f"a time ({own['time']})"
        )
    per_profile = {k: v[good] if v.shape[:1] == shape[:1] else v for k, v in raw.items()}
    return per_profile, {
        "profiles without position": int(nowhere.sum()),
        "profiles without time": int(never.sum()),
    }


def _depth(raw: dict, own: dict[str, str], unit, path) -> np.ndarray:
    """Depths (m), ``(profile, level)``."""
    kind = "pressure" if "pressure" in raw else "depth"
    vertical = np.broadcast_to(raw[kind], raw["temperature"].shape)
    wanted = "dbar" if kind == "pressure" else "m"
    try:
        vertical = units.convert(vertical, unit(kind) or wanted, wanted)
    except ValueError as error:
        raise TargetError(f"variable '{own[kind]}' of {path}: {error}") from None
    if kind == "depth":
        return vertical
    return -gsw.z_from_p(vertical, np.broadcast_to(raw["lat"][:, None], vertical.shape))


def _dates(values, units: str, calendar: str, source: str) -> list:
    """Dates in any order, several profiles may share one."""
    unique, back = np.unique(values, return_inverse=True)
    dates = decode_times(unique, units.removesuffix(" UTC"), calendar, source)
    return [dates[n] for n in back]


@functools.partial(
    jax.tree_util.register_dataclass,
    data_fields=["rows", "columns", "levels", "weights", "valid", "times"],
    meta_fields=["tile_shape"],
)
@dataclass(frozen=True)
class ProfileOperator:
    """Reads model columns where this tile's profiles were taken; linear, so its transpose is exact.

    Attributes:
        rows, columns: ``(n, 4)`` corners in the tile with one halo cell.
        levels: ``(n, m, 2)`` layers above and below each observation.
        weights: ``(n, m, 2, 4)``, adding up to 1 where ``valid`` and to 0 elsewhere.
        valid: ``(n, m)``, 1 where the model has water.
        times: of the profiles (s), ``(n,)``.
        tile_shape: rows and columns of the tile the operator was made for.
    """

    rows: jax.Array
    columns: jax.Array
    levels: jax.Array
    weights: jax.Array
    valid: jax.Array
    times: jax.Array
    tile_shape: tuple[int, int]

    def __call__(self, f: Field) -> jax.Array:
        """Values ``(..., n, m)`` of a Field ``(..., nz, y, x)`` at centres with a halo of at least
        1.

        Raises:
            FieldError: another place, too little halo, or another tile.
        """
        data, (k, j, i) = self._data(f), self._corners()
        return jnp.sum(data[..., k, j, i] * self.weights.astype(data.dtype), axis=(-2, -1))

    def at_records(self, f: Field, record: jax.Array) -> jax.Array:
        """Values ``(n, m)`` of a Field ``(records, nz, y, x)``, each profile's at its own
        record ``(n,)``; errors as of a call."""
        data, corners = self._data(f), self._corners()
        found = data[(record[:, None, None, None], *corners)]
        return jnp.sum(found * self.weights.astype(data.dtype), axis=(-2, -1))

    def _data(self, f: Field) -> jax.Array:
        if f.at != "c" or f.tile_shape != self.tile_shape:
            raise FieldError(
                f"profiles need a Field at cell centres on a tile of {self.tile_shape}, got {f!r}"
            )
        return f.crop(1).data

    def _corners(self) -> tuple[jax.Array, jax.Array, jax.Array]:
        """Levels, rows and columns, which broadcast to the shape of the weights."""
        return self.levels[..., None], self.rows[:, None, None, :], self.columns[:, None, None, :]

    def nearest(self, times) -> jax.Array:
        """Index of the model time nearest to each profile, ``(n,)``, of a rollout's snapshots at
        ``times`` (s)."""
        return jnp.argmin(jnp.abs(self.times[:, None] - jnp.asarray(times)[None, :]), axis=1)


def locate(
    profiles: Profiles, horizontal: LatLonGrid, vertical, decomposition: Decomposition, cells
):
    """This tile's profiles and the operator that reads the model there. All ranks call this.

    Args:
        profiles: all profiles, the same on every rank.
        cells: on rank 0 the thickness of every cell at rest ``(nz, ny, nx)``, m, 0 on land; None
            elsewhere.

    Returns:
        ``(index, mine, operator)``: the numbers of this tile's profiles, the profiles, and the
        operator. Left out everywhere are profiles outside the grid or in a cell of land; ``valid``
        is 0 below the model's bottom.
    """
    if not isinstance(horizontal, LatLonGrid):
        raise TargetError(
            "profiles by position need a latitude-longitude grid; this experiment has none"
        )
    mask = decomposition.scatter(
        None if cells is None else (np.asarray(cells) > 0).astype(float), 1, fill=0.0
    )
    j, y, wy, in_y = _bracket(profiles.lat, horizontal.lat_edges, False)
    lon = horizontal.lon_edges[0] + np.mod(profiles.lon - horizontal.lon_edges[0], 360.0)
    i, x, wx, in_x = _bracket(lon, horizontal.lon_edges, horizontal.periodic_x)
    t = decomposition.tile
    index = np.flatnonzero(in_y & in_x & (j >= t.j0) & (j < t.j1) & (i >= t.i0) & (i < t.i1))
    # A tile of land has no rank: profiles on land must be left out on every layout alike.
    index = index[mask[0, j[index] - t.j0 + 1, i[index] - t.i0 + 1] > 0]
    rows = np.stack([j, j, j + y, j + y], 1)[index] - t.j0 + 1
    columns = np.stack([i, i + x, i, i + x], 1)[index] - t.i0 + 1
    flat = np.stack([(1 - wy) * (1 - wx), (1 - wy) * wx, wy * (1 - wx), wy * wx], 1)[index]
    mine = profiles.pick(index)
    levels, weights, valid = _weights(mine.depth, vertical, mask, rows, columns, flat)
    as_int = lambda a: jnp.asarray(a, jnp.int32)
    operator = ProfileOperator(
        as_int(rows),
        as_int(columns),
        as_int(levels),
        jnp.asarray(weights),
        jnp.asarray(valid),
        jnp.asarray(mine.times),
        tuple(t.shape),
    )
    return index, mine, operator


def _bracket(x: np.ndarray, edges: np.ndarray, periodic: bool):
    """Cell, direction (+1 or -1) of the neighbour on the point's side, its weight, and whether
    inside at all."""
    inside = (x >= edges[0]) & (x <= edges[-1])
    n = np.clip(np.searchsorted(edges, x, side="right") - 1, 0, edges.size - 2)
    centre = 0.5 * (edges[1:] + edges[:-1])
    ends = [2 * edges[0] - centre[0], 2 * edges[-1] - centre[-1]]
    ends = [centre[-1] - 360.0, centre[0] + 360.0] if periodic else ends
    wide = np.concatenate([[ends[0]], centre, [ends[1]]])
    side = np.where(x >= centre[n], 1, -1)
    return n, side, np.abs(x - centre[n]) / np.abs(wide[n + 1 + side] - centre[n]), inside


def _weights(depth, vertical, mask, rows, columns, flat):
    """Levels, weights and validity of each observation; see the module."""
    z, edges = vertical.centres, vertical.edges
    known = np.isfinite(depth) & (depth >= 0) & (depth <= edges[-1])
    d = np.where(known, depth, 0.0)
    own = np.clip(np.searchsorted(edges, d, side="right") - 1, 0, z.size - 1)
    upper = np.clip(np.searchsorted(z, d, side="right") - 1, 0, max(z.size - 2, 0))
    lower = np.minimum(upper + 1, z.size - 1)
    share = np.clip((d - z[upper]) / np.where(lower > upper, z[lower] - z[upper], 1.0), 0.0, 1.0)
    levels = np.stack([upper, lower], -1)
    wet = mask[:, rows, columns] * flat  # (nz, n, 4)
    total = wet.sum(-1)
    n = np.arange(len(rows))[:, None]
    solid = total > _LEAST_WEIGHT
    pair = (levels, n[..., None])
    horizontal = wet[pair] * (solid / np.where(solid, total, 1.0))[pair][..., None]
    vertical_share = np.stack([1.0 - share, share], -1) * solid[pair]
    column = vertical_share.sum(-1, keepdims=True)
    # The layer that holds the observation is one of the two, so a valid one always has a weight.
    valid = known & solid[own, n]
    vertical_share = vertical_share / np.where(column > 0, column, 1.0)
    weights = horizontal * vertical_share[..., None] * valid[..., None, None]
    return levels, weights, valid.astype(float)


def gather_profiles(
    decomposition: Decomposition, values, index: np.ndarray, count: int
) -> np.ndarray | None:
    """Values ``(n, m)`` of all tiles' profiles in the order of the whole set, NaN where left out;
    on rank 0."""
    parts = decomposition.comm.gather((np.asarray(values), index))
    if parts is None:
        return None
    out = np.full((count, parts[0][0].shape[-1]), np.nan)
    for part, where in parts:
        out[where] = part
    return out


__all__ = [
    "ProfileOperator",
    "Profiles",
    "gather_profiles",
    "joined",
    "locate",
    "read_profiles",
]
