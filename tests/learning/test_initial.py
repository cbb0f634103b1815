"""Changes of the initial state: their covariance, tiles, recipes, and an anomaly that is found
again."""

from __future__ import annotations

from types import SimpleNamespace

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dogcm.components.errors import ConfigError
from dogcm.decomp import Decomposition, Halo, SerialCommunicator, make_layout, world
from dogcm.decomp.binding import looks_like_mpi_launch
from dogcm.field import Field
from dogcm.grid.bathymetry import vertical_cells
from dogcm.grid.geometry import build_grid
from dogcm.grid.horizontal import CartesianGrid, LatLonGrid
from dogcm.grid.vertical import VerticalGrid
from dogcm.halo import connect
from dogcm.learning.columns import at_columns
from dogcm.learning.initial import LONGEST, InitialChange, InitialSet
from dogcm.learning.losses import squared_error
from dogcm.learning.problem import Problem
from dogcm.learning.recipe import load_recipe
from dogcm.learning.training import train
from dogcm.targets.blobs import blob_field

one_rank = pytest.mark.skipif(looks_like_mpi_launch(), reason="checked on one rank")
SHAPE, DZ, DX = (24, 24), np.full(20, 100.0), 50e3
MIDDLE = (10, 12, 12)


def tile(comm, layout, horizontal, depth, dz=DZ):
    """A grid on this rank's tile, without a model."""
    d = Decomposition(layout, comm)
    cells = vertical_cells(depth, dz, 0.2, 20.0) if comm.rank == 0 else None
    grid = build_grid(horizontal, VerticalGrid(dz), d, cells, 2, Halo.of(2))
    return SimpleNamespace(grid=grid, halos=connect(layout, comm), d=d, tile=d.tile)


def spread(o, item):
    """``c -> s N D c`` on plain arrays, compiled."""
    both = InitialSet([item])
    return jax.jit(
        lambda c: both.changes({item.name: Field(c, "c")}, o.halos, o.grid)[item.name].data
    )


@pytest.fixture(scope="module")
def plane():
    layout = make_layout(SHAPE, 1, 1, periodic_x=True)
    return tile(SerialCommunicator(), layout, CartesianGrid(24, 24, DX, DX), np.full(SHAPE, 2000.0))


@pytest.mark.parametrize("length, depth", [(0.0, 0.0), (2.5 * DX, 300.0), (1e9, 0.0)])
def test_covariance_in_wide_water(plane, length, depth):
    """One row of B = s N D D' N s, by the transpose: variance s2, and a Gaussian of the lengths
    around it."""
    change = spread(plane, InitialChange("temperature", 0.5, length, depth))
    unit = jnp.zeros((20, *SHAPE)).at[MIDDLE].set(1.0)
    back = jax.jit(lambda e: jax.linear_transpose(change, e)(e)[0])(unit)
    row = np.asarray(change(back))
    assert row[MIDDLE] == pytest.approx(0.25, rel=2e-2)
    k, j, i = MIDDLE
    far = min(length, LONGEST * DX)
    for place, away, scale in (
        ((k, j, i + 2), 2 * DX, far),
        ((k, j - 1, i), DX, far),
        ((k + 2, j, i), 200.0, depth),
    ):
        expected = np.exp(-0.5 * (away / scale) ** 2) if scale else 0.0
        assert row[place] / row[MIDDLE] == pytest.approx(expected, abs=0.06)


def test_walls_are_not_crossed():
    """A basin on each side of a ridge; what lies on land changes nothing and costs nothing."""
    depth = np.full(SHAPE, 2000.0)
    depth[:, [0, 12]] = 0.0
    layout = make_layout(SHAPE, 1, 1)
    o = tile(SerialCommunicator(), layout, CartesianGrid(24, 24, DX, DX, periodic=False), depth)
    item = InitialChange("temperature", 1.0, 4 * DX, 500.0)
    change = np.asarray(spread(o, item)(jnp.zeros((20, *SHAPE)).at[3, 12, 11].set(1.0)))
    assert (change[:, :, 12:] == 0).all() and (change[:, 4:20, 5:12] > 0).any()
    land = Field(jnp.ones((20, *SHAPE)) * (1 - o.grid.mask_c.interior), "c")
    both = InitialSet([item])
    assert (both.changes({"temperature": land}, o.halos, o.grid)["temperature"].data == 0).all()
    assert both.background({"temperature": land}, o.grid) == 0.0
    wet = Field(o.grid.mask_c.interior * 3.0, "c")
    assert both.background({"temperature": wet}, o.grid) == pytest.approx(
        4.5 * float(o.grid.mask_c.interior.sum())
    )


