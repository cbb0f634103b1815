"""Tiles on four devices of one process: run by test_devices.py in a process that has them."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import xarray as xr
from toy_ocean import STEPS, TRUTH, Toy
from toy_training import trainer_on, values

import dogcm
from dogcm.cli.tiles import on_tiles
from dogcm.decomp import Halo, LayoutError, SerialCommunicator, make_layout, on_devices, world
from dogcm.field import Field, exchange
from dogcm.halo import connect, differentiable_sum, exact_row_sums, exact_sum, once
from dogcm.learning.trainer import Stage

PLACES = ("c", "u", "v", "q")
DEPTH = Halo(2, 1, 1, 2)


# ---- messages
def land_in_a_corner():
    wet = np.ones((8, 12), bool)
    wet[:4, :6] = False
    return wet


LAYOUTS = {
    "periodic": dict(px=2, py=2),
    "row": dict(px=4, py=1),
    "closed": dict(px=2, py=2, periodic_x=False),
    "fold": dict(px=2, py=2, north_fold=True),
    "fold, four in a row": dict(px=4, py=1, north_fold=True, shape=(8, 16)),
    "land": dict(px=2, py=2, wet=land_in_a_corner()),
}


def exchanged(comm, layout, values):
    """All places of the grid with their halos, and sums, from one program."""
    halos = connect(layout, comm)
    tile = layout.tile(comm.rank)
    own = [jnp.asarray(v[..., tile.j0 : tile.j1, tile.i0 : tile.i1]) for v in values]

    def send(*arrays):
        fields = exchange(halos, *((Field(a, at), DEPTH) for a, at in zip(arrays, PLACES)))
        counted = once(halos, arrays[0])
        sums = exact_sum(halos, counted), exact_row_sums(halos, counted)
        return [f.data for f in fields], sums, halos.broadcast(arrays[0].max())

    return jax.tree.map(np.asarray, halos.jit(send)(*own))


def as_mpi_would(layout, rank, values):
    """This rank's halos by the messages that its neighbours would send, one array at a time."""
    from dogcm.decomp.tiles import pad_global

    tile, out = layout.tile(rank), []
    for value, at in zip(values, PLACES):
        fold = at if layout.north_fold else ""
        padded = pad_global(value, DEPTH, layout.periodic_x, np.nan, fold)
        rows = slice(tile.j0, tile.j1 + DEPTH.s + DEPTH.n)
        out.append(padded[..., rows, tile.i0 : tile.i1 + DEPTH.w + DEPTH.e])
    return out


@pytest.mark.parametrize("name", LAYOUTS)
def test_halos_and_sums(name):
    options = dict(LAYOUTS[name])
    shape = options.pop("shape", (8, 12))
    layout = make_layout(shape, **options)
    values = [np.random.default_rng(n).normal(size=(2, *shape)) for n in range(4)]
    values = [_once_told(layout, v, at) for v, at in zip(values, PLACES)]
    if layout.drops_tiles:
        values = [np.where(options["wet"], v, np.nan) for v in values]
    found = on_devices(lambda: exchanged(world(), layout, values), layout.size)
    for rank, (halos, _, _) in enumerate(found):
        for ours, wanted in zip(halos, as_mpi_would(layout, rank, values)):
            known = np.isfinite(wanted)  # not beyond walls, and not on land without a rank
            assert known.sum() > wanted.size // 2
            np.testing.assert_array_equal(ours[known], wanted[known])
    alone = make_layout(shape, 1, 1, **{k: v for k, v in options.items() if k[0] not in "pw"})
    filled = [np.nan_to_num(v) for v in values]
    _, sums, _ = exchanged(SerialCommunicator(), alone, filled)
    for _, theirs, first in found:
        np.testing.assert_array_equal(theirs[0], sums[0])
        np.testing.assert_array_equal(theirs[1], sums[1])
        assert first == found[0][2]


def _once_told(layout, values, at):
    from dogcm.decomp.fold import consistent

    return consistent(values, at) if layout.north_fold else values


