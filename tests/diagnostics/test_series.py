"""Series of one's own: what is refused before a run, and sums over a folded globe."""

from __future__ import annotations

import jax.numpy as jnp
import numpy as np
import pytest

from dogcm.decomp import SerialCommunicator, make_layout
from dogcm.decomp.binding import looks_like_mpi_launch
from dogcm.diagnostics.series import DiagnosticSeries, Ocean, add_series, check_shapes
from dogcm.halo import connect
from dogcm.io.series import Axis, SeriesVariable

pytestmark = pytest.mark.skipif(looks_like_mpi_launch(), reason="checked on one rank")
NY, NX, NZ = 6, 8, 3


class Total(DiagnosticSeries):
    """The whole of a layer."""

    axes = ("layer",)
    layers = True

    def sample(self, scene):
        return scene.state.temperature

    def number(self, mean, ocean):
        return ocean.sum(mean.interior * ocean.area)

    def own_axes(self):
        return {"layer": ((1.0, 2.0, 3.0), "1", "number of the layer")}


class OfNothing(Total):
    """On an axis that nobody has."""

    axes = ("column",)


class Flat(Total):
    """Of another shape than that of its axis."""

    def number(self, mean, ocean):
        return super().number(mean, ocean).sum()


class Broken(Total):
    """One that fails."""

    def number(self, mean, ocean):
        return ocean.volume


def ocean(north_fold=False):
    layout = make_layout((NY, NX), 1, 1, north_fold=north_fold)
    area = jnp.arange(1.0, NY * NX + 1).reshape(NY, NX)
    return Ocean(None, area, jnp.ones((1, NY, NX)), connect(layout, SerialCommunicator()))


def test_sums_count_each_cell_once():
    values = np.random.default_rng(3).normal(size=(2, 2, NY, NX))
    np.testing.assert_allclose(ocean().sum(values), values.sum((-1, -2)), rtol=1e-13)
    once = values[..., :-1, :].sum((-1, -2)) + values[..., -1, : NX // 2].sum(-1)
    np.testing.assert_allclose(ocean(True).sum(values), once, rtol=1e-13)


def test_a_series_brings_its_axis():
    axes, variables = {"zw": Axis((0.0, 1.0), {})}, []
    own = {"total": Total(), "again": Total()}
    add_series(own, axes, variables)
    check_shapes(own, axes, ocean(), NZ)
    assert [v.name for v in variables] == ["total", "again"]
    assert axes["layer"].values == (1.0, 2.0, 3.0)
    assert variables[0].long_name == "The whole of a layer." and variables[0].axes == ("layer",)


@pytest.mark.parametrize(
    "own, text",
    [
        ({"heat": Total()}, "series.heat: the file has a variable of this name"),
        ({"time": Total()}, "series.time: the file has a variable of this name"),
        ({"lat": Total()}, "series.lat: the file has a variable of this name"),
        ({"basin_name": Total()}, "series.basin_name: the file has a variable of this name"),
        ({"x": Total(), "layer": Total()}, "series.x: the file has a variable layer; rename"),
        ({"x": OfNothing()}, "series.x: there is no axis column; there are zw, basin, layer"),
        ({"x": Flat()}, r"series.x: Flat.number gives the shape \(\), and its axes \(layer\)"),
        ({"x": Broken()}, "series.x: Broken.number fails: AttributeError"),
    ],
)
def test_faults_are_named_before_the_first_step(own, text):
    axes = {"zw": Axis((0.0, 1.0), {}), "basin": Axis(("global",), {})}
    with pytest.raises(ValueError, match=text):
        add_series(own, axes, [SeriesVariable("heat", (), "J", "", "")], ["lat", "lon"])
        check_shapes(own, axes, ocean(), NZ)


def test_two_axes_of_one_name_are_refused():
    with pytest.raises(ValueError, match="another axis layer"):
        add_series({"x": Total()}, {"layer": Axis((0.0, 1.0), {})}, [])
