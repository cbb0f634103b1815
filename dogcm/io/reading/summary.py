"""What was understood of an input, for people to look over before a run."""

from __future__ import annotations

import numpy as np

from dogcm.io.curvilinear import ScatteredVariable
from dogcm.io.reading import calendar, reader

_ROWS, _COLUMNS = 10, 48
_LEVELS = "0123456789"
_NOTHING = "."


def lines(source, taken_for: str = "", notes: tuple[str, ...] = ()) -> list[str]:
    """What a variable holds, line by line, with a small map.

    Args:
        source: as :func:`dogcm.io.reading.reader.read` gives it.
        taken_for: field that it becomes. notes: on what was done with it afterwards.
    """
    stored = source.attributes.get("units", "")
    out = [f"variable   {_variable(source, taken_for)}"]
    unit = source.unit or "none"
    if stored.strip() != source.unit:
        unit += (
            f", from '{stored}'" if stored else ", as the configuration says (the file has none)"
        )
    out.append(f"unit       {unit}")
    out.append(f"axes       {_axes(source)}")
    out.append(f"covers     {_extent(source)}")
    if source.depth is not None:
        out.append(f"levels     {source.depth.size}, {source.depth[0]:g} to {source.depth[-1]:g} m")
    if source.timed:
        out.append(f"times      {_times(source)}")
    out.append(f"values     {_values(source)}")
    out += [f"           {note}" for note in notes]
    return out + [f"           {row}" for row in small_map(source)]


def _variable(source, taken_for: str) -> str:
    says = source.standard_name or source.attributes.get("long_name", "")
    text = f"'{source.name}' of {source.path}" + (f" ({says})" if says else "")
    return f"{text}, taken for {taken_for}" if taken_for else text


def _axes(source) -> str:
    names = source.axes or {}
    on_plane = {"lat": "y", "lon": "x"} if getattr(source, "plane", False) else {}
    shown = [f"{on_plane.get(axis, axis)}: {name}" for axis, name in names.items()]
    kind = "one position for each point" if isinstance(source, ScatteredVariable) else "rectilinear"
    kind = "x and y on a plane" if getattr(source, "plane", False) else kind
    return f"{', '.join(shown)} ({kind})"


def _extent(source) -> str:
    lat, lon = source.lat, source.lon
    count = f"{lat.size} points" if isinstance(source, ScatteredVariable) else ""
    count = count or f"{lat.size} x {lon.size} points"
    what = ("y", "x", " km") if getattr(source, "plane", False) else ("lat", "lon", "")
    return (
        f"{what[0]} {np.nanmin(lat):.2f} to {np.nanmax(lat):.2f}, {what[1]} {np.nanmin(lon):.2f} "
        f"to {np.nanmax(lon):.2f}{what[2]}, {count}"
    )


def _times(source) -> str:
    count = len(source.values)
    if source.time is None:
        return f"{count} records without times"
    time = source.time if source.time_middle is None else source.time_middle
    try:
        found = calendar.dates(time, source.time_unit, source.calendar)
    except ValueError:
        return f"{count} records, {time[0]:g} to {time[-1]:g} ('{source.time_unit}': no dates)"
    middle = " (middles of their bounds)" if source.time_middle is not None else ""
    return (
        f"{count} records, {calendar.describe(found[0])} to {calendar.describe(found[-1])}, "
        f"calendar {source.calendar or 'standard'}{middle}"
    )


def _values(source) -> str:
    v = source.values
    known = np.isfinite(v)
    missing = int((~known).sum())
    if not known.any():
        return "none: all are missing"
    place = reader.place_of(source)
    at = lambda w: place(np.unravel_index(int(np.argmin(np.where(known, w, np.inf))), v.shape))
    zeros = int((v == 0).sum())
    return (
        f"{np.nanmin(v):.4g} ({at(v)}) to {np.nanmax(v):.4g} ({at(-v)}), mean {np.nanmean(v):.4g}; "
        f"{missing} of {v.size} missing ({100 * missing / v.size:.1f} %)"
        + (f"; {zeros} exactly 0" if zeros else "")
    )


def small_map(source) -> list[str]:
    """The first record and level as rows of digits, north above; ``.`` where there is no value.

    0 is the least value, 9 the greatest.
    """
    v = source.values.reshape(-1, *source.values.shape[-source.space :])[0]
    if isinstance(source, ScatteredVariable):
        lat, lon = source.lat, source.lon
        y0, y1, x0, x1 = lat.min(), lat.max(), lon.min(), lon.max()
    else:
        lat, lon = (a.ravel() for a in np.meshgrid(source.lat, source.lon, indexing="ij"))
        y0, y1, x0, x1 = source.lat[0], source.lat[-1], source.lon[0], source.lon[-1]
    rows, columns = _ROWS, _COLUMNS
    j = np.clip(((lat - y0) / max(y1 - y0, 1e-9) * rows).astype(int), 0, rows - 1)
    i = np.clip(((lon - x0) / max(x1 - x0, 1e-9) * columns).astype(int), 0, columns - 1)
    flat = v.ravel()
    there = np.isfinite(flat)
    total, count = np.zeros((rows, columns)), np.zeros((rows, columns))
    np.add.at(total, (j[there], i[there]), flat[there])
    np.add.at(count, (j[there], i[there]), 1)
    seen = np.zeros((rows, columns), bool)
    seen[j, i] = True
    seen, keep = seen[seen.any(1)][:, seen.any(0)], (seen.any(1), seen.any(0))
    total, count = (a[keep[0]][:, keep[1]] for a in (total, count))
    if not count.any():
        return []
    mean = np.where(count > 0, total / np.maximum(count, 1), np.nan)
    low, high = np.nanmin(mean), np.nanmax(mean)
    scaled = np.nan_to_num((mean - low) / max(high - low, 1e-30)) * len(_LEVELS)
    digits = np.clip(scaled.astype(int), 0, len(_LEVELS) - 1)
    text = np.where(count > 0, np.array(list(_LEVELS))[digits], _NOTHING)
    return ["".join(row) for row in text[::-1]]
