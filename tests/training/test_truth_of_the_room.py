"""The three-dimensional truth of the study of closures with memory: a ventilated room."""

from __future__ import annotations

import dataclasses
import sys
from pathlib import Path

import jax
import jax.numpy as jnp
import netCDF4
import numpy as np
import pytest

FOLDER = Path(__file__).resolve().parents[2] / "training" / "memory_closure"
sys.path.insert(0, str(FOLDER))

import flow as flows  # noqa: E402
import truth as truths  # noqa: E402
from plane import CoarsePlane  # noqa: E402
from room import Block, Opening, Partition, Plane, Room, load_room, rasterise  # noqa: E402
from transport import CUBE, Sources, Transport, plane_levels  # noqa: E402

SMALL = Room(
    size=(6.0, 4.0, 2.0),
    plane=Plane(height=1.0, thickness=0.5, spacing=0.5),
    openings=(
        Opening("supply", "west", (1.0, 1.5), (2.0, 1.75), 0.4),
        Opening("exhaust", "east", (2.0, 0.25), (3.0, 0.75), -0.1),
    ),
    blocks=(Block("pillar", (2.0, 2.0, 0.0), (2.5, 2.5, 2.0)),),
    partitions=(Partition("screen", "x", 4.0, (0.0, 0.0), (2.5, 1.25)),),
)
SPACING = (0.25, 0.25, 0.25)


def at(*points, strength=1e-6):
    return Sources(np.array(points), np.array(points), np.full(len(points), strength))


@pytest.fixture(scope="module")
def small():
    return flows.steady_flow(SMALL, [(0.5, 0.5, 0.25), SPACING], (20.0, 2.0))


@pytest.fixture
def doubles():
    with jax.enable_x64(True):
        yield


def test_flow_has_no_divergence_and_keeps_its_openings(small):
    cells = small.cells
    assert np.abs(flows.divergence(small.velocity, cells.spacing)).max() < 1e-10
    for q, o, s in zip(small.velocity, cells.open, cells.speed):
        np.testing.assert_array_equal(q[~o], s[~o])
    u = small.velocity[0]
    assert u[..., 0].sum() == pytest.approx(u[..., -1].sum()) and u[..., 0].sum() > 0
    assert (u[:5, :10, 16] == 0).all() and (u[5:, :10, 16] != 0).any(), "over the screen only"
    assert np.abs(small.velocity[2]).max() > 0.01


def test_flow_is_no_potential_flow(small):
    """The jet carries on beyond its opening; without momentum it would fan out at once."""
    still = flows.project_exactly(small.cells, small.cells.speed)
    jet = slice(6, 7), slice(4, 8), slice(6, 7)
    assert small.velocity[0][jet].mean() > 2 * still[0][jet].mean()


def test_projection_leaves_what_is_free_and_takes_out_gradients(small):
    again = flows.project_exactly(small.cells, small.velocity)
    for a, b in zip(again, small.velocity):
        np.testing.assert_allclose(a, b, atol=1e-10)
    p = np.random.default_rng(0).normal(size=small.cells.air.shape)
    gradient = flows.Poisson.of(small.cells, np, np.float64).gradient(p)
    more = tuple(q + g for q, g in zip(small.velocity, gradient))
    for a, b in zip(flows.project_exactly(small.cells, more), small.velocity):
        np.testing.assert_allclose(a, b, atol=1e-9)


def test_eddy_diffusivity_is_that_of_the_model(small):
    k, j, i = 5, 12, 12
    u, v, w = small.velocity
    mean = [
        (u[k, j, i] + u[k, j, i + 1]) / 2,
        (v[k, j, i] + v[k, j + 1, i]) / 2,
        (w[k, j, i] + w[k + 1, j, i]) / 2,
    ]
    distance = 2.0 - 1.375  # the ceiling is nearest
    nu = 0.03874 * np.linalg.norm(mean) * distance + 1.5e-5
    assert small.diffusivity[k, j, i] == pytest.approx(nu / 0.9)
    assert (small.diffusivity[~small.cells.air] == 0).all()


def test_mass_is_kept_and_nothing_is_negative(small, doubles):
    transport = Transport(small, plane_levels(small.cells, 1.0, 0.5), 2.0, jnp.float64)
    plume = transport.plume(at((1.0, 1.5, 1.0), (5.7, 2.5, 0.5)), 60.0)
    budget = plume.inventory + plume.exhausted - plume.emitted
    assert np.abs(budget).max() < 1e-13 * plume.emitted[-1]
    assert plume.exhausted[-1] > 0.01 * plume.emitted[-1]
    assert plume.plane.min() >= -1e-15 * plume.plane.max()
    assert 0.02 < plume.plane[-1].sum() * 0.25**2 * 0.5 / plume.inventory[-1] < 0.9


