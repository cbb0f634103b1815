"""The eddying channel: ready experiments on one another, and the front that eddies grow from."""

from __future__ import annotations

import numpy as np
import pytest

from dogcm.setups import inputs
from dogcm.setups.registry import experiments, load_config


def start(name: str, **overrides) -> tuple[np.ndarray, np.ndarray]:
    """Initial temperature (nz, ny, nx), and the temperature of restoring (ny, nx)."""
    config = load_config(name, {k.replace("__", "."): v for k, v in overrides.items()})
    horizontal, vertical = inputs.horizontal_grid(config), inputs.vertical_grid(config)
    cells = inputs.cell_thickness(config, horizontal, vertical)
    temperature = inputs.initial_tracer(config, "temperature", horizontal, vertical, cells)
    return temperature, inputs.record(config, "sst", horizontal, cells[0] > 0)[0]


def test_a_ready_experiment_may_be_built_on_another():
    assert {"eddying_channel", "channel_50km"} <= set(experiments())
    fine, coarse = load_config("eddying_channel"), load_config("channel_50km")
    assert (fine.grid.nx, coarse.grid.nx, coarse.time.step) == (96, 24, 3600)
    assert fine.grid.nx * fine.grid.dx == coarse.grid.nx * coarse.grid.dx == 1.2e6
    assert coarse.physics == fine.physics and coarse.grid.layers == fine.grid.layers


def test_the_front_is_that_of_the_restoring():
    temperature, sst = start("channel_50km", initial__waves=0.0)
    z = np.cumsum(load_config("channel_50km").grid.layers)
    centre = z - 0.5 * np.diff(z, prepend=0.0)
    expected = 1.0 + (sst - 1.0) * np.exp(-centre / 600.0)[:, None, None]
    np.testing.assert_allclose(temperature, expected, rtol=1e-12)
    assert np.ptp(sst) == pytest.approx(12.0) and (np.diff(sst, axis=0) > 0).all()


def test_a_column_is_a_channel_too():
    temperature, sst = start("channel_50km", grid__nx=1, grid__ny=1)
    assert np.isfinite(temperature).all() and np.isfinite(sst).all()


def test_a_finer_grid_starts_from_the_same_waves():
    (fine, fine_sst), (coarse, coarse_sst) = start("eddying_channel"), start("channel_50km")
    waves = fine[0] - start("eddying_channel", initial__waves=0.0)[0][0]
    seen = coarse[0] - start("channel_50km", initial__waves=0.0)[0][0]
    means = waves.reshape(24, 4, 24, 4).mean((1, 3))
    assert np.abs(seen).max() > 0.1
    # Eight waves in twenty-four cells: the mean over a cell is weaker than its centre by a sixth.
    assert np.abs(means - seen).max() < 0.25 * np.abs(seen).max()
    assert np.corrcoef(means.ravel(), seen.ravel())[0, 1] > 0.99
    assert fine_sst.shape == (96, 96) and coarse_sst.shape == (24, 24)
