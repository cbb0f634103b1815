"""A tracer released at the surface of a shelf sea whose mixing has days and storms.

    python training/surface_tracer/truth.py make [FILE] [--days 60] [--spin-up 20]
    python training/surface_tracer/truth.py draw [FILE]

``make`` runs dogcm itself, all releases at once, and writes what a model of the surface layer alone
is to predict, the concentration in the first layer, with the mean currents and the mean mixing at
its foot between one record and the next. ``draw`` writes ``truth.png``.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import jax.numpy as jnp
import netCDF4
import numpy as np

import dogcm

HERE = Path(__file__).resolve().parent
DAY = 86400.0
NX, NY, CELL = 32, 24, 12.5e3  # cells and their size in m
LAYERS = [8.0] * 6 + [10, 12, 16, 20, 24, 30, 40, 50]  # m, from the surface down
STEP = 1800.0  # s
EVERY = 0.125  # days between records
RATE = 1.0  # kg/s
WIDTH = CELL  # m, standard deviation of a release in space
TRAINED, TESTED, MOVING = 12, 10, 2
SPILL = 5.0  # days that every second release lasts; the others go on
VERSION = 2


class Release(dogcm.TracerKind):
    """A tracer that enters the first layer as a Gaussian patch, which may move evenly."""

    begin: tuple[float, float] = dogcm.option((0.0, 0.0), "m", "x and y of the patch at `since`")
    end: tuple[float, float] = dogcm.option((0.0, 0.0), "m", "x and y of the patch at `until`")
    since: float = dogcm.option(0.0, "day", "model time at which the release begins", ge=0)
    until: float = dogcm.option(1.0, "day", "model time at which the patch is at its end", gt=0)
    stops: float = dogcm.option(1e6, "day", "model time at which the release ends", gt=0)
    width: float = dogcm.option(WIDTH, "m", "standard deviation of the patch", gt=0)
    rate: float = dogcm.parameter(RATE, "kg s-1", "of the release", ge=0)

    def variables(self):
        text = f"concentration of release {self.label}"
        return (dogcm.TracerVariable(self.label, "kg m-3", text),)

    def sources(self, water):
        part = jnp.clip((water.time / DAY - self.since) / (self.until - self.since), 0.0, 1.0)
        x, y = (b + (e - b) * part for b, e in zip(self.begin, self.end))
        grid = water.grid
        wet, km = grid.wet_c.crop(0), 1e3
        far = (grid.lon_c.crop(0).data * km - x) ** 2 + (grid.lat_c.crop(0).data * km - y) ** 2
        patch = jnp.exp(-far / (2 * self.width**2)) / (2 * jnp.pi * self.width**2)
        patch = patch * (water.time >= self.since * DAY) * (water.time < self.stops * DAY)
        flux = wet.with_data(patch.astype(wet.dtype)) * wet * water.parameters["rate"]
        return dogcm.Sources(surface={self.label: flux})


def depth(x, y):
    """A shelf that falls off from the western coast, with a canyon (m)."""
    canyon = 60 * np.exp(-(((y - 160e3) / 30e3) ** 2)) * np.exp(-x / 120e3)
    return 64.0 + 176.0 * (1 - np.exp(-((x / 180e3) ** 2))) + canyon


def temperature(x, y, z):
    """A thermocline below 25 m, and warmer water in the south (degC)."""
    front = 1.0 * np.tanh((150e3 - y) / 60e3)
    return 9.0 + (9.0 + front) / (1 + np.exp((z - 28.0) / 8.0))


def wind_x(x, y, t):
    """Eastward stress: a steady part, and storms every five days that travel east (N/m2)."""
    storm = jnp.maximum(jnp.sin(2 * jnp.pi * (t / (5 * DAY) - x / 1.2e6)), 0.0) ** 2
    return 0.03 + 0.22 * storm


def wind_y(x, y, t):
    """Northward stress: turns as a storm passes, with a period of 3.4 days beside it (N/m2)."""
    storm = jnp.sin(2 * jnp.pi * (t / (5 * DAY) - x / 1.2e6) + 0.9)
    return 0.06 * storm + 0.05 * jnp.sin(2 * jnp.pi * (t / (3.4 * DAY) + y / 9e5))


def heat(x, y, t):
    """Sun by day, loss by night and more of it after storms; zero in the mean (W/m2)."""
    sun = 600.0 * jnp.maximum(jnp.cos(2 * jnp.pi * t / DAY), 0.0)
    weather = 90.0 * jnp.sin(2 * jnp.pi * (t / (5 * DAY) - x / 1.2e6) - 1.2)
    return sun - 600.0 / jnp.pi - weather


def releases(spin_up: float, days: float) -> tuple[dict[str, Release], list[str]]:
    """Releases by name, and what each is for: quasi-random places, every second one is a spill that
    ends, the last ones move."""
    from scipy.stats import qmc

    number = TRAINED + TESTED + MOVING
    size = np.array([NX, NY]) * CELL
    at = 3 * CELL + qmc.Halton(2, seed=7).random(number + MOVING) * (size - 6 * CELL)
    made, splits = {}, []
    for i in range(number):
        moving = i >= TRAINED + TESTED
        ends = at[i], at[i + MOVING] if moving else at[i]
        begin, end = (tuple(float(v) for v in p) for p in ends)
        made[f"release_{i:02d}"] = Release(
            begin=begin,
            end=end,
            since=spin_up,
            until=spin_up + days,
            stops=spin_up + (SPILL if i % 2 else days),
        )
        splits.append("train" if i < TRAINED else "test")
    return made, splits


def ocean(tracers: dict[str, Release]) -> dogcm.Model:
    """The shelf sea with these releases."""
    return dogcm.Model(
        grid=dogcm.CartesianGrid(
            nx=NX, ny=NY, dx=CELL, dy=CELL, f0=9e-5, beta=2e-11, dz=LAYERS, periodic=()
        ),
        bathymetry=depth,
        initial={"temperature": temperature, "salinity": 35.0},
        forcing={"wind_stress_x": wind_x, "wind_stress_y": wind_y, "heat_flux": heat},
        tracer_advection=dogcm.LimitedDST3(),
        vertical_mixing=dogcm.KPP(),
        tracers=tracers,
        time_step=STEP,
        name="shelf_sea",
    )


FIELDS = {  # name: (axes, unit, long name)
    "concentration": (("case", "time", "y", "x"), "kg m-3", "tracer in the first layer"),
    "inventory": (("case", "time"), "kg", "tracer in the sea"),
    "u": (
        ("interval", "y", "x_face"),
        "m s-1",
        "velocity along x on faces of the first layer, mean",
    ),
    "v": (
        ("interval", "y_face", "x"),
        "m s-1",
        "velocity along y on faces of the first layer, mean",
    ),
    "vertical_diffusivity": (
        ("interval", "y", "x"),
        "m2 s-1",
        "at the foot of the first layer, mean",
    ),
    "boundary_layer_depth": (("interval", "y", "x"), "m", "depth of the boundary layer, mean"),
    "thickness": (("time", "y", "x"), "m", "of the first layer"),
    "mask": (("y", "x"), "1", "1 in water"),
    "time": (("time",), "s", "time since the releases began"),
    "x": (("x",), "m", "centre of a cell"),
    "y": (("y",), "m", "centre of a cell"),
    "source_x": (("case",), "m", "x of a release when it begins"),
    "source_y": (("case",), "m", "y of a release when it begins"),
    "source_end_x": (("case",), "m", "x of a release at the end"),
    "source_end_y": (("case",), "m", "y of a release at the end"),
    "source_strength": (("case",), "kg s-1", "what is released"),
    "source_stops": (("case",), "s", "time since the releases began at which this one ends"),
}


class Records:
    """What is kept of the tracers, moment by moment; a callback of the run."""

    def __init__(self, sea: dogcm.Model, cases: list[str], begin: float):
        self.cases, self.begin = cases, begin
        self.kept: dict[str, list] = {n: [] for n in ("concentration", "inventory", "time")}
        self.thickness: list[np.ndarray] = []
        floor = sea.gather(sea.grid.depth_c.crop(0))
        layers = np.array(LAYERS)[:, None, None]
        if floor is not None:
            self.rest = np.clip(floor - (np.cumsum(layers, 0) - layers), 0.0, layers)

    def __call__(self, sea: dogcm.Model) -> None:
        """Keep this moment; all ranks have to call."""
        now = sea.dataset(["eta", *self.cases])
        if now is None:
            return
        stretched = self.rest * (1 + now["eta"].values / self.rest.sum(0))
        every = np.stack([np.nan_to_num(now[n].values) for n in self.cases])
        self.kept["concentration"].append(every[:, 0])
        self.kept["inventory"].append((every * stretched).sum((1, 2, 3)) * CELL * CELL)
        self.kept["time"].append(float(sea.state.time) - self.begin * DAY)
        self.thickness.append(stretched[0])


def make(
    path: Path, tracers: dict[str, Release], splits: list[str], days: float, folder: Path
) -> None:
    """Run the sea for ``days`` from the begin of the releases and write the file; what the run
    itself writes goes into ``folder``."""
    sea, spin_up = ocean(tracers), min(r.since for r in tracers.values())
    sea.advance(sea.steps_in(spin_up))
    print(sea.summary(), flush=True)
    records = Records(sea, list(tracers), spin_up)
    records(sea)
    tables = [
        dogcm.Output("flow", ["u", "v"], every=EVERY),
        dogcm.Output("mixing", ["vertical_diffusivity", "boundary_layer_depth"], every=EVERY),
    ]
    often = [dogcm.Callback(records, every=EVERY)]
    sea.run(days=days, output=tables, callbacks=often, folder=folder, overwrite=True)
    if records.kept["time"]:
        kept = {n: np.stack(v) for n, v in records.kept.items()}
        kept["thickness"] = np.stack(records.thickness)
        _write(path, kept | _means(folder), list(tracers.values()), splits)


def _means(folder: Path) -> dict[str, np.ndarray]:
    """Means over the intervals between records, of the first layer and of its foot."""
    found = {}
    with netCDF4.Dataset(folder / "flow.nc") as file:
        found |= {n: np.ma.filled(file[n][:, 0], 0.0) for n in "uv"}
    with netCDF4.Dataset(folder / "mixing.nc") as file:
        # Interfaces begin with the surface.
        found["vertical_diffusivity"] = np.ma.filled(file["vertical_diffusivity"][:, 1], 0.0)
        found["boundary_layer_depth"] = np.ma.filled(file["boundary_layer_depth"][:], 0.0)
    # The sea is closed: nothing passes its eastern and northern ends.
    found["u"] = np.pad(found["u"], [(0, 0), (0, 0), (0, 1)])
    found["v"] = np.pad(found["v"], [(0, 0), (0, 1), (0, 0)])
    return found


def _write(path: Path, kept: dict, given: list[Release], splits: list[str]) -> None:
    for name in ("concentration", "inventory"):
        kept[name] = kept[name].swapaxes(0, 1)
    kept["mask"] = (kept["thickness"][0] > 0) * 1.0
    kept["x"], kept["y"] = ((np.arange(n) + 0.5) * CELL for n in (NX, NY))
    for which, name in (("begin", "source_"), ("end", "source_end_")):
        at = np.array([getattr(r, which) for r in given])
        kept[f"{name}x"], kept[f"{name}y"] = at.T
    kept["source_strength"] = np.array([r.rate for r in given])
    last = float(kept["time"][-1])
    kept["source_stops"] = np.array([min((r.stops - r.since) * DAY, last) for r in given])
    part = path.with_suffix(".part")
    with netCDF4.Dataset(part, "w") as file:
        file.setncatts(
            {
                "Conventions": "CF-1.11",
                "version": VERSION,
                "title": "Tracers released at the surface of a shelf sea",
                "source_width": WIDTH,
                "command": "python training/surface_tracer/truth.py make",
            }
        )
        for name, (axes, unit, text) in FIELDS.items():
            for axis, n in zip(axes, kept[name].shape):
                if axis not in file.dimensions:
                    file.createDimension(axis, n)
            kind = "f8" if len(axes) == 1 else "f4"
            variable = file.createVariable(name, kind, axes, zlib=True)
            variable.units, variable.long_name = unit, text
            variable[:] = kept[name]
        variable = file.createVariable("split", str, ("case",))
        variable.long_name = "what a case is for: train or test"
        variable[:] = np.array(splits, object)
    part.replace(path)


def draw(path: Path) -> None:
    """A release in space, and the cycles of mixing."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    with netCDF4.Dataset(path) as file:
        value = {n: np.asarray(file[n][:]) for n in FIELDS}
    x, y, t = value["x"] / 1e3, value["y"] / 1e3, value["time"] / DAY
    figure, axes = plt.subplots(2, 3, figsize=(13, 6.5), layout="constrained")
    for panel, day, case in zip(axes.ravel()[:5], (2, 10, 30, 30, 30), (0, 0, 0, 5, -1)):
        i = np.argmin(np.abs(t - day))
        c = value["concentration"][case, i]
        image = panel.pcolormesh(
            x, y, np.log10(np.maximum(c, 1e-12)), vmin=-9, vmax=-4.5, cmap="magma"
        )
        u, v = value["u"][i - 1], value["v"][i - 1]
        panel.quiver(x, y, (u[:, 1:] + u[:, :-1]) / 2, (v[1:] + v[:-1]) / 2, color="w", scale=5)
        ends = [
            [value[f"source_{w}"][case] / 1e3, value[f"source_end_{w}"][case] / 1e3] for w in "xy"
        ]
        panel.plot(*ends, "c*-", ms=8)
        name = case % len(value["concentration"])
        panel.set(title=f"release {name}, day {day}, log10", aspect="equal", xlabel="x (km)")
        plt.colorbar(image, ax=panel, label="kg/m3", shrink=0.7)
    j, i = NY // 2, NX // 2
    seen = t <= 20
    panel = axes.ravel()[5]
    panel.plot(t[1:][seen[1:]], value["boundary_layer_depth"][seen[1:], j, i], "k", lw=0.8)
    panel.invert_yaxis()
    panel.set(title="mixing in the middle of the sea", xlabel="day", ylabel="boundary layer (m)")
    beside = panel.twinx()
    shares = value["concentration"] * value["thickness"][None] * CELL * CELL
    share = shares.sum((2, 3)) / np.maximum(value["inventory"], 1e-30)
    beside.plot(t[seen][1:], share[:TRAINED, seen].mean(0)[1:], "C1", lw=0.9)
    beside.set_ylabel("share of the tracer in the first layer", color="C1")
    figure.savefig(HERE / "truth.png", dpi=75)


def main() -> None:
    """The command; see the top of this file."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("what", choices=["make", "draw"])
    parser.add_argument("file", nargs="?", type=Path, default=HERE / "truth.nc")
    parser.add_argument("--days", type=float, default=60.0)
    parser.add_argument("--spin-up", type=float, default=20.0)
    parser.add_argument("--output", type=Path, default=Path("output/surface_tracer"))
    given = parser.parse_args()
    if given.what == "make":
        made = releases(given.spin_up, given.days)
        make(given.file, *made, given.days, given.output)
    else:
        draw(given.file)


if __name__ == "__main__":
    main()