def test_uniform_concentration_stays_uniform(small, doubles):
    closed = dataclasses.replace(SMALL, openings=())
    cells = rasterise(closed, SPACING)
    velocity = [np.random.default_rng(i).normal(size=o.shape) for i, o in enumerate(cells.open)]
    velocity = flows.project_exactly(
        cells, tuple(0.1 * q * o for q, o in zip(velocity, cells.open))
    )
    stirred = flows.Flow(cells, velocity, 0.01 * cells.air)
    transport = Transport(stirred, (3, 5), 2.0, jnp.float64)
    plume = transport.plume(at((1.0, 1.0, 1.0), strength=0.0), 20.0, np.ones(cells.air.shape))
    np.testing.assert_allclose(plume.plane[:, cells.air[3]], 1.0, rtol=1e-10)


def uniform(d: float, speed=0.2, diffusivity=0.02):
    """A wind tunnel of 4 x 2 x 2 m."""
    tunnel = Room(
        (4.0, 2.0, 2.0),
        Plane(1.0, 0.4),
        (
            Opening("in", "west", (0, 0), (2, 2), speed),
            Opening("out", "east", (0, 0), (2, 2), -speed),
        ),
    )
    cells = rasterise(tunnel, (d, d, d))
    u, v, w = (np.zeros(o.shape) for o in cells.open)
    return flows.Flow(cells, (u + speed, v, w), diffusivity * cells.air)


def plume_in_uniform_flow(x, y, z, source, speed=0.2, diffusivity=0.02, width=2.0):
    """Steady concentration per strength, walls at 0 and ``width`` in y and z by images (Roberts
    1923, doi 10.1098/rspa.1923.0123)."""
    total = 0.0
    for m in range(-3, 4):
        for n in range(-3, 4):
            for ys in (2 * m * width + source[1], 2 * m * width - source[1]):
                for zs in (2 * n * width + source[2], 2 * n * width - source[2]):
                    r = np.sqrt((x - source[0]) ** 2 + (y - ys) ** 2 + (z - zs) ** 2)
                    decay = np.exp(-speed * (r - x + source[0]) / (2 * diffusivity))
                    total = total + decay / (4 * np.pi * diffusivity * r)
    return total


def error_of_plume(d: float) -> float:
    source = (1.0, 0.9, 1.0)
    flow = uniform(d)
    plume = Transport(flow, plane_levels(flow.cells, 1.0, 0.4), 4.0).plume(
        at(source, strength=1.0), 60
    )
    x, y, z = flow.cells.centres()
    here = plume_in_uniform_flow(x, y[:, None], z[:, None, None], source)
    here = here[np.abs(z - 1.0) < 0.2].mean(0)
    near = (x > 1.6) & (x < 3.4)
    return np.abs(plume.plane[-1] - here)[:, near].sum() / here[:, near].sum()


def test_plume_in_uniform_flow_is_roberts_solution():
    coarse, fine = error_of_plume(0.2), error_of_plume(0.1)
    assert fine < 0.012 and coarse / fine > 1.7


def test_source_moves(small):
    way = Sources(np.array([[1.0, 3.0, 1.0]]), np.array([[5.0, 3.0, 1.0]]), np.array([1e-6]), 40.0)
    calm = flows.Flow(small.cells, tuple(0 * q for q in small.velocity), 1e-6 * small.cells.air)
    plume = Transport(calm, (3, 5), 2.0).plume(way, 40.0)
    x = small.cells.centres()[0]
    new = np.diff(plume.plane, axis=0).sum(1)
    begins = 1.0 + 0.1 * np.arange(0, 40, 2)
    np.testing.assert_allclose((new * x).sum(1) / new.sum(1), begins + 0.1, atol=0.04)
    assert CUBE == 0.1


