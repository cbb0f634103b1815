"""From the three-dimensional truth to the plane that a coarse model sees, and its file.

A cell of the plane is a box as thick as the slab; its concentration is mass per volume of air in
it, so the plane's mass is the slab's. Velocities on its faces are volume fluxes per area.
"""

from __future__ import annotations

from pathlib import Path

import netCDF4
import numpy as np
from flow import Flow
from room import Cells

VERSION = 1
UNITS = {
    "concentration": ("kg m-3", "concentration of the tracer, mass per volume of air"),
    "u": ("m s-1", "velocity along x on faces, volume flux per area of the whole face"),
    "v": ("m s-1", "velocity along y on faces, volume flux per area of the whole face"),
    "w_top": ("m s-1", "upward velocity through the top of the slab"),
    "w_bottom": ("m s-1", "upward velocity through the bottom of the slab"),
    "divergence": ("s-1", "divergence of u and v; what leaves the slab through top and bottom"),
    "eddy_diffusivity": ("m2 s-1", "eddy diffusivity of the tracer, mean over the air of a cell"),
    "mask": ("1", "share of a cell that is air"),
    "open_x": ("1", "share of a face along x that air can pass"),
    "open_y": ("1", "share of a face along y that air can pass"),
    "time": ("s", "time since the sources began"),
    "x": ("m", "centre of a cell"),
    "y": ("m", "centre of a cell"),
    "x_face": ("m", "face between cells"),
    "y_face": ("m", "face between cells"),
    "source_x": ("m", "x of a source when it begins"),
    "source_y": ("m", "y of a source when it begins"),
    "source_z": ("m", "z of a source when it begins"),
    "source_end_x": ("m", "x of a source at source_travel"),
    "source_end_y": ("m", "y of a source at source_travel"),
    "source_end_z": ("m", "z of a source at source_travel"),
    "source_travel": ("s", "time in which a source moves evenly from begin to end"),
    "source_strength": ("kg s-1", "what a source releases, in a cube of 0.1 m"),
    "inventory": ("kg", "mass in the whole room"),
    "exhausted": ("kg", "mass that has left the room"),
    "emitted": ("kg", "mass that was released"),
    "flow": ("1", "number of the flow of a case"),
}


class CoarsePlane:
    """The cells of ``spacing`` metres that cover the slab of ``levels`` of fine ``cells``. Where
    the room is no whole number of them, the last ones reach beyond the wall (``mask`` < 1). Fine
    cells may be cut: the concentration is uniform in them, and velocities are linear between faces
    of one axis, which gives the parts of a cell its divergence."""

    def __init__(self, cells: Cells, levels: tuple, spacing: float):
        self.cells, self.levels, self.spacing = cells, slice(*levels), spacing
        fine = cells.air.shape[2], cells.air.shape[1]
        self.shares = [_shares(n, d, spacing) for n, d in zip(fine, cells.spacing)]
        self.mask = self.mean(cells.air[self.levels].mean(0))

    @property
    def shape(self) -> tuple:
        """Cells along y and x."""
        return len(self.shares[1]), len(self.shares[0])

    def mean(self, a: np.ndarray) -> np.ndarray:
        """Mean over whole coarse cells of fine (..., y, x) cells, zero beyond the room."""
        along_x, along_y = self.shares
        return along_y @ (a @ along_x.T)

    def concentration(self, slab: np.ndarray) -> np.ndarray:
        """Mass per volume of air from the mean over the levels, fine (..., y, x); zero in cells
        without air."""
        mass = self.mean(slab.astype(np.float64))
        return np.where(self.mask > 0, mass / np.where(self.mask > 0, self.mask, 1), 0)

    def _on_faces(self, a: np.ndarray, axis: int) -> np.ndarray:
        """Mean over coarse faces of fine faces along x (0) or y (1): (nz, ny, nx) and one more."""
        slab = a[self.levels].mean(0)
        slab = self.shares[1 - axis] @ (slab if axis == 0 else slab.T)
        at = np.arange(self.shape[1 - axis] + 1) * self.spacing / self.cells.spacing[axis]
        number = np.arange(slab.shape[1])
        faces = np.stack([np.interp(at, number, row, right=0.0) for row in slab])
        return faces if axis == 0 else faces.T

    def fields(self, flow: Flow) -> dict[str, np.ndarray]:
        """What the coarse model is told of a flow, by the names of `UNITS`."""
        u, v = (self._on_faces(flow.velocity[a], a) for a in (0, 1))
        low, high = self.levels.start, self.levels.stop
        diffusivity = self.mean(flow.diffusivity[self.levels].mean(0))
        return {
            "u": u,
            "v": v,
            "w_bottom": self.mean(flow.velocity[2][low]),
            "w_top": self.mean(flow.velocity[2][high]),
            "divergence": (np.diff(u, axis=1) + np.diff(v, axis=0)) / self.spacing,
            "eddy_diffusivity": diffusivity / np.where(self.mask > 0, self.mask, 1),
            "mask": self.mask,
            "open_x": self._on_faces(flow.cells.open[0].astype(float), 0),
            "open_y": self._on_faces(flow.cells.open[1].astype(float), 1),
        }


