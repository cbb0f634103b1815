"""Truth from a finer run: conservative coarse-graining onto a coarser grid that nests.

With fine cells f in a coarse cell c, volumes V (partial cells, stretched by the free surface),
areas A and open face areas F::

    tracer:     T_c = sum(T_f V_f) / sum(V_f)          sea level: eta_c = sum(eta_f A_f) / sum(A_f)
    velocity:   u_c = sum(u_f F_f) / F                  over the fine faces on the coarse face

all sums over water. Layers may differ: a fine cell counts for each coarse layer with the part of it
that lies there.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from dogcm.grid.horizontal import LatLonGrid
from dogcm.targets.container import Targets
from dogcm.targets.errors import TargetError
from dogcm.targets.gridded import TargetGrid

_CLOSE = dict(rtol=0.0, atol=1e-9)


@dataclass(frozen=True)
class Coarse:
    """Coarse-grained fields.

    Attributes:
        values: name to array on the coarse grid, NaN where there is no fine water.
        weights: what each value stands for: fine volume (m3) of tracers, area (m2) of ``eta``, open
            face area (m2) of ``u`` and ``v``.
    """

    values: dict[str, np.ndarray] = field(default_factory=dict)
    weights: dict[str, np.ndarray] = field(default_factory=dict)


def nesting_problems(fine: TargetGrid, coarse: TargetGrid) -> list[str]:
    """Why the fine grid does not nest in the coarse one, one sentence each; empty where it does.

    Layers that differ are named too: they are remapped, at first order, and vertical structure
    finer than the coarse layers is lost either way.
    """
    out = _horizontal_problems(fine, coarse)
    a, b = fine.vertical.edges, coarse.vertical.edges
    if a.shape != b.shape or not np.allclose(a, b, **_CLOSE):
        shared = sum(bool(np.isclose(a, z, atol=1e-6).any()) for z in b)
        out.append(
            f"layers differ ({fine.vertical.nz} to {a[-1]:.0f} m, {coarse.vertical.nz} to "
            f"{b[-1]:.0f} m; "
            f"{shared} of "
            f"{b.size} coarse interfaces are fine ones): set grid.layers of one to that of the "
            f"other"
        )
    return out


def _horizontal_problems(fine: TargetGrid, coarse: TargetGrid) -> list[str]:
    (ny, nx), (my, mx) = fine.horizontal.shape, coarse.horizontal.shape
    if type(fine.horizontal) is not type(coarse.horizontal):
        return ["one grid is on the sphere, the other is not"]
    if ny % my or nx % mx:
        return [f"{ny} x {nx} fine cells are no multiple of {my} x {mx} coarse ones"]
    out = []
    for what, a, b in zip(("latitudes", "longitudes"), _edges(fine), _edges(coarse)):
        step = (a.size - 1) // (b.size - 1)
        if not np.allclose(a[::step], b, **_CLOSE):
            worst = np.abs(a[::step] - b).max()
            out.append(f"{what} of the coarse faces are not fine ones (off by up to {worst:.3g})")
    return out


def _edges(grid: TargetGrid) -> tuple[np.ndarray, np.ndarray]:
    h = grid.horizontal
    if isinstance(h, LatLonGrid):
        return h.lat_edges, h.lon_edges
    return (h.y0 + np.arange(h.ny + 1) * h.dy) / 1e3, np.arange(h.nx + 1) * h.dx / 1e3


class Coarsening:
    """From fields of a fine grid to those of a coarse one. Numpy, on rank 0.

    Args:
        fine, coarse: grids that nest horizontally.
        ratio: fine cells per coarse cell in each direction, to be checked; default: whatever fits.
        velocity: ``transport``: the coarse model's faces carry exactly the fine transport, so
            coarse divergences are sums of fine ones; ``mean``: the mean velocity through the fine
            faces' open area.

    Raises:
        TargetError: the grids do not nest.
    """

    def __init__(
        self,
        fine: TargetGrid,
        coarse: TargetGrid,
        ratio: int | None = None,
        velocity: str = "transport",
    ):
        problems = _horizontal_problems(fine, coarse)
        if problems:
            raise TargetError(
                f"the fine grid does not nest in the coarse one: {'; '.join(problems)}"
            )
        if velocity not in ("transport", "mean"):
            raise TargetError(f"velocity is '{velocity}': use 'transport' or 'mean'")
        (ny, nx), (my, mx) = fine.horizontal.shape, coarse.horizontal.shape
        self.ratio = (ny // my, nx // mx)
        if ratio is not None and self.ratio != (ratio, ratio):
            raise TargetError(
                f"the grids nest by {self.ratio[0]} x {self.ratio[1]}, wanted is a ratio of {ratio}"
            )
        self.fine, self.coarse, self.velocity = fine, coarse, velocity

    def __call__(self, fields: dict[str, np.ndarray], masked: bool = True) -> Coarse:
        """Coarse-grain one state.

        Args:
            fields: name to fine global array: tracers, ``u``, ``v`` ``(nz, ny, nx)``, ``eta``
                ``(ny, nx)``. With ``eta`` the volumes are those of the moving surface, without it
                those at rest.
            masked: NaN where the coarse model has land. False keeps every coarse cell that holds
                fine water, so that integrals are those of the fine run to round-off.

        Raises:
            TargetError: an array that does not fit the fine grid.
        """
        self._check(fields)
        out = Coarse()
        eta = fields.get("eta")
        for name, values in fields.items():
            at = name if name in ("u", "v") else "c"
            if name == "eta":
                mean, weight = self._area_mean(values)
            elif at == "c":
                per = self.fine.area * _stretch(self.fine, "c", eta)
                mean, weight = _ratio(self._sums("c", per, values), self._sums("c", per))
            else:
                mean, weight = self._faces(at, values, eta)
            wet = self.coarse.thickness(at) > 0
            out.values[name] = (
                np.where(wet[0] if mean.ndim == 2 else wet, mean, np.nan) if masked else mean
            )
            out.weights[name] = weight
        return out

    def targets(self, times, states: list[dict[str, np.ndarray]]) -> Targets:
        """Targets of several fine states at ``times`` (s)."""
        coarse = [self(s).values for s in states]
        return Targets(
            np.asarray(times, float), {n: np.stack([c[n] for c in coarse]) for n in coarse[0]}
        )

    def missing(self) -> tuple[int, int, float]:
        """Coarse wet cells without fine water, all coarse wet cells, share of fine volume in coarse
        land."""
        volume, wet = self._sums("c", self.fine.area), self.coarse.cells > 0
        return (
            int((wet & (volume <= 0)).sum()),
            int(wet.sum()),
            float(volume[~wet].sum() / volume.sum()),
        )

    def _area_mean(self, values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Mean over the wet area of the surface, and that area."""
        area = self.fine.area * (self.fine.cells[0] > 0)
        held = np.where(area > 0, values, 0.0) * area
        return _ratio(_reduce(held, "c", self.ratio), _reduce(area, "c", self.ratio))

    def _faces(self, at: str, values: np.ndarray, eta) -> tuple[np.ndarray, np.ndarray]:
        """Velocity through coarse faces and the face areas that it stands for."""
        width = _width(self.fine, at) * _stretch(self.fine, at, eta)
        transport, area = self._sums(at, width, values), self._sums(at, width)
        if self.velocity == "mean":
            return _ratio(transport, area)
        coarse_eta = None if eta is None else np.nan_to_num(self._area_mean(eta)[0])
        face = (
            self.coarse.thickness(at)
            * _width(self.coarse, at)
            * _stretch(self.coarse, at, coarse_eta)
        )
        return _ratio(transport, face)

    def _sums(self, at: str, per: np.ndarray, values: np.ndarray | None = None) -> np.ndarray:
        """``sum(values * thickness * per)`` over the fine water of coarse cells or faces, ``(nz,
        ny, nx)``."""
        fine, coarse = self.fine.vertical.edges, self.coarse.vertical.edges.copy()
        coarse[-1] = (
            np.inf
        )  # water below the coarse grid's last interface belongs to its last layer
        thickness = self.fine.thickness(at)
        top = fine[:-1, None, None]
        out = []
        for upper, lower in zip(coarse[:-1], coarse[1:]):
            near = (fine[:-1] < lower) & (fine[1:] > upper)
            part = np.minimum(top[near] + thickness[near], lower) - np.maximum(top[near], upper)
            part = np.maximum(part, 0.0) * per
            # What a dry cell holds (0 or NaN) must not matter.
            part = part if values is None else np.where(part > 0, values[near], 0.0) * part
            out.append(_reduce(part.sum(0), at, self.ratio))
        return np.stack(out)

    def _check(self, fields) -> None:
        shape = (self.fine.vertical.nz, *self.fine.horizontal.shape)
        for name, values in fields.items():
            wanted = shape[1:] if name == "eta" else shape
            if np.shape(values) != wanted:
                raise TargetError(f"{name} has shape {np.shape(values)}, the fine grid {wanted}")