@pytest.mark.parametrize("spacing, shape", [(0.25, (16, 24)), (0.5, (8, 12)), (0.8, (5, 8))])
def test_plane_keeps_mass_and_volume(small, spacing, shape):
    levels = plane_levels(small.cells, 1.0, 0.5)
    plane = CoarsePlane(small.cells, levels, spacing)
    fields = plane.fields(small)
    assert plane.shape == shape and fields["u"].shape == (shape[0], shape[1] + 1)
    c = np.random.default_rng(0).random(small.cells.air.shape[1:]) * small.cells.air[3]
    mass = (plane.concentration(c) * plane.mask).sum() * spacing**2
    assert mass == pytest.approx(c.sum() * 0.25**2)
    through = (fields["w_top"] - fields["w_bottom"]) / 0.5
    np.testing.assert_allclose(fields["divergence"], -through, atol=1e-9)
    assert np.abs(through).max() > 1e-3
    if spacing == 0.5:
        assert (fields["u"][:5, 8] == 0).all() and (fields["open_x"][:5, 8] == 0).all()
        assert fields["mask"][4, 4] == 0


def test_a_family_becomes_a_file(tmp_path):
    maker = truths.Maker(tmp_path, "draft", seconds=(0.0, 0.0))
    cases = (
        truths.Case(at((1.0, 1.5, 1.0)), "train"),
        truths.Case(at((3.0, 3.0, 1.0), (5.0, 1.0, 1.0)), flow=1),
    )
    other = SMALL.with_inflow({"supply": 0.5})
    family = truths.Family((SMALL, other), cases, "two", seconds=20.0)
    maker.write("two", family, tmp_path / "two.nc")
    with netCDF4.Dataset(tmp_path / "two.nc") as file:
        assert file["concentration"].shape == (2, 6, 8, 12)
        assert file["u"].shape == (2, 8, 13) and file["time"][-1] == 20.0
        assert list(file["split"][:]) == ["train", "test"]
        np.testing.assert_allclose(file["source_strength"][:], [[1e-6, 0], [1e-6, 1e-6]])
        total = (file["inventory"][:] + file["exhausted"][:])[:, -1]
        np.testing.assert_allclose(total, [2e-5, 4e-5], rtol=1e-5)
        assert file.Conventions.startswith("CF") and file["concentration"].units == "kg m-3"
        np.testing.assert_allclose(2 * file["u"][1, :, 0], file["u"][0, :, 0])
    before = sorted(p.stat().st_mtime_ns for p in tmp_path.glob("*.npz"))
    maker.write("two", family, tmp_path / "two.nc")
    assert before == sorted(p.stat().st_mtime_ns for p in tmp_path.glob("*.npz")), "made again"


def test_families_are_as_promised():
    room = load_room()
    made = truths.families(room)
    cells = rasterise(room, (0.25, 0.25, 0.25))
    splits = [c.split for c in made["truth"].cases]
    assert (splits.count("train"), splits.count("test")) == (26, 27)
    assert len(made) == 8 and all(len(f.cases) >= 10 for f in made.values())
    assert made["long_horizon"].seconds == 6000
    for family in made.values():
        for case in family.cases[:3]:
            case.sources.check(
                cells if len(family.rooms) == 1 else rasterise(family.rooms[case.flow], SPACING),
                family.rooms[case.flow],
            )


def test_bad_rooms_and_sources_are_refused(tmp_path, small):
    with pytest.raises(ValueError, match="no opening.*door"):
        SMALL.with_inflow({"door": 2.0})
    with pytest.raises(ValueError, match="no partition.*wall"):
        SMALL.with_moved({"wall": (1.0, 0.0)})
    with pytest.raises(ValueError, match="whole number of cells"):
        rasterise(SMALL, (0.35, 0.25, 0.25))
    with pytest.raises(ValueError, match="no way out"):
        rasterise(dataclasses.replace(SMALL, openings=SMALL.openings[:1]), SPACING)
    with pytest.raises(ValueError, match="do not meet"):
        plane_levels(small.cells, 1.1, 0.5)
    for points, message in (
        (((7.0, 1.0, 1.0), (7.0, 1.0, 1.0)), "leaves the room"),
        (((2.2, 2.2, 1.0), (2.2, 2.2, 1.0)), "within a block"),
        (((3.0, 1.0, 1.0), (5.0, 1.0, 1.0)), "crosses a partition"),
    ):
        with pytest.raises(ValueError, match=message):
            Sources(*(np.array([p]) for p in points), np.ones(1)).check(small.cells, SMALL)
    path = tmp_path / "room.yaml"
    path.write_text("size: [1, 1, 1]\nwindows: []\n")
    with pytest.raises(ValueError, match="windows"):
        load_room(path)
    shut = dataclasses.replace(
        SMALL, partitions=(Partition("wall", "x", 4.0, (0.0, 0.0), (4.0, 2.0)),)
    )
    with pytest.raises(RuntimeError, match="way out"):
        flows.project_exactly(rasterise(shut, SPACING), rasterise(shut, SPACING).speed)
