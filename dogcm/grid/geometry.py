"""Grid: everything the dynamics know about the place they work on, as Fields on one tile."""

from __future__ import annotations

import functools
from dataclasses import dataclass, fields

import jax
import jax.numpy as jnp
import numpy as np

from dogcm.decomp import Decomposition, Halo
from dogcm.field import Field
from dogcm.grid.vertical import VerticalGrid

_STATIC = ("nz", "periodic_x", "spherical")


@functools.partial(
    jax.tree_util.register_dataclass,
    data_fields=[
        "lon_c",
        "lat_c",
        "dx_c",
        "dy_c",
        "dx_u",
        "dy_u",
        "dx_v",
        "dy_v",
        "dx_q",
        "dy_q",
        "area_c",
        "area_u",
        "area_v",
        "area_q",
        "f_q",
        "depth_c",
        "depth_u",
        "depth_v",
        "inv_depth_q",
        "wet_c",
        "wet_u",
        "wet_v",
        "h_c",
        "h_u",
        "h_v",
        "inv_h_u",
        "inv_h_v",
        "inv_h_q",
        "mask_c",
        "mask_u",
        "mask_v",
        "mask_q",
        "mask_cw",
        "mask_uw",
        "mask_vw",
        "h_visc_c",
        "h_visc_q",
        "bottom_u",
        "bottom_v",
        "dz",
        "z_c",
        "dz_w",
        "cos_c",
        "sin_c",
    ],
    meta_fields=list(_STATIC),
)
@dataclass(frozen=True)
class Grid:
    """Metrics, thicknesses at rest and masks of one tile.

    Horizontal metrics as in :class:`dogcm.grid.horizontal.Metrics`, two-dimensional, with the deep
    halo of the free-surface loop. ``depth_*`` is the depth at rest (m), ``h_*`` the layer thickness
    at rest (m, 0 on land; a face has the thinner of its two cells), ``mask_*`` 1 in water and 0 on
    land, ``wet_*`` the same for whole columns. ``h_visc_*`` are the thicknesses that carry viscous
    stress. ``bottom_*`` marks the deepest wet cell. ``dz``, ``z_c`` (depth, positive down) and
    ``dz_w`` are profiles ``(nz, 1, 1)``. ``cos_c`` and
    ``sin_c``: of the angle from east to the grid's x direction, at centres; None where that is 0
    everywhere. ``lon_*`` and ``lat_*`` are degrees where ``spherical``, else km.
    """

    lon_c: Field
    lat_c: Field
    dx_c: Field
    dy_c: Field
    dx_u: Field
    dy_u: Field
    dx_v: Field
    dy_v: Field
    dx_q: Field
    dy_q: Field
    area_c: Field
    area_u: Field
    area_v: Field
    area_q: Field
    f_q: Field
    depth_c: Field
    depth_u: Field
    depth_v: Field
    inv_depth_q: Field
    wet_c: Field
    wet_u: Field
    wet_v: Field
    h_c: Field
    h_u: Field
    h_v: Field
    inv_h_u: Field
    inv_h_v: Field
    inv_h_q: Field
    mask_c: Field
    mask_u: Field
    mask_v: Field
    mask_q: Field
    mask_cw: Field
    mask_uw: Field
    mask_vw: Field
    h_visc_c: Field
    h_visc_q: Field
    bottom_u: Field
    bottom_v: Field
    dz: jax.Array
    z_c: jax.Array
    dz_w: jax.Array
    nz: int
    periodic_x: bool
    spherical: bool
    cos_c: Field | None = None
    sin_c: Field | None = None


def _inverse(values: np.ndarray) -> np.ndarray:
    return np.where(values > 0, 1.0 / np.where(values > 0, values, 1.0), 0.0)


def _shift(a: np.ndarray, dj: int, di: int) -> np.ndarray:
    """``out[j, i] = a[j + dj, i + di]``; the outermost cells repeat (they are cropped later)."""
    out = a
    if dj:
        out = np.concatenate(
            [out[..., :1, :], out[..., :-1, :]] if dj < 0 else [out[..., 1:, :], out[..., -1:, :]],
            -2,
        )
    if di:
        out = np.concatenate(
            [out[..., :1], out[..., :-1]] if di < 0 else [out[..., 1:], out[..., -1:]], -1
        )
    return out


def _wet_min(*parts: np.ndarray) -> np.ndarray:
    """Smallest of the positive values, 0 where there is none."""
    low = np.minimum.reduce([np.where(p > 0, p, np.inf) for p in parts])
    return np.where(np.isfinite(low), low, 0.0)


