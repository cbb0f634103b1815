"""What the circulation is sensitive to, by one adjoint run.

The overturning of the Atlantic at 26 N and the transport through Drake Passage after ten days of
``global_4deg``, each differentiated with respect to the initial temperature, the wind stress and a
map of the lateral diffusivity. Two points of each map are compared with central differences. Writes
``sensitivity_*.png`` and ``sensitivity.csv`` here.

    python training/initial_state/sensitivity.py            # a few minutes on one core
"""

from __future__ import annotations

import argparse
import csv
from dataclasses import replace
from pathlib import Path

import jax
import jax.numpy as jnp
import matplotlib
import numpy as np

import dogcm

matplotlib.use("Agg")
import matplotlib.pyplot as plt

HERE = Path(__file__).resolve().parent
#: Largest steps of the differences: K, a part of the diffusivity, N m-2; and how much smaller ones
# are tried as well.
STEPS, LADDER = {"temperature": 0.1, "diffusivity": 0.1, "wind": 0.01}, (1.0, 0.01, 1e-4)
BAND = slice(0, 5)  # layers of the temperature map: the upper 550 m
DIFFUSIVITY = "lateral_diffusivity"


class Study:
    """An ocean after its spin-up, and indices of its circulation some time later.

    Controls are changes of the temperature (K), of the zonal wind stress, all year (N m-2), and the
    logarithm of the lateral diffusivity, a map.
    """

    def __init__(self, spinup: float, days: float):
        self.model = m = dogcm.Model("global_4deg", {"physics.tracer_advection": "dst3_limited"})
        m.advance(m.steps_in(spinup))
        self.steps, self.days = m.steps_in(days), days
        self.sections = {
            "amoc": dogcm.zonal_section(m.grid, 26.0, (275, 350)),
            "drake": dogcm.drake_passage(m.grid),
        }
        self.now = {
            "temperature": m.state.temperature,
            "wind": m.forcing.records["taux"].crop(0),
            "diffusivity": m.grid.wet_c.crop(0),
        }
        self.values = jax.jit(self.indices)
        # One program for all indices: which one is an argument.
        self.slopes = jax.jit(
            jax.grad(lambda controls, which: jnp.dot(which, self.indices(controls)))
        )

    def none(self) -> dict:
        """Controls that change nothing."""
        return {
            "temperature": jnp.zeros(self.now["temperature"].shape),
            "wind": jnp.zeros(self.now["wind"].shape[-2:]),
            "diffusivity": jnp.zeros(self.now["diffusivity"].shape),
        }

    def indices(self, controls: dict):
        """Overturning and transport (Sv) at the end."""
        m = self.model
        warm = m.state.temperature + m.state.temperature.with_data(controls["temperature"])
        state = m.state.replace(tracers=m.state.tracers | {"temperature": warm})
        records = m.forcing.records
        wind = self.now["wind"].with_data(self.now["wind"].data + controls["wind"])
        factor = self.now["diffusivity"].with_data(jnp.exp(controls["diffusivity"]))
        wind, factor = dogcm.exchange(
            m.halos, (wind, records["taux"].halo), (factor, m.grid.h_c.halo)
        )
        forcing = replace(m.forcing, records=records | {"taux": wind})
        params = m.params | {DIFFUSIVITY: m.params[DIFFUSIVITY] * factor}
        last, _ = dogcm.rollout(m.step, state, params, forcing, m.grid, self.steps)
        found = [
            dogcm.overturning_strength(last, self.sections["amoc"], m.halos, m.grid),
            dogcm.transport(last, self.sections["drake"], m.halos, m.grid),
        ]
        # Each rank differentiates its share.
        return jnp.stack(found) / dogcm.SVERDRUP / m.halos.size

    def check(self, which: int, gradient: dict) -> list[tuple]:
        """Rows of control, place, adjoint and central difference: where the slope is largest, and
        where it is a tenth of that."""
        rows = []
        lat, lon = (np.asarray(f.interior) for f in (self.model.grid.lat_c, self.model.grid.lon_c))
        for name, slope in gradient.items():
            size = np.abs(np.asarray(slope)).ravel()
            order = np.argsort(-size)
            weaker = order[np.searchsorted(-size[order], -0.1 * size[order[0]])]
            for place in (order[0], weaker):
                at = np.unravel_index(place, slope.shape)
                adjoint, tried = float(slope[at]), []
                for h in (STEPS[name] * part for part in LADDER):
                    up, down = (self._moved(which, name, at, sign * h) for sign in (1, -1))
                    tried.append((up - down) / (2 * h))
                difference = min(tried, key=lambda d: abs(d - adjoint))
                depth = f"{float(self.model.grid.z_c[at[0], 0, 0]):.0f}" if len(at) == 3 else ""
                rows.append(
                    (
                        list(self.sections)[which],
                        name,
                        f"{lat[at[-2:]]:.0f}",
                        f"{lon[at[-2:]]:.0f}",
                        depth,
                        f"{adjoint:.5g}",
                        f"{difference:.5g}",
                        f"{abs(difference / adjoint - 1):.1e}",
                        f"{abs(tried[0] / adjoint - 1):.1e}",
                    )
                )
                print(*rows[-1], flush=True)
        return rows

    def _moved(self, which: int, name: str, at: tuple, change: float) -> float:
        zero = self.none()
        return float(self.values(zero | {name: zero[name].at[at].set(change)})[which])

    def draw(self, which: int, value: float, gradient: dict) -> None:
        """Three maps; each control per area or volume, so that the maps do not depend on the
        grid."""
        g, index = self.model.grid, list(self.sections)[which]
        area = np.asarray(g.area_c.interior)
        thickness = np.asarray(g.h_c.interior)[BAND]
        # A warming of 1 K over the band's depth and 1e12 m2 (1000 km square).
        warm = np.asarray(gradient["temperature"])[BAND].sum(0) / area * 1e12
        wind = np.asarray(gradient["wind"]) / area * 1e12 * 0.01
        mixing = np.asarray(gradient["diffusivity"]) / area * 1e12 * np.log(2.0)
        wet = thickness.sum(0) > 0
        maps = (
            (f"1 K warmer, upper {float(g.dz[BAND].sum()):.0f} m", warm),
            ("0.01 N m$^{-2}$ more eastward stress", wind),
            ("twice the lateral diffusivity", mixing),
        )
        lon, lat = np.asarray(g.lon_c.interior)[0], np.asarray(g.lat_c.interior)[:, 0]
        fig, axes = plt.subplots(3, 1, figsize=(7.5, 10), layout="constrained")
        import cmocean

        for ax, (title, values) in zip(axes, maps):
            values = np.where(wet, values, np.nan)
            top = np.nanpercentile(np.abs(values), 99.5)
            ax.set_facecolor("0.75")
            mesh = ax.pcolormesh(
                lon, lat, values, cmap=cmocean.cm.balance, vmin=-top, vmax=top, shading="nearest"
            )
            at = np.asarray(self.sections[index].faces.interior) > 0
            ax.plot(
                np.broadcast_to(lon, at.shape)[at],
                np.broadcast_to(lat[:, None], at.shape)[at],
                "k.",
                markersize=3,
            )
            ax.set_title(title, loc="left", fontsize=10)
            fig.colorbar(mesh, ax=ax, label="Sv per 10$^{12}$ m$^2$", extend="both")
        name = {"drake": "Drake Passage transport", "amoc": "Atlantic overturning at 26 N"}[index]
        fig.suptitle(f"{name} after {self.days:.0f} days, {value:.1f} Sv: its change by")
        fig.savefig(HERE / f"sensitivity_{index}.png", dpi=90)
        plt.close(fig)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--spinup", type=float, default=180.0, metavar="DAYS")
    parser.add_argument("--days", type=float, default=10.0)
    options = parser.parse_args()
    study, rows = Study(options.spinup, options.days), []
    values = np.asarray(study.values(study.none()))
    print(*zip(study.sections, values), flush=True)
    for which in range(len(values)):
        gradient = study.slopes(study.none(), jnp.zeros(len(values)).at[which].set(1.0))
        study.draw(which, float(values[which]), gradient)
        rows += study.check(which, gradient)
        with open(HERE / "sensitivity.csv", "w", newline="") as f:
            head = (
                "index",
                "control",
                "latitude",
                "longitude",
                "depth (m)",
                "adjoint",
                "difference",
                "disagreement",
                "with the largest step",
            )
            csv.writer(f).writerows([head, *rows])


if __name__ == "__main__":
    main()
