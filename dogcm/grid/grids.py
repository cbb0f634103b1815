"""Grids as components: what a configuration says of a grid, and the grid it makes.

A grid of one's own is a subclass of :class:`Grid` with a method ``horizontal``, named in a
configuration as ``package.module:Class``; its options sit beside those of the layers.
"""

from __future__ import annotations

import math
import os
from abc import abstractmethod
from typing import Any, ClassVar

import numpy as np
from pydantic import field_validator, model_validator

from dogcm.components import Component, ConfigError, option
from dogcm.grid.curvilinear import RotatedGrid
from dogcm.grid.horizontal import CartesianGrid, LatLonGrid
from dogcm.grid.supergrid import SupergridGrid
from dogcm.grid.supergrid_files import Fold, Wishes, open_supergrid
from dogcm.grid.tripolar import TripolarGrid
from dogcm.grid.vertical import VerticalGrid, stretched_layers

# Far beyond any ocean; typing errors beyond this would fill the memory before anything is said.
MOST_CELLS, MOST_LAYERS = 100_000, 10_000


class Grid(Component):
    """The horizontal grid and the layers.

    In Python ``dz`` may stand for ``layers``.

    Attributes:
        sphere: whether positions are longitudes and latitudes.
        curvilinear: whether its lines are no parallels and meridians.
    """

    slot: ClassVar[str] = "grid"
    sphere: ClassVar[bool] = True
    curvilinear: ClassVar[bool] = False
    nx: int = option(90, "cells", "cells in x (eastward)", ge=1, le=MOST_CELLS)
    ny: int = option(40, "cells", "cells in y (northward)", ge=1, le=MOST_CELLS)
    layers: list[float] = option(
        list, "m", "layer thicknesses from the surface down; empty: nz, depth and top below"
    )
    nz: int = option(15, "1", "number of layers, if layers is empty", ge=1, le=MOST_LAYERS)
    depth: float = option(5000.0, "m", "total depth, if layers is empty", ge=0.01, le=1e5)
    top: float = option(
        50.0, "m", "thickness of the first layer, if layers is empty", ge=1e-3, le=1e5
    )

    @model_validator(mode="before")
    @classmethod
    def _dz_is_layers(cls, given: Any) -> Any:
        if isinstance(given, dict) and "dz" in given:
            if "layers" in given:
                raise ValueError("dz and layers are the same: give one of them")
            given = {("layers" if k == "dz" else k): v for k, v in given.items()}
        return given

    @field_validator("layers", mode="before")
    @classmethod
    def _layers_of_arrays(cls, layers: Any) -> Any:
        return np.asarray(layers, float).tolist() if isinstance(layers, np.ndarray) else layers

    @field_validator("layers")
    @classmethod
    def _layers_are_thick(cls, layers: list[float]) -> list[float]:
        if len(layers) > MOST_LAYERS:
            raise ValueError(f"{len(layers)} layers: at most {MOST_LAYERS} are possible")
        if any(d <= 0 for d in layers):
            raise ValueError(f"{layers}: every layer must be thicker than 0 m")
        return layers

    @abstractmethod
    def horizontal(self) -> Any:
        """The horizontal grid: an object with what :class:`dogcm.grid.horizontal.LatLonGrid`
        has."""

    def folds(self) -> bool:
        """Whether its last row is folded onto itself."""
        return False

    def vertical(self) -> VerticalGrid:
        """The layers."""
        return VerticalGrid(self.layers or stretched_layers(self.nz, self.depth, self.top))

    def largest_f(self) -> float:
        """Largest Coriolis parameter (s-1)."""
        return 2 * abs(getattr(self, "rotation", 7.292115e-5))


class _OnSphere(Grid):
    """A grid on a sphere that turns."""

    radius: float = option(6.371e6, "m", "radius of the planet", ge=1e3, le=1e9)
    rotation: float = option(7.292115e-5, "rad s-1", "rotation rate of the planet", ge=-0.1, le=0.1)


class _WithLimits(_OnSphere):
    """A latitude-longitude grid, perhaps about another pole."""

    lon: tuple[float, float] = option(
        (0.0, 360.0), "degrees_east", "western and eastern edge (rotated: of its own)"
    )
    lat: tuple[float, float] = option(
        (-80.0, 80.0), "degrees_north", "southern and northern edge (rotated: of its own)"
    )

    @model_validator(mode="after")
    def _limits(self):
        if not -90 <= self.lat[0] < self.lat[1] <= 90:
            raise ValueError(f"grid.lat {self.lat}: must increase within -90 to 90 degrees")
        if not 0 < self.lon[1] - self.lon[0] <= 360:
            raise ValueError(f"grid.lon {self.lon}: must increase by at most 360 degrees")
        return self

    def plain(self) -> LatLonGrid:
        """As if the pole were the geographic one."""
        return LatLonGrid.regular(
            self.nx, self.ny, self.lon, self.lat, radius=self.radius, rotation=self.rotation
        )


class LatLon(_WithLimits):
    """Latitude-longitude grid with equal steps."""

    kind: ClassVar[str] = "latlon"

    def horizontal(self) -> LatLonGrid:
        return self.plain()

    def largest_f(self) -> float:
        return 2 * abs(self.rotation) * math.sin(math.radians(max(map(abs, self.lat))))