def _thicknesses(h: np.ndarray, area: np.ndarray) -> dict[str, np.ndarray]:
    """Thicknesses and masks at all places from the cell thickness ``h`` (nz, y, x)."""
    west, south, south_west = _shift(h, 0, -1), _shift(h, -1, 0), _shift(h, -1, -1)
    h_u, h_v = np.minimum(h, west), np.minimum(h, south)
    around = [
        a * t
        for a, t in (
            (area, h),
            (_shift(area, 0, -1), west),
            (_shift(area, -1, 0), south),
            (_shift(area, -1, -1), south_west),
        )
    ]
    total = area + _shift(area, 0, -1) + _shift(area, -1, 0) + _shift(area, -1, -1)
    h_q = sum(around) / total  # land counts as zero: the mean then runs over wet faces alone
    below = np.concatenate([h[1:], np.zeros_like(h[:1])])
    deepest = lambda t: (t > 0) & ~(np.concatenate([t[1:], 0 * t[:1]]) > 0)
    mask = lambda t: (t > 0).astype(float)
    wet_q = (h > 0) & (west > 0) & (south > 0) & (south_west > 0)
    return dict(
        h_c=h,
        h_u=h_u,
        h_v=h_v,
        inv_h_u=_inverse(h_u),
        inv_h_v=_inverse(h_v),
        inv_h_q=_inverse(h_q),
        mask_c=mask(h),
        mask_u=mask(h_u),
        mask_v=mask(h_v),
        mask_q=wet_q.astype(float),
        mask_cw=mask(np.minimum(h, below))[:-1],
        mask_uw=(mask(h_u)[:-1] * mask(h_u)[1:]),
        mask_vw=(mask(h_v)[:-1] * mask(h_v)[1:]),
        h_visc_c=_wet_min(h_u, _shift(h_u, 0, 1), h_v, _shift(h_v, 1, 0)),
        h_visc_q=_wet_min(h_u, _shift(h_u, -1, 0), h_v, _shift(h_v, 0, -1)),
        bottom_u=deepest(h_u).astype(float),
        bottom_v=deepest(h_v).astype(float),
        depth_c=h.sum(0),
        depth_u=h_u.sum(0),
        depth_v=h_v.sum(0),
        inv_depth_q=_inverse(h_q.sum(0)),
        wet_c=mask(h[0]),
        wet_u=mask(h_u[0]),
        wet_v=mask(h_v[0]),
    )


_PLACE_OF = {
    "h_visc_c": "c",
    "h_visc_q": "q",
    "bottom_u": "u",
    "bottom_v": "v",
    "mask_cw": "cw",
    "mask_uw": "uw",
    "mask_vw": "vw",
}


def _place(name: str) -> str:
    return _PLACE_OF.get(name, name.rsplit("_", 1)[1])


def build_grid(
    horizontal,
    vertical: VerticalGrid,
    decomposition: Decomposition,
    cells: np.ndarray | None,
    halo: int,
    wide: Halo,
    dtype=np.float64,
) -> Grid:
    """The grid of this rank's tile.

    Args:
        horizontal: a horizontal grid (see :mod:`dogcm.grid.horizontal`).
        cells: on rank 0 the global cell thickness at rest ``(nz, ny, nx)``, m, 0 on land; None
            elsewhere.
        halo: depth of the three-dimensional Fields; wide: depth of the two-dimensional ones.
    """
    # One cell more than asked for: thicknesses at faces and corners need it, then it is cropped.
    wide = Halo(*map(max, wide, Halo.of(halo)))
    deep = Halo(*(side + 1 for side in wide))
    tile = decomposition.tile
    rows = np.arange(tile.j0 - deep.s, tile.j1 + deep.n)
    columns = np.arange(tile.i0 - deep.w, tile.i1 + deep.e)
    metrics = horizontal.metrics(rows, columns)
    # Level by level: rank 0 never holds more than one padded level besides its input.
    levels = range(vertical.nz)
    get = lambda k: cells[k].astype(float) if decomposition.is_root else None
    h = np.stack([_walled(decomposition, get(k), deep) for k in levels])
    arrays = {n: getattr(metrics, n) for n in metrics.names()} | _thicknesses(h, metrics.area_c)

    names = {f.name for f in fields(Grid)}
    kept = {}
    for name, values in arrays.items():
        if name in names:
            want = wide if values.ndim == 2 else Halo.of(halo)
            kept[name] = _cropped(Field(np.asarray(values, dtype), _place(name), deep), want, name)
    if horizontal.curvilinear:
        angle = horizontal.angle("c", rows, columns)
        for name, values in (("cos_c", np.cos(angle)), ("sin_c", np.sin(angle))):
            whole = Field(np.asarray(values, dtype), "c", deep)
            kept[name] = _cropped(whole, Halo.of(halo), name)
    profile = lambda v: jnp.asarray(np.asarray(v)[:, None, None], dtype)
    return Grid(
        **kept,
        dz=profile(vertical.dz),
        z_c=profile(vertical.centres),
        dz_w=profile(vertical.spacing),
        nz=vertical.nz,
        periodic_x=horizontal.periodic_x,
        spherical=horizontal.spherical,
    )


def _cropped(field: Field, want: Halo, name: str) -> Field:
    """Cut before JAX has the values, which would compile a program for every shape."""
    cut = field.crop(want).named(name)
    return cut.with_data(jnp.asarray(cut.data))


def _walled(decomposition: Decomposition, values: np.ndarray | None, halo: Halo) -> np.ndarray:
    """Scatter with dry cells beyond every closed boundary."""
    return decomposition.scatter(values, halo, fill=0.0)
