"""A region from a bathymetry file: the Mediterranean and its surroundings at a degree."""

from pathlib import Path

import dogcm

file = Path(dogcm.__file__).parent / "setups" / "starter" / "bathymetry.nc"
sea = dogcm.Model(
    grid=dogcm.LatLonGrid(nx=44, ny=18, lon=(354, 398), lat=(30, 48), nz=12, depth=3500, top=20),
    bathymetry={"source": "file", "path": str(file), "variable": "elevation", "min_depth": 40},
    initial={"temperature": lambda lon, lat, z: 13.0 + 6.0 * 2.7 ** (-z / 100.0), "salinity": 38.5},
    forcing={"wind_stress_x": 0.03, "sst": lambda lon, lat, t: 19.0 - 0.3 * (lat - 36.0)},
    coriolis=dogcm.CDScheme(time=86400.0),
    friction=dogcm.StressFriction(lateral_viscosity=5e3, reference_spacing=90e3),
    time_step=1800.0,
    name="mediterranean",
)
sea.run(days=10, progress=False)
print(sea.summary())
