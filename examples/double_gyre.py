"""A double gyre from arrays: an ocean that no file describes."""

import jax.numpy as jnp
import numpy as np

import dogcm

n, width, depth = 40, 30e3, 2000.0
x = (np.arange(n) + 0.5) * width
floor = np.full((n, n), depth) - 500.0 * np.exp(-(((x - 600e3) / 200e3) ** 2))  # a ridge
ocean = dogcm.Model(
    grid=dogcm.CartesianGrid(
        nx=n, ny=n, dx=width, dy=width, f0=7e-5, beta=2e-11, nz=8, depth=depth, periodic=()
    ),
    bathymetry=floor,
    initial={"temperature": lambda x, y, z: 4.0 + 16.0 * np.exp(-z / 500.0), "salinity": 35.0},
    forcing={"wind_stress_x": lambda x, y, t: -0.1 * jnp.cos(2 * np.pi * y / (n * width))},
    friction=dogcm.StressFriction(lateral_viscosity=2e3, viscosity_power=0),
    time_step=1800.0,
    name="double_gyre",
)
tables = [dogcm.Output("surface", ["temperature", "u", "v"], every="5 d")]
ocean.run(days=20, output=tables, overwrite=True)
print(ocean.dataset())
