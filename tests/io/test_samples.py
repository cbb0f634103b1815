"""Small real files as users have them, each read rightly or refused by name.

The table of docs/input_samples.md is made from the rows here: ``python tests/io/test_samples.py``.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import xarray as xr

from dogcm.io.curvilinear import ScatteredVariable
from dogcm.io.reading.errors import InputError
from dogcm.io.reading.reader import read
from dogcm.io.reading.request import Request

PAGE = Path(__file__).resolve().parents[2] / "docs" / "input_samples.md"
AXES = {"axes": {"lat": "topo_lat", "lon": "topo_lon"}}
T_POINTS = {"axes": {"lat": "gphit", "lon": "glamt"}}

# File, what it is, variable, taken for, keys; then refusal, or (shape, least, largest, missing).
ROWS: list[tuple] = [
    ("era5_regional.nc", "ERA5 winds across Greenwich, packed, north first", "u10", "wind_u", {},
     ((2, 161, 321), -15.063, 19.987, 0)),
    ("era5_regional.nc", "ERA5 air temperature in K", "t2m", "air_temperature", {},
     ((2, 161, 321), -48.288, 17.579, 0)),
    ("era5_regional.nc", "ERA5 dew point in K", "d2m", "dew_point", {},
     ((2, 161, 321), -50.747, 15.952, 0)),
    ("era5_regional.nc", "ERA5 pressure", "msl", "sea_level_pressure", {},
     ((2, 161, 321), 96108.459, 102485.566, 0)),
    ("era5_regional.nc", "ERA5 surface temperature, no value on land", "sst", "sst", {},
     ((2, 161, 321), -1.797, 19.805, 37226)),
    ("era5_regional.nc", "ERA5 net radiation of an hour, no rate", "ssr", "shortwave_down", {},
     "cannot convert 'J m\\*\\*-2'"),
    ("glorys_coarse.nc", "reanalysis of one day", "thetao", "temperature", {},
     ((6, 37, 39), -1.102, 20.54, 2973)),
    ("glorys_coarse.nc", "salinity in 1e-3", "so", "salinity", {},
     ((6, 37, 39), 22.537, 35.769, 2973)),
    ("glorys_coarse.nc", "sea level", "zos", "eta", {}, ((37, 39), -0.907, -0.21, 173)),
    ("glorys_coarse.nc", "eastward velocity", "uo", "u", {}, ((6, 37, 39), -0.669, 0.231, 2995)),
    ("glorys_coarse.nc", "northward velocity taken for eastward", "vo", "u", {},
     "northward_sea_water_velocity by its standard name, not u"),
    ("glorys_na.nc", "reanalysis, two days a year apart", "thetao", "temperature", {},
     ((2, 5, 12, 18), -0.996, 11.14, 542)),
    ("emodnet.nc", "elevation, no value on land", "elevation", "elevation", {},
     ((90, 94), -2293.156, 91.823, 1478)),
    ("srtm15.nc", "elevation without a unit", "z", "elevation", {}, "x.unit: m says better"),
    ("srtm15.nc", "the same, unit given", "z", "elevation", {"unit": "m"},
     ((216, 432), -8071.111, 5473.27, 0)),
    ("etopo5.nc", "coordinates that are no coordinates", "topo", "elevation", {},
     "no lat axis found"),
    ("etopo5.nc", "the same, axes given; longitude without a unit", "topo", "elevation", AXES,
     "x.units: {lon: UNIT}"),
    ("etopo5.nc", "the same, axes and unit given", "topo", "elevation",
     {**AXES, "units": {"lon": "degrees_east"}}, ((108, 216), -6774.0, 5430.0, 0)),
    ("epac_grd.nc", "ROMS grid, turned by 32 degrees", "h", "elevation", {},
     ((150,), -4781.751, -4496.923, 0)),
    ("croco_grd.nc", "CROCO grid, its land under a mask", "h", "elevation", {},
     "'mask_rho' of the same file has 481 points"),
    ("croco_grd.nc", "the same, mask given", "h", "elevation", {"mask": "mask_rho"},
     ((44, 43), -5146.791, -81.424, 481)),
    ("rotated.nc", "rotated pole", "air_pressure_at_sea_level", "sea_level_pressure", {},
     "of a rotated pole, not geographic"),
    ("atl_prof.nc", "longitudes 0.5, 325.5 to 355.5; K", "theta", "temperature", {},
     ((40, 6, 8), 1.201, 27.411, 33)),
    ("atl_prof.nc", "practical salinity", "salinity", "salinity", {},
     ((40, 6, 8), 34.509, 36.92, 33)),
    ("nemo_gridT.nc", "NEMO on the ORCA grid", "tos", "sst", {},
     ((1, 118800), -2.058, 34.453, 53617)),
    ("gyreT.nc", "NEMO, land stored as 0", "toce", "temperature", {},
     "1016 of 2816 values are exactly 0.*x.missing: \\[0\\]"),
    ("gyreT.nc", "the same, missing given", "toce", "temperature", {"missing": (0.0,)},
     ((1, 4, 704), 10.707, 26.312, 1016)),
    ("domcfg.nc", "NEMO domain: four kinds of points", "e1t", "", {},
     "more than one pair of two-dimensional coordinates"),
    ("domcfg.nc", "the same, axes given", "e1t", "", T_POINTS, ((1, 704), 106000.0, 106000.0, 0)),
    ("domcfg.nc", "the same, levels without a unit", "e3t_0", "", T_POINTS,
     "x.units: {depth: m} says their unit"),
    ("arome.nc", "winds along a Lambert grid (refused as forcing until turned)", "x_wind_10m",
     "wind_u", {}, ((3, 21291), -14.888, 7.042, 0)),
    ("argo_prof.nc", "Argo profiles: no grid", "TEMP", "temperature", {},
     "dimension 'N_LEVELS' of 92"),
]  # fmt: skip

# What tests/io/test_legal_forms.py and tests/io/test_damaged_inputs.py draw.
DAMAGED = [
    "",
    "# Drawn forms and damaged files",
    "",
    "`tests/io/test_legal_forms.py` writes one field in 1000 drawn legal forms (order and",
    "direction of axes, notation of longitudes, packing, fill values, units, calendars,",
    "positions of one or",
    "two dimensions, names of six communities) and reads the same numbers back, as forcing (350",
    "forms), initial state (250), sea floor (200) and targets (200).",
    "",
    "`tests/io/test_damaged_inputs.py` spoils such files: attributes, numbers, shapes, types,",
    "files cut short. None ends in a traceback. What is read all the same is damage that takes",
    "nothing",
    "away (an attribute that is not needed, another order of records) or that no reader can see.",
    "Bytes changed inside a file are left out: the netCDF library itself may crash on them.",
    "",
    "| file | draws | refused with its name | read | not writable | tracebacks |",
    "|---|---|---|---|---|---|",
    "| forcing | 250 | 149 | 99 | 2 | 0 |",
    "| forcing, on the model's grid | 250 | 149 | 99 | 2 | 0 |",
    "| initial state | 250 | 165 | 80 | 5 | 0 |",
    "| sea floor | 250 | 162 | 81 | 7 | 0 |",
    "| targets: sea surface temperature | 150 | 95 | 47 | 8 | 0 |",
    "| targets: reanalysis | 150 | 97 | 48 | 5 | 0 |",
    "| targets: profiles | 150 | 48 | 90 | 12 | 0 |",
    "",
    "`tests/io/test_damaged_states.py` does the same to what dogcm reads of its own:",
    "configurations (keys lost, renamed, moved and filled with nonsense; spoilt text), restarts",
    "(attributes, names and single numbers changed, cut short) and training checkpoints (bytes",
    "changed, cut out and put in). What is accepted is the same configuration when it is written",
    "and read again, the same state or the same weights, to the last bit.",
    "",
    "| file | draws | refused | the same | another answer | tracebacks |",
    "|---|---|---|---|---|---|",
    "| configurations | 500 | 458 | 42 | 0 | 0 |",
    "| restarts | 300 | 280 | 20 | 0 | 0 |",
    "| training checkpoints | 300 | 288 | 12 | 0 | 0 |",
]


def page() -> str:
    """The table, as docs/input_samples.md holds it."""
    lines = [
        "# Real files, and what becomes of them",
        "",
        "Small files of other projects, as their tools wrote them. Each is read rightly or refused",
        "by name; `tests/io/test_samples.py` runs every row where the files are. Where they come",
        "from: ROMS-Tools test data (ERA5, GLORYS, EMODnet, SRTM15, ETOPO5, ROMS), OpenDrift",
        "(CROCO, AROME), Iris sample data (rotated pole, Atlantic profiles, NEMO), xnemogcm (NEMO",
        "gyre) and argopy (Argo). Argo's profiles are read by `dogcm.targets.read_profiles`.",
        "",
        "| file | what it is | variable | taken for | keys given | result |",
        "|---|---|---|---|---|---|",
    ]
    for file, about, variable, taken, keys, result in ROWS:
        given = ", ".join(f"`{k}: {v}`" for k, v in keys.items())
        if isinstance(result, str):
            said = "refused: " + result.replace("\\", "").replace(".*", " ... ")
        else:
            shape, low, high, missing = result
            size = " × ".join(map(str, shape))
            said = f"read: {size}, {low:g} to {high:g}, {missing} missing"
        lines.append(f"| {file} | {about} | {variable} | {taken} | {given} | {said} |")
    return "\n".join([*lines, *DAMAGED]) + "\n"


def test_the_page_is_of_these_rows():
    assert PAGE.read_text(encoding="utf-8") == page(), "run: python tests/io/test_samples.py"


@pytest.mark.parametrize("row", ROWS, ids=[f"{r[0]} {r[2]} {n}" for n, r in enumerate(ROWS)])
def test_samples(data_dir, row):
    file, _, variable, field, keys, result = row
    path = data_dir / "samples" / file
    if not path.is_file():
        pytest.skip(f"no {path}")
    request = Request(key="x", **keys)
    if isinstance(result, str):
        with pytest.raises(InputError, match=result):
            read(path, variable, request, field)
        return
    found = read(path, variable, request, field)
    shape, low, high, missing = result
    assert found.values.shape == shape and np.isnan(found.values).sum() == missing
    assert np.nanmin(found.values) == pytest.approx(low, abs=2e-3)
    assert np.nanmax(found.values) == pytest.approx(high, abs=2e-3)


def test_a_value_is_at_its_place(data_dir):
    """The wind at 60 N, 20 W, and the temperature of a point of the ORCA grid."""
    folder = data_dir / "samples"
    if not folder.is_dir():
        pytest.skip(f"no {folder}")
    with xr.open_dataset(folder / "era5_regional.nc") as data:
        want = float(data.u10.isel(time=1).sel(latitude=60.0, longitude=-20.0))
    wind = read(folder / "era5_regional.nc", "u10", field="wind_u")
    j, i = np.argmin(np.abs(wind.lat - 60.0)), np.argmin(np.abs(wind.lon + 20.0))
    assert wind.values[1, j, i] == pytest.approx(want)
    with xr.open_dataset(folder / "nemo_gridT.nc", decode_times=False) as data:
        want, lat, lon = (float(data[n].values.reshape(330, 360)[150, 200])
                          for n in ("tos", "nav_lat", "nav_lon"))  # fmt: skip
    sea = read(folder / "nemo_gridT.nc", "tos", field="sst")
    assert isinstance(sea, ScatteredVariable)
    n = np.argmin(np.abs(sea.lat - lat) + np.abs(sea.lon - lon))
    assert sea.values[0, n] == pytest.approx(want)


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
