"""Recovery of a map of lateral diffusivity from a twin.

The truth mixes between a half and twice 1000 m2 s-1, in a smooth pattern; training starts from 1000
everywhere and sees temperature and salinity once a day in rollouts of two days. The prior of the
map (correlation length, factor of two) fills in where the data say nothing. Writes ``map.csv`` and
``map.png`` here.

    python training/twin_recovery/map.py            # about three minutes on one core
"""

from __future__ import annotations

import argparse
import csv
from pathlib import Path

import jax
import jax.numpy as jnp
import matplotlib
import numpy as np

import dogcm

matplotlib.use("Agg")
import matplotlib.pyplot as plt

HERE = Path(__file__).resolve().parent
NAME, SEEN = "lateral_diffusivity", {"temperature": 1.0, "salinity": 1.0}
SPINUP, RECORDS, LENGTH = 30, 8, 2  # days
PRIOR = 1e-4


class Records:
    """Windows of states that are kept in memory; see :class:`dogcm.learning.trainer.Targets`."""

    def __init__(self, states: list, every: int):
        self.states, self.every = states, every

    def count(self, steps: int) -> int:
        return len(self.states) - steps // self.every

    def window(self, index: int, steps: int) -> dogcm.Window:
        after = self.states[index + 1 : index + 1 + steps // self.every]
        return dogcm.Window(
            self.states[index], dogcm.stacked([dogcm.observe(s, SEEN) for s in after])
        )


def pattern(grid):
    """Logarithm to base 2 of the truth over 1000 m2 s-1, from -1 to 1: varies in both
    directions."""
    lon, lat = (jnp.deg2rad(f.crop(0).data) for f in (grid.lon_c, grid.lat_c))
    return jnp.cos(2 * lon) * jnp.cos(3 * lat)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--updates", type=int, default=60)
    updates = parser.parse_args().updates
    model = dogcm.Model("global_4deg", {"physics.tracer_advection": "dst3_limited"})
    grid, base = model.grid, float(model.params[NAME])
    plain, true = dict(model.params), pattern(grid)
    (deep,) = dogcm.exchange(
        model.halos, (grid.wet_c.crop(0).with_data(base * 2.0**true), grid.h_c.halo)
    )
    model.params = plain | {NAME: deep}
    every, states = model.steps_in(1.0), []
    model.advance(model.steps_in(SPINUP))
    for _ in range(RECORDS + 1):
        states.append(jax.tree.map(jnp.array, model.state))  # the model gives its own arrays away
        model.advance(every)
    targets = Records(states, every)

    learn = dogcm.LearnableSet([{NAME: {"shape": "map", "smoothness": 1.5e6}}])
    start = {"physics": learn.initial(plain, grid)}
    steps = LENGTH * every
    problem = dogcm.Problem(model.step, model.halos, every, learn, prior=PRIOR)
    fixed = {"params": plain, "forcing": model.forcing, "grid": grid}
    window = targets.window(0, steps)
    # An error of 1 is that of the start: the wrong diffusivity.
    forecast = jax.jit(lambda w: problem.forecast(start, w.state, fixed, steps, list(SEEN)))(window)
    scales = dogcm.level_spread(model.halos, grid, forecast, window.values)
    fixed["loss"] = dogcm.squared_error(model.halos, grid, SEEN, scales, "level")
    settings = dogcm.OptimiserSettings({"physics": 0.06}, updates, final=0.05)
    trainer = dogcm.Trainer(
        problem.share,
        fixed,
        start,
        targets,
        dogcm.Ranks(dogcm.world()),
        [dogcm.Stage(updates, steps)],
        settings,
    )
    losses = []
    trainer.train(
        each=lambda r: (
            losses.append(r.loss) or print(r.update, f"{r.loss:.4g} {r.seconds:.2f} s", flush=True)
        )
    )

    found = learn.values(trainer.weights.trainable["physics"])[NAME]
    lat = np.asarray(grid.lat_c.interior)
    weight = np.asarray((grid.area_c * grid.wet_c).interior)
    true, found = np.asarray(true), np.log2(np.asarray(found.interior) / base)
    parts = {
        "ocean": np.abs(lat) < 90,
        "poleward of 40 N and S": np.abs(lat) > 40,
        "within 20 of the equator": np.abs(lat) < 20,
    }
    rms = lambda x, where: float(np.sqrt(np.average(x**2, weights=weight * where)))
    rows = [
        (
            part,
            f"{2 ** rms(true, w):.3f}",
            f"{2 ** rms(found - true, w):.3f}",
            f"{np.corrcoef(true[w & (weight > 0)], found[w & (weight > 0)])[0, 1]:.3f}",
        )
        for part, w in parts.items()
    ]
    rows.append(("loss", f"{losses[0]:.4g}", f"{losses[-1]:.4g}", ""))
    print(*rows, sep="\n")
    with open(HERE / "map.csv", "w", newline="") as f:
        head = (
            "where",
            "error of the start (factor, rms)",
            "error after training (factor, rms)",
            "correlation with the truth",
        )
        csv.writer(f).writerows([head, *rows])
    draw(grid, base, true, found, weight > 0)


def draw(grid, base: float, true, found, wet) -> None:
    import cmocean

    lon, lat = np.asarray(grid.lon_c.interior)[0], np.asarray(grid.lat_c.interior)[:, 0]
    fig, axes = plt.subplots(3, 1, figsize=(7, 9.5), layout="constrained")
    maps = (
        ("truth", base * 2.0**true, cmocean.cm.amp, 400, 2100),
        ("learned", base * 2.0**found, cmocean.cm.amp, 400, 2100),
        ("learned / truth", 2.0 ** (found - true), cmocean.cm.balance, 0.5, 2.0),
    )
    for ax, (title, values, colours, low, high) in zip(axes, maps):
        ax.set_facecolor("0.75")
        mesh = ax.pcolormesh(
            lon,
            lat,
            np.where(wet, values, np.nan),
            cmap=colours,
            shading="nearest",
            norm=matplotlib.colors.LogNorm(low, high),
        )
        bar = fig.colorbar(mesh, ax=ax, label="m$^2$ s$^{-1}$" if low > 1 else "")
        ticks = [500, 1000, 2000] if low > 1 else [0.5, 1, 2]
        bar.set_ticks(ticks, labels=[f"{t:g}" for t in ticks])
        bar.ax.minorticks_off()
        ax.set_title(title, loc="left", fontsize=10)
    fig.suptitle("Lateral diffusivity")
    fig.savefig(HERE / "map.png", dpi=90)


if __name__ == "__main__":
    main()