# ---- derivatives
def toy_derivatives(comm, px=None):
    """Reverse, forward and second order of a rollout with exchanges and a mean of all tiles in
    it."""
    toy = Toy(comm, px)
    start, grid = toy.start(1), None
    params = {name: jnp.asarray(value) for name, value in TRUTH.items()}

    def share(params, c):
        state = {**start, "c": start["c"].with_data(c)}
        menu = dict(checkpoint="halo")
        last, _ = dogcm.rollout(toy.step, state, params, toy.forcing, grid, STEPS, **menu)
        far = jnp.sin(last["c"].data).sum()
        return far + differentiable_sum(toy.halos, last["c"].data ** 2) / toy.halos.size

    def every(params, c):
        both = jax.grad(share, argnums=(0, 1))(params, c)
        total = lambda p: toy.halos.psum(share(p, c))
        slope = jax.jvp(total, (params,), (params,))[1]
        curved = jax.jvp(lambda x: jax.grad(share, argnums=1)(params, x), (c,), (c,))[1]
        return jax.tree.map(toy.halos.psum, both[0]), both[1], slope, curved

    replicated, by_c, slope, curved = toy.halos.jit(every)(params, start["c"].data)
    whole = lambda x: toy.decomposition.gather(np.asarray(x))
    return {
        **{name: np.asarray(value) for name, value in replicated.items()},
        "start": whole(by_c),
        "slope": np.asarray(slope),
        "second order": whole(curved),
    }


@pytest.mark.parametrize("count, px", [(2, 1), (2, 2), (4, 2)])
def test_derivatives_are_those_of_one_tile(count, px):
    alone = toy_derivatives(SerialCommunicator())
    found = on_devices(lambda: toy_derivatives(world(), px), count)[0]
    assert set(found) == set(alone)
    for name, wanted in alone.items():
        size = np.abs(wanted).max()
        assert size > 0
        np.testing.assert_allclose(found[name], wanted, rtol=0, atol=1e-13 * size, err_msg=name)


def trained(comm):
    """What a training of two stages learns: scalars, and a map by tiles."""
    toy, trainer = trainer_on(comm, check_every=1, curriculum=[Stage(8, 3), Stage(4, STEPS)])
    found = values(toy, trainer.train())
    assert trainer.ranks.fingerprints(trainer.weights) == []
    return found


def test_training_is_that_of_one_tile():
    wanted, found = trained(SerialCommunicator()), on_devices(lambda: trained(world()), 4)[0]
    for name, value in wanted.items():
        np.testing.assert_allclose(found[name], value, rtol=0, atol=1e-12, err_msg=name)


# ---- one program for all
def test_arrays_that_a_function_holds_are_those_of_each_tile():
    def held():
        comm = world()
        toy, mine = Toy(comm), jnp.asarray([1.0, 2.0]) * (comm.rank + 1)
        shared, number = np.arange(2.0), jnp.asarray(comm.rank)
        run = toy.halos.jit(lambda x, n: (x * mine + shared + n, toy.halos.psum(mine), number))
        first = run(jnp.ones(2), 10)
        again = run(jnp.ones(2), 10)
        assert jax.tree.all(jax.tree.map(lambda a, b: bool((a == b).all()), first, again))
        return jax.tree.map(np.asarray, first)

    for rank, (own, total, number) in enumerate(on_devices(held, 4)):
        np.testing.assert_array_equal(own, np.array([1.0, 2.0]) * (rank + 1) + [0, 1] + 10)
        np.testing.assert_array_equal(total, [10.0, 20.0])
        assert number == rank and number.shape == ()


def test_memory_that_is_given_away_is_not_used_again():
    def given():
        run = Toy(world()).halos.jit(lambda x, y: (x + 1, y + 1), donate_argnums=0)
        x, y = jnp.zeros(3), jnp.zeros(3)
        run(x, y)
        return x.is_deleted(), y.is_deleted()

    assert on_devices(given, 2) == [(True, False)] * 2


def of_rank(kind):
    """Programs that are not the same on all tiles, or no program of all tiles."""
    comm = world()
    halos, x = Toy(comm).halos, jnp.ones(4)
    if kind == "number":
        return halos.jit(lambda x: x * (1.0 + comm.rank))(x)
    if kind == "choice":
        return halos.jit(lambda x: x + 1 if comm.rank else jnp.sin(x))(x)
    if kind == "shape":
        return halos.jit(lambda x: x + 1)(jnp.ones(4 + comm.rank))
    if kind == "argument":
        return halos.jit(lambda x, n: x + n)(x, comm.rank)
    if kind == "asks":
        return halos.jit(lambda x: x + halos.rank)(x)
    return jax.jit(halos.psum)(x)


@pytest.mark.parametrize(
    "kind, message",
    [
        ("number", "rank 1 has another than rank 0"),
        ("choice", "rank 1 has another than rank 0"),
        ("shape", r"arrays alike: \(4,\) float64 on rank 0, \(5,\) float64 on rank 1"),
        ("argument", r"plain numbers .* the same on each, not \[0, 1\]"),
        ("asks", "cannot ask for its rank: use HaloExchange.here"),
        ("jax.jit", "compile it by model.jit"),
    ],
)
def test_what_all_tiles_cannot_share_is_refused(kind, message):
    with pytest.raises((ValueError, RuntimeError), match=message):
        on_devices(lambda: of_rank(kind), 2)