def test_sea_level_and_single_precision(plane):
    """Two-dimensional controls; a model of 32 bits gets changes of 32 bits."""
    change = spread(plane, InitialChange("eta", 0.05, 3 * DX))(jnp.ones(SHAPE, jnp.float64))
    # An even control stays even, where the variance of independent ones would be taken away.
    assert float(change.std() / change.mean()) < 1e-12 and float(change.mean()) > 0.05
    grid = jax.tree.map(lambda x: x.astype(jnp.float32), plane.grid)
    items = InitialSet(
        [InitialChange("temperature", 0.5, 3 * DX, 200.0), InitialChange("eta", 0.05, 3 * DX)]
    )
    controls = {
        "temperature": Field(jnp.ones((20, *SHAPE), jnp.float32), "c"),
        "eta": Field(jnp.ones(SHAPE, jnp.float32), "c"),
    }
    found = jax.eval_shape(lambda c: items.changes(c, plane.halos, grid), controls)
    assert {f.dtype for f in found.values()} == {jnp.dtype("float32")}


@pytest.mark.parametrize(
    "kind, says",
    [
        (dict(name="u", scale=1.0), "cannot be learned; choose from temperature"),
        (dict(name="eta", scale=0.0), "scale must be above 0"),
        (dict(name="eta", scale=1.0, length=-1.0), "lengths at least 0"),
    ],
)
def test_what_cannot_be_changed(kind, says):
    with pytest.raises(ValueError, match=says):
        InitialChange(**kind)


# ---- recipes
GYRE = {
    "grid.nx": 12,
    "grid.ny": 10,
    "grid.nz": 2,
    "physics.tracer_advection": "upwind",
    "physics.momentum_advection": "none",
}
BLOB = {"amplitude": 1.0, "lon": 600, "lat": 500, "depth": 500, "width": 250e3, "thickness": 1000}
RECIPE = {
    "name": "start",
    "experiment": "gyre",
    "overrides": GYRE,
    "initial": {"temperature": {"length": 4e5, "depth": 0}},
    "targets": {"spinup": 1, "days": 0.5, "every": 0.25, "test": 0, "blobs": [BLOB]},
    "loss": {"factors": {"temperature": 1}, "scales": "typical", "background": 1e-5},
    "curriculum": [{"updates": 40, "days": 0.5}],
    "optimiser": {"learning_rate": {"initial": 2.0}, "clip": 1e6},
    "checkpoint": "none",
}


@pytest.mark.parametrize(
    "change, says",
    [
        ({"initial": {"speed": {}}}, "initial.speed"),
        ({"initial": {"temperature": {"lenght": 1}}}, "did you mean length"),
        ({"initial": {"temperature": {"scale": 0}}}, "scale"),
        ({"batch": 2}, "belongs to one window: batch and groups must be 1"),
        (
            {"initial": {}, "learnable": ["lateral_viscosity"]},
            "loss.background weighs changes of the initial state",
        ),
        ({"loss.columns": {"eta": 3}}, "loss.columns: eta is not compared"),
        ({"loss.columns": {"temperature": 0}}, "at least 1 column"),
        (
            {"targets.kind": "finer"},
            "targets.blobs: finer has no such option; it belongs to kind twin",
        ),
    ],
)
def test_bad_recipes(change, says):
    with pytest.raises(ConfigError, match=says):
        load_recipe(RECIPE, change)


def test_words_of_a_recipe():
    short = load_recipe(RECIPE, {"initial": ["temperature", "eta"]})
    assert [(i.name, i.scale, i.length) for i in short.initial_set().items] == [
        ("temperature", 0.5, 1e6),
        ("eta", 0.05, 1e6),
    ]
    # Older checkpoints do not know these keys: left alone they are no difference.
    plain = load_recipe({"experiment": "gyre", "learnable": ["lateral_viscosity"]})
    assert "initial" not in plain.identity() and "blobs" not in plain.targets.identity()
    assert (
        load_recipe(RECIPE).identity()
        != load_recipe(RECIPE, {"initial.temperature.length": 5e5}).identity()
    )