def _shares(n: int, d: float, spacing: float) -> np.ndarray:
    """The share of coarse cells that each of ``n`` fine cells of ``d`` takes up, (coarse, n)."""
    low, count = np.arange(n) * d, int(np.ceil(n * d / spacing - 1e-6))
    edge = np.arange(count)[:, None] * spacing
    overlap = np.minimum(low + d, edge + spacing) - np.maximum(low, edge)
    return np.maximum(overlap, 0) / spacing


AXES = {
    "concentration": ("case", "time", "y", "x"),
    "u": ("y", "x_face"),
    "v": ("y_face", "x"),
    "open_x": ("y", "x_face"),
    "open_y": ("y_face", "x"),
    "time": ("time",),
    **{n: (n,) for n in ("x", "y", "x_face", "y_face")},
    **{n: ("y", "x") for n in ("w_top", "w_bottom", "divergence", "eddy_diffusivity", "mask")},
    **{f"source_{n}": ("case", "source") for n in ("x", "y", "z", "strength")},
    **{f"source_end_{n}": ("case", "source") for n in "xyz"},
    **{n: ("case", "time") for n in ("inventory", "exhausted", "emitted")},
    "source_travel": ("case",),
    "flow": ("case",),
}
OF_A_FLOW = ("u", "v", "open_x", "open_y", "w_top", "w_bottom", "divergence")
OF_A_FLOW += ("eddy_diffusivity", "mask")


def write(path: Path, values: dict, splits: list[str], attributes: dict, digits: int = 0) -> None:
    """Write a truth (netCDF-4, CF-1.11). What `CoarsePlane.fields` gives has a leading axis of
    flows; it is dropped where there is one flow only. ``digits`` > 0 keeps so many significant
    digits of the concentration, for small files."""
    one = len(values["u"]) == 1
    with netCDF4.Dataset(path.with_suffix(".part"), "w") as file:
        file.setncatts({"Conventions": "CF-1.11", "version": VERSION, **attributes})
        for name, value in values.items():
            axes = AXES[name]
            if name in OF_A_FLOW:
                value, axes = (value[0], axes) if one else (value, ("flow_number", *axes))
            for axis, n in zip(axes, np.shape(value)):
                if axis not in file.dimensions:
                    file.createDimension(axis, n)
            kind = "i4" if name == "flow" else "f8" if len(axes) == 1 else "f4"
            more = {"significant_digits": digits} if digits and name == "concentration" else {}
            variable = file.createVariable(name, kind, axes, zlib=True, complevel=4, **more)
            variable.units, variable.long_name = UNITS[name]
            variable[:] = value
        variable = file.createVariable("split", str, ("case",))
        variable.long_name = "what a case is for: train or test"
        variable[:] = np.array(splits, object)
    path.with_suffix(".part").replace(path)
