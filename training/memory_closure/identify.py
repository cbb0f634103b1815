"""Is the diffusivity that is learned the one that is there? A twin whose D is known.

    python training/memory_closure/identify.py        # identified.csv, identified.png

The model of the plane makes its own truth with maps of D_x and D_y that are a smooth random factor
(of half to twice, mostly) away from the eddies' own. Training, on the 26 training sources, starts
from the eddies' own. What the data say of a face is the diagonal of the Gauss-Newton Hessian of the
misfit of logarithms with respect to log D of that face, estimated by random vectors (Bekas et al.
2007, doi:10.1016/j.apnum.2007.01.003): how well it is found should follow it.
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
import train
from contenders import CONTENDERS, DT
from planes import Truth, field, read_truth
from scipy.ndimage import gaussian_filter

matplotlib.use("Agg")
import matplotlib.pyplot as plt

HERE = Path(__file__).resolve().parent
NAME, SECONDS, EVERY = "known_d", 600.0, 10  # steps between records
PROBES, PARTS = 24, 5
LONGER = 6  # times as many updates as in the study
AWAY, LENGTH = 0.7, 2.5  # spread of the factor's logarithm; cells
# Nearly no prior: how far the data alone go.
CONTENDERS[NAME] = replace(CONTENDERS["learned_d"], prior=(0.0, 1e-5))


def drawn(own, seed: int):
    """The eddies' own diffusivity (raw numbers) with a smooth random factor."""
    random = np.random.default_rng(seed)

    def one(f):
        noise = gaussian_filter(random.normal(size=f.shape), LENGTH)
        return f.with_data(f.data + jnp.asarray(AWAY * noise / noise.std(), f.dtype))

    return tuple(one(f) for f in own)


def records(model, learned, truth: Truth, cases):
    """The plane at every record, (record, case, y, x)."""
    params = CONTENDERS[NAME].params(model, learned)
    source = field(truth.sources(cases, DT, DT)[0])
    steps = round(SECONDS / DT)
    return model.rollout(model.at_rest(len(cases)), params, source, steps, EVERY)[1].data


def twin(model, learned, truth: Truth, cases) -> Truth:
    """What the model says in the truth's place."""
    seen = np.asarray(jax.jit(lambda w: records(model, w, truth, cases))(learned))
    made = np.zeros((len(truth.flow), *seen.shape[:1], *truth.shape), np.float32)
    made[cases] = seen.swapaxes(0, 1)
    return replace(truth, concentration=made, time=DT * EVERY * (1.0 + np.arange(len(seen))))


def told(model, learned, truth: Truth, cases):
    """Diagonal of the Gauss-Newton Hessian by face, two arrays."""
    logs = lambda d: jnp.arcsinh(
        records(model, learned | {"physics": learned["physics"] | {"plane_diffusivity": d}},
                truth, cases) / train.SMALL
    )  # fmt: skip
    d = learned["physics"]["plane_diffusivity"]

    @jax.jit
    def squares(key):
        value, back = jax.vjp(logs, d)
        signs = jax.random.rademacher(key, value.shape, value.dtype)
        return [f.data**2 for f in back(signs)[0]]

    total = [0.0, 0.0]
    for n in range(PROBES):
        total = [a + np.asarray(b) for a, b in zip(total, squares(jax.random.key(n)))]
    return [x / PROBES for x in total]


def compare(model, start, wanted, found, told_of) -> list[list]:
    """Rows of the table: faces by how much the data say of them, least first."""
    pick = lambda fields: np.concatenate([np.asarray(f.data).ravel() for f in fields])
    p = model.plane
    wet = np.concatenate([np.asarray(f.interior).ravel() > 0 for f in (p.wet_u, p.wet_v)])
    want, got = (pick(x)[wet] - pick(start)[wet] for x in (wanted, found))
    said = np.concatenate([x.ravel() for x in told_of])[wet]
    order, rows = np.argsort(said), []
    for n, part in enumerate([*np.array_split(order, PARTS), order]):
        a, b = want[part], got[part]
        off = np.abs(np.expm1(b - a))
        rows.append([
            "all" if n == PARTS else f"{100 * n // PARTS} to {100 * (n + 1) // PARTS} %",
            len(part), f"{np.median(said[part]):.3g}", f"{np.corrcoef(a, b)[0, 1]:.3f}",
            f"{np.median(off):.3f}", f"{np.sqrt(np.mean((b - a) ** 2)):.3f}",
            f"{np.sqrt(np.mean(a**2)):.3f}",
        ])  # fmt: skip
    return rows


def draw(model, start, wanted, found, told_of) -> None:
    """identified.png: the factor of D_x that is there, the one found, and what the data say."""
    wet = np.asarray(model.plane.wet_u.interior)
    maps = [np.asarray(x[0].data - start[0].data) for x in (wanted, found)]
    figure, axes = plt.subplots(1, 3, figsize=(13, 2.8), layout="constrained")
    titles = ("log factor of D_x, there", "found", "log10 of what the data say")
    for axis, values, title in zip(axes, [*maps, np.log10(told_of[0] + 1e-12)], titles):
        values = np.where(wet > 0, values, np.nan)
        limits = {"vmin": -2, "vmax": 2, "cmap": "RdBu_r"} if "log10" not in title else {}
        image = axis.pcolormesh(np.arange(values.shape[1]) * 0.5, np.arange(len(values)) * 0.5,
                                values, shading="nearest", **limits)  # fmt: skip
        axis.set(title=title, xlabel="x (m)", ylabel="y (m)", aspect="equal")
        figure.colorbar(image, ax=axis, shrink=0.8)
    figure.savefig(HERE / "identified.png", dpi=110)


def main() -> None:
    """The command; see the top of this file."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--truth", type=Path, default=HERE / "truth.nc")
    given = parser.parse_args()
    truth = read_truth(given.truth)
    contender, cases = CONTENDERS[NAME], np.flatnonzero(truth.train)
    model = contender.model(truth)
    start = contender.start(model, 0)
    own = start["physics"]["plane_diffusivity"]
    wanted = {"physics": start["physics"] | {"plane_diffusivity": drawn(own, 7)}}
    train.HORIZONS = tuple((n, LONGER * m) for n, m in train.HORIZONS)
    made = twin(model, wanted, truth, cases)
    found = train.train(NAME, made, 0, cases, lambda t: print(t, flush=True))[1]
    said = told(model, wanted, truth, cases)
    maps = [x["physics"]["plane_diffusivity"] for x in (wanted, found)]
    rows = compare(model, own, *maps, said)
    head = ["faces", "count", "told", "correlation", "median_relative_error", "rms_log_error",
            "rms_log_factor"]  # fmt: skip
    with open(HERE / "identified.csv", "w", newline="") as file:
        csv.writer(file, lineterminator="\n").writerows([head, *rows])
    for row in rows:
        print(*row)
    draw(model, own, *maps, said)


if __name__ == "__main__":
    main()
