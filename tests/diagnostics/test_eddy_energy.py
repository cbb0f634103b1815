"""Eddy kinetic energy from means, against the variance of the flow itself."""

from __future__ import annotations

import numpy as np
import pytest
import xarray as xr

from dogcm.diagnostics.eddy_energy import eddy_energy_of, eddy_kinetic_energy


@pytest.fixture
def flow():
    """Thirty records of a flow between walls in y, periodic in x; its means, and half its
    variance at centres."""
    rng = np.random.default_rng(2)
    u, v = rng.normal(size=(30, 3, 5, 7)) + 0.5, rng.normal(size=(30, 3, 5, 7))
    v[..., 0, :] = 0.0  # the southern wall; the northern one is not stored
    square = lambda a, axis: 0.5 * (a**2 + np.roll(a, -1, axis) ** 2)
    kinetic = 0.5 * (square(u, -1) + square(v, -2))
    varying = 0.5 * (square(u - u.mean(0), -1) + square(v - v.mean(0), -2))
    return u.mean(0), v.mean(0), kinetic.mean(0), varying.mean(0)


def test_it_is_half_the_variance(flow):
    u, v, kinetic, expected = flow
    found = eddy_kinetic_energy(u, v, kinetic)
    np.testing.assert_allclose(found, expected, rtol=1e-12)
    assert np.isnan(eddy_kinetic_energy(u, v, kinetic, north_fold=True)[:, -1]).all()


def test_a_steady_flow_has_none(flow):
    u, v, _, _ = flow
    kinetic = 0.25 * (u**2 + np.roll(u, -1, -1) ** 2 + v**2 + np.roll(v, -1, -2) ** 2)
    assert np.abs(eddy_kinetic_energy(u, v, kinetic)).max() < 1e-15


def test_of_a_file(flow):
    u, v, kinetic, expected = flow
    u[:, 2, 3] = kinetic[:, 2, 3] = np.nan  # land
    method = {"cell_methods": "time: mean"}
    data = xr.Dataset(
        {
            "u": (("z", "y", "x_u"), u, method),
            "v": (("z", "y_v", "x"), v, method),
            "kinetic_energy": (("z", "y", "x"), kinetic, method),
        }
    )
    found = eddy_energy_of(data)
    assert found.dims == ("z", "y", "x") and found.units == "m2 s-2"
    assert np.isnan(found.values[:, 2, 3]).all()
    np.testing.assert_allclose(found.values[:, 4], expected[:, 4], rtol=1e-12)
    with pytest.raises(ValueError, match="has no v"):
        eddy_energy_of(data.drop_vars("v"))
    data["u"].attrs["cell_methods"] = "time: point"
    with pytest.raises(ValueError, match="u is no mean"):
        eddy_energy_of(data)