@pytest.mark.slow
@one_rank
def test_an_anomaly_is_found_again(tmp_path):
    """From the temperature of half a day: the truth's blob, which the starts of rollouts do not
    have."""
    own = {"targets.folder": str(tmp_path / "truth")}
    trainer = train(load_recipe(RECIPE, own), tmp_path / "run", quiet=True)
    model, fixed = trainer.targets.model, trainer.fixed
    truth = np.asarray(blob_field(load_recipe(RECIPE).targets.blobs[0], model).data)
    assert truth.max() > 0.7
    problem = trainer.share.__self__
    assert isinstance(problem, Problem)
    state = trainer.targets.state(0)
    found = (
        problem.start(trainer.weights.trainable, state, fixed).temperature.data
        - state.temperature.data
    )
    assert np.abs(found - truth).max() < 0.1 * truth.max()
    # A start belongs to one window, and half as long rollouts could start from two records of the
    # same truth.
    with pytest.raises(ConfigError, match="one window, but 2 windows of 0.25 days"):
        train(
            load_recipe(RECIPE, own | {"curriculum": [{"updates": 1, "days": 0.25}]}),
            tmp_path / "other",
            quiet=True,
        )


# ---- columns
def columns_on(comm, layout):
    depth = np.random.default_rng(1).uniform(-200, 590, SHAPE).clip(0)
    return tile(comm, layout, LatLonGrid.regular(24, 24), depth, np.array([100.0, 200.0, 300.0]))


def restricted(o, columns, seed=0):
    loss = squared_error(o.halos, o.grid, {"temperature": 2.0, "eta": 1.0}, {}, "level")
    return loss, at_columns(loss, columns, o.d, o.halos, o.grid, seed)


@one_rank
def test_a_few_columns():
    o = columns_on(SerialCommunicator(), make_layout(SHAPE, 1, 1, periodic_x=True))
    loss, few = restricted(o, {"temperature": 40})
    seen = np.asarray(few.weights["temperature"][0] > 0)
    assert seen.sum() == 40 and (np.asarray(o.grid.wet_c.interior)[seen] == 1).all()
    assert few.weights["eta"] is loss.weights["eta"]
    for one, other in zip(few.weights["temperature"], loss.weights["temperature"]):
        assert float(one.sum()) == pytest.approx(float(other.sum()))
    assert not np.array_equal(
        restricted(o, {"temperature": 40}, 1)[1].weights["temperature"] > 0,
        few.weights["temperature"] > 0,
    )
    for bad, says in (
        ({"salinity": 3}, "not among the compared"),
        ({"eta": 10**4}, "cannot be drawn"),
    ):
        with pytest.raises(ValueError, match=says):
            restricted(o, bad)


# ---- tiles
@pytest.mark.mpi(min_size=2)
@pytest.mark.parametrize(
    "px",
    [pytest.param(1, marks=pytest.mark.ranks(2)), pytest.param(2, marks=pytest.mark.ranks(4))],
)
def test_tiles_give_the_same_bits(px):
    comm = world()
    if comm.size % px:
        pytest.skip("does not divide")
    layout = make_layout(SHAPE, px, comm.size // px, periodic_x=True, min_cells=2)
    alone = columns_on(SerialCommunicator(), make_layout(SHAPE, 1, 1, periodic_x=True))
    tiles = columns_on(comm, layout)
    values = np.random.default_rng(3).normal(size=(3, *SHAPE))
    t = tiles.tile
    here = (..., slice(t.j0, t.j1), slice(t.i0, t.i1))
    item = InitialChange("temperature", 0.5, 2e6, 300.0)
    whole = np.asarray(spread(alone, item)(jnp.asarray(values)))
    np.testing.assert_array_equal(spread(tiles, item)(jnp.asarray(values[here])), whole[here])
    assert np.abs(whole).max() > 0.5
    share = InitialSet([item]).background(
        {"temperature": Field(jnp.asarray(values[here]), "c")}, tiles.grid
    )
    total = InitialSet([item]).background(
        {"temperature": Field(jnp.asarray(values), "c")}, alone.grid
    )
    assert float(jax.jit(tiles.halos.psum)(share)) == pytest.approx(float(total))
    few, one = restricted(tiles, {"temperature": 40})[1], restricted(alone, {"temperature": 40})[1]
    np.testing.assert_allclose(
        few.weights["temperature"], one.weights["temperature"][here], rtol=1e-12
    )
