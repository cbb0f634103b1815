"""A finer run as truth: conservative coarse-graining, and grids that do not nest."""

from __future__ import annotations

import numpy as np
import pytest

from dogcm.grid.horizontal import LatLonGrid
from dogcm.grid.vertical import VerticalGrid
from dogcm.targets import Coarsening, TargetError, TargetGrid, nesting_problems

RNG = np.random.default_rng(12)


def nested(ratio=2, own_layers=False) -> tuple[TargetGrid, TargetGrid]:
    """A coarse ocean with land and partial cells, and a finer one with other coasts."""
    v = VerticalGrid(np.array([20.0, 40.0, 80.0]))
    w = VerticalGrid(np.array([10.0, 25.0, 25.0, 90.0])) if own_layers else v
    grids = []
    for r, layers in ((ratio, w), (1, v)):
        h = LatLonGrid.regular(12 * r, 8 * r, lat=(-64.0, 64.0))
        ny, nx = h.shape
        y, x = np.meshgrid((np.arange(ny) + 0.5) / ny, (np.arange(nx) + 0.5) / nx, indexing="ij")
        depth = np.clip(
            200 * np.sin(np.pi * y) * (0.7 + 0.5 * np.cos(6.28 * x)), 0, layers.edges[-1] - 2
        )
        cells = np.clip(depth - layers.edges[:-1, None, None], 0, layers.dz[:, None, None])
        cells[cells < 4] = 0
        grids.append(TargetGrid(h, layers, cells))
    return grids[0], grids[1]


def fine_state(grid: TargetGrid) -> dict:
    shape = grid.cells.shape
    state = {
        n: np.where(grid.cells > 0, RNG.normal(size=shape), np.nan)
        for n in ("temperature", "salinity")
    }
    for at in "uv":
        state[at] = np.where(grid.thickness(at) > 0, RNG.normal(size=shape), 0.0)
    return state | {"eta": np.where(grid.cells[0] > 0, RNG.normal(size=shape[1:]), 0.0)}


def fine_volume(grid: TargetGrid, eta) -> np.ndarray:
    depth = grid.cells.sum(0)
    return grid.volume * (1 + np.where(depth > 0, eta / np.where(depth > 0, depth, 1), 0))


@pytest.mark.parametrize("ratio, own_layers", [(2, False), (3, False), (2, True)])
def test_coarsening_conserves(ratio, own_layers):
    fine, coarse = nested(ratio, own_layers)
    state = fine_state(fine)
    c = Coarsening(fine, coarse, ratio)(state, masked=False)
    volume = fine_volume(fine, state["eta"])
    assert c.weights["temperature"].sum() == pytest.approx(volume.sum(), rel=1e-13)
    for name in ("temperature", "salinity"):
        before = np.nansum(state[name] * volume)
        assert np.nansum(c.values[name] * c.weights[name]) == pytest.approx(
            before, abs=1e-13 * volume.sum()
        )
    before = (state["eta"] * fine.area * (fine.cells[0] > 0)).sum()
    assert np.nansum(c.values["eta"] * c.weights["eta"]) == pytest.approx(before, rel=1e-11)


def test_coarsening_keeps_a_constant_and_masks_land():
    fine, coarse = nested()
    state = fine_state(fine) | {"temperature": np.where(fine.cells > 0, 7.0, np.nan)}
    c = Coarsening(fine, coarse)(state)
    assert np.allclose(
        c.values["temperature"][np.isfinite(c.values["temperature"])], 7.0, rtol=1e-14
    )
    assert np.isnan(c.values["temperature"][coarse.cells == 0]).all()
    bare, wet, lost = Coarsening(fine, coarse).missing()
    assert (
        wet == (coarse.cells > 0).sum()
        and bare == (np.isnan(c.values["temperature"]) & (coarse.cells > 0)).sum()
    )
    assert lost == pytest.approx(
        c.weights["temperature"][coarse.cells == 0].sum() / fine.volume.sum(), rel=0.02
    )
    series = Coarsening(fine, coarse).targets([0.0, 5.0], [state, state])
    assert series.values["u"].shape == (2, 3, 8, 12)