class Rotated(_WithLimits):
    """Latitude-longitude grid about another pole."""

    kind: ClassVar[str] = "rotated"
    curvilinear: ClassVar[bool] = True
    pole: tuple[float, float] = option(
        (180.0, 90.0), "degrees", "geographic longitude and latitude of the grid's north pole"
    )

    @model_validator(mode="after")
    def _pole_exists(self):
        if not -90 <= self.pole[1] <= 90:
            raise ValueError(
                f"grid.pole {self.pole}: its latitude must lie within -90 to 90 degrees"
            )
        return self

    def horizontal(self) -> RotatedGrid:
        return RotatedGrid(self.plain(), self.pole)


class Tripolar(_OnSphere):
    """Two poles in the north, on land (Murray 1996)."""

    kind: ClassVar[str] = "tripolar"
    curvilinear: ClassVar[bool] = True
    source: ClassVar[str] = "Murray (1996), doi:10.1006/jcph.1996.0136"
    lon: tuple[float, float] = option(
        (0.0, 360.0), "degrees_east", "longitude of a northern pole, and 360 more"
    )
    lat: tuple[float, float] = option(
        (-80.0, 80.0), "degrees_north", "southern edge (the second is not used)"
    )
    join: float = option(
        66.0, "degrees_north", "latitude where the northern cap begins and its two poles lie"
    )
    mercator: bool = option(
        False, "1", "rows south of the cap as high as wide, instead of equally high"
    )

    @model_validator(mode="after")
    def _round_the_globe(self):
        if abs(self.lon[1] - self.lon[0] - 360.0) > 1e-9:
            raise ValueError(
                f"grid.lon {self.lon}: a tripolar grid goes round the globe: (pole, pole + 360)"
            )
        self.horizontal()
        return self

    def horizontal(self) -> TripolarGrid:
        return TripolarGrid(
            self.nx,
            self.ny,
            self.lat[0],
            self.join,
            self.lon[0],
            self.mercator,
            self.radius,
            self.rotation,
        )

    def folds(self) -> bool:
        return True


class FromFile(_OnSphere):
    """Any orthogonal curvilinear grid from a file: MOM6's ``ocean_hgrid.nc``, or NEMO's
    ``mesh_mask.nc`` or ``domain_cfg.nc``."""

    kind: ClassVar[str] = "file"
    curvilinear: ClassVar[bool] = True
    path: str = option("", "1", "of the file")
    periodic: bool | None = option(
        None, "1", "whether it closes on itself in x; null: as the file says"
    )
    north_fold: Fold = option(
        "file", "1", "how the last row is folded, in NEMO's words; file: as the file says"
    )
    nx: int = option(0, "cells", "columns, to be checked; 0: those of the file", ge=0)
    ny: int = option(0, "cells", "rows, to be checked; 0: those of the file", ge=0)

    @field_validator("path", mode="before")
    @classmethod
    def _path_is_text(cls, path: Any) -> Any:
        return os.fspath(path) if isinstance(path, os.PathLike) else path

    def horizontal(self) -> SupergridGrid:
        file = open_supergrid(self.path, Wishes(self.periodic, self.north_fold))
        (ny, nx), asked = file.shape, (self.ny, self.nx)
        if any(a and a != n for a, n in zip(asked, (ny, nx))):
            raise ConfigError(
                f"grid.nx, grid.ny: {self.nx} x {self.ny} cells are asked for, and {self.path} "
                f"makes {nx} x {ny}; leave them out"
            )
        return SupergridGrid(file, self.radius, self.rotation)

    def folds(self) -> bool:
        return self.horizontal().north_fold


class Cartesian(Grid):
    """A flat plane with equal steps: f-plane or beta-plane."""

    kind: ClassVar[str] = "cartesian"
    sphere: ClassVar[bool] = False
    dx: float = option(20e3, "m", "cell width", ge=1e-3, le=1e7)
    dy: float = option(20e3, "m", "cell height", ge=1e-3, le=1e7)
    f0: float = option(1e-4, "s-1", "Coriolis parameter at y = 0", ge=-0.1, le=0.1)
    beta: float = option(
        0.0, "m-1 s-1", "northward gradient of the Coriolis parameter", ge=-1e-4, le=1e-4
    )
    y0: float = option(0.0, "m", "y of the southern edge")
    periodic: bool = option(True, "1", "whether it closes on itself in x; in Python also ('x',)")

    @field_validator("periodic", mode="before")
    @classmethod
    def _periodic_by_name(cls, periodic: Any) -> Any:
        if isinstance(periodic, str | bool):
            return periodic if isinstance(periodic, bool) else periodic == "x"
        if isinstance(periodic, tuple | list):
            if "y" in periodic:
                raise ValueError("a plane can close on itself in x alone: halos end at walls in y")
            return "x" in periodic
        return periodic

    def horizontal(self) -> CartesianGrid:
        return CartesianGrid(
            self.nx, self.ny, self.dx, self.dy, self.f0, self.beta, self.periodic, self.y0
        )

    def largest_f(self) -> float:
        return max(abs(self.f0 + self.beta * y) for y in (self.y0, self.y0 + self.ny * self.dy))


__all__ = ["Cartesian", "FromFile", "Grid", "LatLon", "Rotated", "Tripolar"]
