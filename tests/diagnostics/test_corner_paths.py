"""Sections and basins where the grid's lines are no parallels and meridians."""

import numpy as np
import pytest
from supergrid_toys import mom6

from dogcm.diagnostics import sections
from dogcm.diagnostics.basins import find_basins
from dogcm.diagnostics.corner_paths import straight
from dogcm.grid.curvilinear import RotatedGrid, unit
from dogcm.grid.grids import FromFile
from dogcm.grid.horizontal import LatLonGrid
from dogcm.grid.tripolar import TripolarGrid
from dogcm.setups import inputs
from dogcm.setups.registry import load_config

TRIPOLAR = TripolarGrid(72, 44, south=-76.0, join=64.0)
ROTATED = RotatedGrid(LatLonGrid.regular(72, 36, lat=(-85, 85)), pole=(30.0, 40.0))
# From the Pacific over the pole into the Atlantic; round the south; across longitude 0; a detour.
LINES = [
    ((190.0, 58.0), (200.0, 85.0), (0.0, 82.0), (-10.0, 62.0)),
    ((-70.0, -50.0), (-65.0, -62.0)),
    ((-30.0, 10.0), (25.0, -20.0)),
    ((150.0, 30.0), (-150.0, 35.0), (-120.0, -40.0), (170.0, -45.0)),
]


def from_file(grid, folder):
    mom6(grid).to_netcdf(folder / "hgrid.nc")
    return FromFile(path=str(folder / "hgrid.nc")).horizontal()


def stream(lat, lon):
    """A smooth stream function (m3 s-1) of the place."""
    x, y, z = np.moveaxis(unit(lat, lon), -1, 0)
    return 1e7 * (np.sin(3 * x + y) + x * y * z + np.cos(2 * z - x))


@pytest.mark.parametrize("points", LINES)
@pytest.mark.parametrize("kind", ["tripolar", "rotated", "file"])
def test_transport_is_the_difference_of_the_stream_function(kind, points, tmp_path):
    grid = {"tripolar": TRIPOLAR, "rotated": ROTATED}.get(kind) or from_file(TRIPOLAR, tmp_path)
    ny, nx = grid.shape
    j, i = np.arange(ny + 1.0)[:, None], np.arange(nx + 1.0)[None, :]
    psi = stream(*grid.positions(j, i)[:2])
    flow = {"u": -(psi[1:] - psi[:-1])[:, :nx], "v": (psi[:, 1:] - psi[:, :-1])[:ny]}
    for way in (points, points[::-1]):
        faces = sections.faces_along(grid, way)
        assert len({f[:3] for f in faces}) == len(faces) > 2
        found = sum(sign * flow[at][j, i] for at, j, i, sign in faces)
        ends = [psi.ravel()[nearest(grid, *p)] for p in (way[0], way[-1])]
        np.testing.assert_allclose(found, ends[1] - ends[0], rtol=1e-9, atol=1e-2)


def corners(grid):
    ny, nx = grid.shape
    return unit(*grid.positions(np.arange(ny + 1.0)[:, None], np.arange(nx + 1.0)[None, :])[:2])


def nearest(grid, lon, lat):
    return int((corners(grid) @ unit(lat, lon)).argmax())


def test_sections_stay_beside_the_straight_line():
    size = np.deg2rad(5.0)
    for a, b in ((p, q) for line in LINES for p, q in zip(line, line[1:])):
        lon, lat = straight(a, b)
        line, place = unit(lat, lon), corners(ROTATED)
        for at, j, i, _ in sections.faces_along(ROTATED, (a, b)):
            ends = [place[j, i], place[j, i + 1] if at == "v" else place[j + 1, i]]
            for end in ends:
                assert np.linalg.norm(line - end, axis=1).min() < 1.5 * size


def test_sections_that_leave_the_grid_are_refused():
    region = RotatedGrid(LatLonGrid.regular(20, 20, lon=(-10, 10), lat=(-10, 10)))
    with pytest.raises(sections.SectionError, match=r"here: the point \(120, 0\) lies outside"):
        sections.faces_along(region, [(-8, 0), (120, 0)], "here")
    inside = sections.faces_along(region, [(-8, 0), (8, 0)])
    assert {f[0] for f in inside} == {"v"} and sum(f[3] for f in inside) == 16


def test_basins_of_a_grid_from_a_file_are_those_of_its_own_class(tmp_path):
    config = load_config(
        "global_tripolar_2deg", {"grid.nx": 120, "grid.ny": 60, "bathymetry.straits": []}
    )
    own = inputs.horizontal_grid(config)
    wet = inputs.cell_thickness(config, own, inputs.vertical_grid(config))[0] > 0
    names = ("global", "atlantic", "indo_pacific")
    a, b = (find_basins(h, wet, names) for h in (own, from_file(own, tmp_path)))
    # Staircases of the cuts may differ by a cell.
    assert [np.mean(x == y) > 0.998 for x, y in zip(a.cells, b.cells)] == [True] * 3
    assert 0.1 < b.cells[1].sum() / wet.sum() < 0.4
    np.testing.assert_array_equal(a.faces[1].any(axis=1), b.faces[1].any(axis=1))