@pytest.mark.parametrize("own_layers", [False, True])
def test_coarse_transports_are_sums_of_fine_ones(own_layers):
    """A non-divergent fine flow (the curl of a stream function at corners) has no divergence on the
    coarse grid."""
    fine, coarse = nested(2, own_layers)
    for grid in (fine, coarse):
        grid.cells[:] = grid.vertical.dz[:, None, None]
        grid.cells[-1] *= 0.5  # partial bottom cells everywhere
    m = fine.metrics
    psi = np.zeros((17, 24))
    psi[1:-1] = RNG.normal(size=(15, 24))  # constant along both walls
    u = (psi[:-1] - psi[1:]) / (m.dy_u * fine.thickness("u"))
    h_v = fine.thickness("v")
    v = np.where(
        h_v > 0, (np.roll(psi, -1, 1) - psi)[:-1] / (m.dx_v * np.where(h_v > 0, h_v, 1)), 0.0
    )
    c = Coarsening(fine, coarse)({"u": u, "v": v}).values
    U = np.nan_to_num(c["u"]) * coarse.thickness("u") * coarse.metrics.dy_u
    V = np.nan_to_num(c["v"]) * coarse.thickness("v") * coarse.metrics.dx_v
    V = np.concatenate([V, 0 * V[:, :1]], 1)
    total = (np.roll(U, -1, -1) - U + V[:, 1:] - V[:, :-1]).sum(0)
    assert np.abs(U).max() > 0.5 and np.abs(total).max() < 1e-11
    # The mean velocity through the open faces carries the same when multiplied by their area.
    mean = Coarsening(fine, coarse, velocity="mean")({"u": u, "v": v})
    assert np.allclose(mean.values["u"] * mean.weights["u"], U, atol=1e-11)


def test_a_risen_surface_widens_fine_and_coarse_faces_alike():
    fine, coarse = nested()
    for grid in (fine, coarse):
        grid.cells[:] = grid.vertical.dz[:, None, None]
    state = {
        "u": np.ones(fine.cells.shape),
        "v": np.ones(fine.cells.shape),
        "eta": np.full((16, 24), 14.0),
    }
    c = Coarsening(fine, coarse)(state)
    assert np.allclose(c.values["u"], 1.0, rtol=1e-13) and np.allclose(c.values["eta"], 14.0)
    assert np.allclose(c.weights["u"], coarse.thickness("u") * coarse.metrics.dy_u * 1.1)
    assert np.allclose(
        c.values["v"][:, 1:], 1.0, rtol=2e-2
    )  # the model's own mean of areas at faces


def test_grids_that_do_not_nest():
    fine, coarse = nested(2, True)
    assert nesting_problems(*nested()) == []
    (problem,) = nesting_problems(fine, coarse)
    assert problem.startswith("layers differ (4 to 150 m, 3 to 140 m; 2 of 4 coarse interfaces")
    other = TargetGrid(LatLonGrid.regular(12, 8, lat=(-60.0, 64.0)), coarse.vertical, coarse.cells)
    with pytest.raises(TargetError, match="latitudes of the coarse faces are not fine ones"):
        Coarsening(fine, other)
    with pytest.raises(TargetError, match="nest by 2 x 2, wanted is a ratio of 3"):
        Coarsening(fine, coarse, 3)
    with pytest.raises(TargetError, match="no multiple"):
        Coarsening(fine, nested(3)[0])
    with pytest.raises(TargetError, match=r"eta has shape \(3, 4\)"):
        Coarsening(fine, coarse)({"eta": np.zeros((3, 4))})


def test_the_global_experiments_nest_horizontally():
    """The 2-degree ocean can serve as truth of the 4-degree one; its layers have to be set for
    that."""
    from dogcm.setups import inputs
    from dogcm.setups.registry import load_config

    def grid(name, overrides=()):
        config = load_config(name, overrides)
        h, v = inputs.horizontal_grid(config), inputs.vertical_grid(config)
        return TargetGrid(h, v, inputs.cell_thickness(config, h, v))

    coarse = grid("global_4deg")
    (problem,) = nesting_problems(grid("global_2deg"), coarse)
    assert problem.startswith("layers differ (20 to 5035 m, 15 to 5200 m")
    fine = grid("global_2deg", {"grid.layers": [float(z) for z in coarse.vertical.dz]})
    assert nesting_problems(fine, coarse) == []
    bare, wet, lost = Coarsening(fine, coarse, 2).missing()
    assert bare < 0.01 * wet and lost < 0.05