# ---- threads
def test_a_tile_that_fails_ends_all():
    def fails():
        comm = world()
        if comm.rank == 2:
            raise KeyError("the third tile")
        if comm.rank == 3:
            comm.receive((1,), np.float64, 2)
        comm.barrier()

    with pytest.raises(KeyError, match="the third tile"):
        on_devices(fails, 4)
    assert world().size == 1


def test_host_messages_are_copies():
    def talk():
        comm = world()
        told = comm.broadcast({"list": [comm.rank]})
        told["list"].append(comm.rank)
        gathered = comm.gather(told)
        assert comm.any(comm.rank == 1) and not comm.any(False)
        return told, gathered

    found = on_devices(talk, 2)
    assert found[0] == ({"list": [0, 0]}, [{"list": [0, 0]}, {"list": [0, 1]}])
    assert found[1] == ({"list": [0, 1]}, None)


def test_devices_that_are_not_there():
    with pytest.raises(LayoutError, match="5 devices are asked for, and this process sees 4"):
        on_devices(world, 5)
    with pytest.raises(LayoutError, match="one of several tiles already"):
        on_devices(lambda: on_devices(world, 2), 2)
    with pytest.raises(LayoutError, match="2 groups of tiles"):
        on_devices(lambda: world().split(2), 4)


def test_one_device_is_one_tile():
    assert on_devices(lambda: type(world()), 1) == [SerialCommunicator]


# ---- the ocean
OCEAN = {"grid.nx": 12, "grid.ny": 12, "grid.layers": [100.0, 900.0]}


@pytest.mark.parametrize(
    "nx, count, request_, message",
    [
        (18, 4, "auto", "tiles of one size .* 18 x 9 cells .*: no layout of 4 does; 3 devices can"),
        (12, 4, "3x1", "has 3 tiles with ocean, but there are 4 ranks"),
        (13, 2, "2x1", "2x1 cuts the grid of 13 x 9 cells into tiles of different size"),
    ],
)
def test_layouts_that_do_not_fit_are_refused(nx, count, request_, message):
    changes = OCEAN | {"grid.nx": nx, "grid.ny": 9}
    with pytest.raises(LayoutError, match=message):
        on_devices(lambda: dogcm.Model("gyre", changes, layout=request_), count)


@pytest.mark.parametrize("devices", [1, 4])
def test_a_command_prints_once(capsys, devices):
    def command():
        print(f"on {world().size} tiles")
        return world().rank

    assert on_tiles(command, devices) == devices - 1
    assert capsys.readouterr().out == f"on {devices} tiles\n"


def test_ocean_has_the_same_bits_and_its_restarts_cross(tmp_path):
    """Runs of six steps with means in a file: on one tile, on four devices, and half on each. The
    devices write restarts as zarr stores."""
    half = 3 * 1800.0 / 86400.0
    table = {"means": {"variables": ["eta", "w"], "every": half}}
    ocean = OCEAN | {"run.output": table, "run.restart_every": half, "run.monitor_every": half}

    def variables(model):
        return {n: model.gather(n) for n in model.state.variables()}

    def run(model, name, start):
        quiet = dict(progress=False)
        model.run(2 * half, tmp_path / name, **quiet)
        whole = variables(model)
        model.run(half, tmp_path / f"{name}_on", restart_from=tmp_path / start, **quiet)
        return whole, variables(model), model.layout.size

    def tiled():
        tiles = dogcm.Model("gyre", ocean | {"run.restart_format": "zarr"})
        return run(tiles, "devices", "alone/restart_000000003.nc")

    one = dogcm.Model("gyre", ocean, comm=SerialCommunicator())
    alone, again, _ = run(one, "alone", "alone/restart_000000003.nc")
    assert np.abs(alone["u"]).max() > 0
    found = on_devices(tiled, 4)
    assert [f[2] for f in found] == [4] * 4
    one.run(half, tmp_path / "back", restart_from=tmp_path / "devices/restart_000000003.zarr")
    for ours in (again, *found[0][:2], variables(one)):
        for name, wanted in alone.items():
            np.testing.assert_array_equal(ours[name], wanted, err_msg=name)
    with (
        xr.open_dataset(tmp_path / "alone/means.nc") as wanted,
        xr.open_dataset(tmp_path / "devices/means.nc") as written,
    ):
        assert wanted.sizes["time"] == 2
        for name in wanted.data_vars:
            np.testing.assert_array_equal(written[name], wanted[name], err_msg=name)
    texts = [(tmp_path / n / "monitor.csv").read_text() for n in ("alone", "devices")]
    assert texts[0] == texts[1]
