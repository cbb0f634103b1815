"""Which of the five parameters the data can tell: profile likelihoods.

Observations of a twin with errors of known size: sea surface temperature and sea level of every
cell, temperature profiles at a few columns, once a day for five days. The likelihood is ``exp(-chi2
/ 2)``; the profile of a parameter is the least chi2 at each of its values, all others fitted anew.
The curvature comes from the tangent-linear model (Gauss and Newton), which is drawn as a parabola;
the points are real: rollouts with the parameter held and the others re-optimised by one step of
    Gauss and Newton from the parabola's optimum. Writes ``profiles.csv`` and ``profiles.png`` here.

    python training/twin_recovery/profiles.py            # some five minutes on one core
"""

from __future__ import annotations

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
#: Standard deviation of the errors of one value: of the instrument, and of what a cell of 4 degrees
# cannot show.
ERRORS = {"sst": 0.3, "eta": 0.03, "temperature": 0.3}
PROFILES, DAYS, SEED = 60, 5, 0
DATA = {
    "sea surface temperature and sea level": ("sst", "eta"),
    "with 60 profiles": ("sst", "eta", "temperature"),
}
POINTS = (-2.5, -1.25, 1.25, 2.5)  # in standard deviations of the parabola


class Study:
    """Observations of the twin as a function of the logarithms of the parameters, relative to the
    truth."""

    def __init__(self):
        recipe = dogcm.load_recipe(HERE / "recipe.yaml")
        self.model = m = dogcm.Model(recipe.truth_config())
        m.advance(m.steps_in(recipe.targets.spinup))
        self.names = list(recipe.learnable)
        wet = np.asarray(m.grid.wet_c.interior)
        columns = np.random.default_rng(SEED).choice(np.flatnonzero(wet), PROFILES, replace=False)
        chosen = np.zeros(wet.size, bool)
        chosen[columns] = True
        mask = np.asarray(m.grid.mask_c.interior) > 0
        self.kept = {
            "sst": wet > 0,
            "eta": wet > 0,
            "temperature": mask & chosen.reshape(wet.shape),
        }
        self.observed = jax.jit(self._observed)
        self.linear = jax.jit(lambda x: (self._observed(x), jax.jacfwd(self._observed)(x)))

    def _observed(self, logs):
        """All observations in units of their errors, by name; each (n,)."""
        m, day = self.model, self.model.steps_in(1.0)
        params = m.params | {n: m.params[n] * jnp.exp(v) for n, v in zip(self.names, logs)}
        see = lambda s: {
            n: dogcm.observe(s, [n])[n].data[self.kept[n]] / e for n, e in ERRORS.items()
        }
        _, seen = dogcm.rollout(
            m.step,
            m.state,
            params,
            m.forcing,
            m.grid,
            DAYS * day,
            checkpoint="none",
            observe=see,
            observe_every=day,
        )
        return {n: v.ravel() for n, v in seen.items()}


def stacked(tree: dict, kinds) -> np.ndarray:
    return np.concatenate([np.asarray(tree[k]) for k in kinds])


def profile(study: Study, truth: dict, slope: np.ndarray, kinds, which: int, value: float) -> float:
    """Least chi2 with one parameter at ``value`` (logarithm, from the truth): a real one, of
    rollouts."""
    free = [i for i in range(slope.shape[1]) if i != which]
    x = np.zeros(slope.shape[1])
    x[which] = value
    x[free] = np.linalg.lstsq(slope[:, free], -slope[:, which] * value, rcond=None)[0]
    seen, tangent = study.linear(jnp.asarray(x))
    misfit = stacked(seen, kinds) - stacked(truth, kinds)
    x[free] += np.linalg.lstsq(stacked(tangent, kinds)[:, free], -misfit, rcond=None)[0]
    misfit = stacked(study.observed(jnp.asarray(x)), kinds) - stacked(truth, kinds)
    return float(misfit @ misfit)


def main() -> None:
    study = Study()
    truth, tangent = study.linear(jnp.zeros(len(study.names)))
    rows, spread = [], {}
    for data, kinds in DATA.items():
        slope = stacked(tangent, kinds)
        precision = slope.T @ slope
        covariance = np.linalg.inv(precision)
        spread[data] = np.sqrt(np.diag(covariance))
        correlation = covariance / np.outer(spread[data], spread[data]) - np.eye(len(study.names))
        for i, name in enumerate(study.names):
            sd, other = spread[data][i], int(np.argmax(np.abs(correlation[i])))
            true = float(study.model.params[name])
            rows.append(
                (
                    data,
                    name,
                    f"{true:g}",
                    f"{true * np.exp(-1.96 * sd):.3g} to {true * np.exp(1.96 * sd):.3g}",
                    f"{sd:.3g}",
                    f"{precision[i, i] ** -0.5:.3g}",
                    f"{study.names[other]} {correlation[i, other]:+.2f}",
                )
            )
            print(*rows[-1], flush=True)
    with open(HERE / "profiles.csv", "w", newline="") as f:
        head = (
            "data",
            "parameter",
            "truth",
            "95 % interval",
            "sd of the logarithm",
            "the same, others known",
            "most correlated with",
        )
        csv.writer(f).writerows([head, *rows])

    data, kinds = list(DATA.items())[-1]
    slope, points = stacked(tangent, kinds), {}
    for i, name in enumerate(study.names):
        sd = min(spread[data][i], 0.6)  # further out than a factor of four nobody would look
        points[name] = [(s * sd, profile(study, truth, slope, kinds, i, s * sd)) for s in POINTS]
        print(
            name,
            *(
                f"{np.exp(x):.3g} x: {c:.4g} (parabola {(x / spread[data][i]) ** 2:.4g})"
                for x, c in points[name]
            ),
            flush=True,
        )
    draw(points, spread)


def draw(points: dict[str, list[tuple[float, float]]], spread: dict[str, np.ndarray]) -> None:
    """Parabolas and real points, by parameter, over its factor on the truth."""
    fig, axes = plt.subplots(1, len(points), figsize=(14, 3.2), layout="constrained", sharey=True)
    for i, (ax, (name, found)) in enumerate(zip(axes, points.items())):
        for label, sds in spread.items():
            line = np.linspace(-4.5, 4.5, 91) * min(sds[i], 0.6)
            ax.plot(line / np.log(2.0), (line / sds[i]) ** 2, label=label)
        ax.plot(
            [x / np.log(2.0) for x, _ in found],
            [c for _, c in found],
            "ko",
            markersize=4,
            label="rollouts, with profiles",
        )
        ax.axhline(3.84, color="grey", linewidth=0.8)
        ax.set(xlabel="doublings", title=name.replace("_", " "), ylim=(0, 18))
    axes[0].set_ylabel("chi2 less its minimum")
    axes[-1].legend(fontsize=7, loc="upper center")
    fig.savefig(HERE / "profiles.png", dpi=100)


if __name__ == "__main__":
    main()