def _width(grid: TargetGrid, at: str) -> np.ndarray:
    return grid.metrics.dy_u if at == "u" else grid.metrics.dx_v


def _stretch(grid: TargetGrid, at: str, eta: np.ndarray | None) -> np.ndarray:
    """``1 + eta / H`` as in the model's continuity equation; 1 without ``eta``."""
    if eta is None:
        return np.ones(grid.horizontal.shape)
    depth, m = grid.thickness(at).sum(0), grid.metrics
    if at != "c":
        held = eta * m.area_c
        near = np.roll(held, 1, -1) if at == "u" else np.concatenate([held[:1], held[:-1]])
        eta = 0.5 * (held + near) / (m.area_u if at == "u" else m.area_v)
    return 1.0 + np.where(depth > 0, eta / np.where(depth > 0, depth, 1.0), 0.0)


def _reduce(x: np.ndarray, at: str, ratio: tuple[int, int]) -> np.ndarray:
    """Sums over the fine cells of a coarse cell, or over the fine faces that lie on a coarse
    one."""
    ry, rx = ratio
    if at == "u":
        x = x[..., ::rx]
    elif at == "v":
        x = x[..., ::ry, :]
    *lead, ny, nx = x.shape
    if at == "u":
        return x.reshape(*lead, ny // ry, ry, nx).sum(-2)
    if at == "v":
        return x.reshape(*lead, ny, nx // rx, rx).sum(-1)
    return x.reshape(*lead, ny // ry, ry, nx // rx, rx).sum((-3, -1))


def _ratio(total: np.ndarray, weight: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    there = weight > 0
    return np.where(there, total / np.where(there, weight, 1.0), np.nan), weight
