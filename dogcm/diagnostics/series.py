"""Series of one's own in ``diagnostics.nc``: numbers of the whole ocean, one record an interval."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, ClassVar

import jax
import jax.numpy as jnp

from dogcm.components import Component
from dogcm.components.base import summary
from dogcm.diagnostics.variables import Scene, Variable
from dogcm.field import Field
from dogcm.halo import exact_sum, once
from dogcm.io.series import Axis, SeriesVariable

SAMPLE = "series."  # before the name of a series: that of its mean


@dataclass(frozen=True)
class Ocean:
    """What a series is computed with, on this rank's tile.

    Attributes:
        grid: :class:`dogcm.grid.geometry.Grid`. area: of cells (m2), (y, x), without halo.
        basins: 1 in the cells of each basin, (basins, y, x).
        halos: for sums and exchanges of one's own.
    """

    grid: Any
    area: jax.Array
    basins: jax.Array
    halos: Any

    def sum(self, values: jax.Array, at: str = "c") -> jax.Array:
        """Sums over the globe of ``(..., y, x)``, the same bits on every layout; a cell that a
        north fold stores twice counts once.

        Args:
            at: place of the values on the C grid.
        """
        values = once(self.halos, jnp.asarray(values, jnp.float64), at)
        flat = values.reshape(-1, *values.shape[-2:])
        return exact_sum(self.halos, *flat).reshape(values.shape[:-2])


class DiagnosticSeries(Component):
    """A series of one's own, declared under its name in ``run.diagnostics.series``.

    :meth:`sample` is averaged over all steps of an interval, and :meth:`number` makes of its mean
    what the file holds.

    Attributes:
        at: place of what is averaged (c, u or v). layers: whether it has one value a layer.
        axes: of what the file holds, after time: ``basin``, ``zw``, others that the file has, or
            those of :meth:`own_axes`. unit: as UDUNITS reads it. standard_name: of the CF table,
            or empty.
    """

    slot: ClassVar[str] = "diagnostic_series"
    labelled: ClassVar[bool] = True
    at: ClassVar[str] = "c"
    layers: ClassVar[bool] = False
    axes: ClassVar[tuple[str, ...]] = ()
    unit: ClassVar[str] = "1"
    standard_name: ClassVar[str] = ""

    @abstractmethod
    def sample(self, scene: Scene) -> Field:
        """What is averaged, without halo: of the state after a step, and of the step itself
        (``scene.terms``, ``scene.before``)."""

    @abstractmethod
    def number(self, mean: Field, ocean: Ocean) -> jax.Array:
        """What the file holds, with the shape of :attr:`axes` and the same on every rank
        (:meth:`Ocean.sum`), from the mean of the samples on this tile."""

    def own_axes(self) -> dict[str, tuple[tuple[float, ...], str, str]]:
        """Axes that the file has for this series: name -> (values, unit, meaning)."""
        return {}

    # ---- what the file is made of
    def averaged(self, name: str) -> Variable:
        """The variable whose mean is wanted."""
        about = (f"{SAMPLE}{name}", self.at, self.layers, self.unit, "", "")
        return Variable(*about, self.sample, of_step=True)

    def described(self, name: str) -> SeriesVariable:
        """What the file says about it."""
        return SeriesVariable(name, self.axes, self.unit, self.standard_name, summary(type(self)))


def add_series(
    own: dict[str, DiagnosticSeries],
    axes: dict[str, Axis],
    variables: list[SeriesVariable],
    constants: Iterable[str] = (),
) -> None:
    """Add the axes and variables of series of one's own to those of a file.

    Args:
        constants: names of what else the file holds.

    Raises:
        ValueError: a name that is taken, or an axis that nobody has.
    """
    taken = {v.name for v in variables} | {*axes, *constants, "time", "time_bnds"}
    taken |= {f"{n}_name" for n, axis in axes.items() if axis.names}  # its variable, see SeriesFile
    for name, one in own.items():
        where = f"series.{name}"
        if name in taken:
            raise ValueError(f"{where}: the file has a variable of this name; choose another")
        taken.add(name)
        for axis, (values, unit, text) in one.own_axes().items():
            made = Axis(tuple(map(float, values)), {"units": unit, "long_name": text})
            if axis not in axes and axis in taken | {*own}:
                raise ValueError(f"{where}: the file has a variable {axis}; rename the axis")
            if axes.setdefault(axis, made) != made:
                raise ValueError(f"{where}: the file has another axis {axis}; rename it")
        missing = [a for a in one.axes if a not in axes]
        if missing:
            raise ValueError(f"{where}: there is no axis {missing[0]}; there are {', '.join(axes)}")
        variables.append(one.described(name))


def check_shapes(
    own: dict[str, DiagnosticSeries], axes: dict[str, Axis], ocean: Ocean, levels: int
) -> None:
    """Compute every series on paper: before the first step rather than after it.

    Raises:
        ValueError: it fails, or its shape is not that of its axes.
    """
    tile = ocean.area.shape
    for name, one in own.items():
        shape = (levels, *tile) if one.layers else tile
        zeros = lambda shape=shape: jnp.zeros(shape, jnp.float64)
        number: Callable = lambda one=one, zeros=zeros: one.number(Field(zeros(), one.at), ocean)
        try:
            found = jax.eval_shape(number).shape
        except Exception as error:  # noqa: BLE001 whatever a user's method raises
            raise ValueError(
                f"series.{name}: {type(one).__name__}.number fails: {type(error).__name__}: {error}"
            ) from None
        wanted = tuple(len(axes[a].values) for a in one.axes)
        if found != wanted:
            raise ValueError(
                f"series.{name}: {type(one).__name__}.number gives the shape {found}, and its axes "
                f"({', '.join(one.axes)}) have {wanted}"
            )


__all__ = ["DiagnosticSeries", "Ocean", "add_series", "check_shapes"]
