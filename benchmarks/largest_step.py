"""``python -m benchmarks.largest_step``: years per day of each time scheme at its largest stable
step."""

from __future__ import annotations

import argparse
import json
from pathlib import Path

STEPS = (1800, 2400, 3600, 4800, 5400, 7200, 8640, 10800, 14400)
# A run counts as unstable long before it ends in NaN: no current of a 4-degree ocean comes near
# this.
FASTEST = 5.0  # m s-1
SECONDS_PER_YEAR = 365.25 * 86400.0


def trial(experiment: str, scheme: str, dt: float, days: float) -> dict:
    """Run for ``days``, read every fifth day; stops when unstable.

    Returns:
        Whether it was stable, the largest speed met (m s-1), the seconds a step took.
    """
    import jax

    from dogcm.simulation.model import Model, time_steps

    model = Model(experiment, {"time.step": dt, "time.scheme": scheme})
    count, block = round(days * 86400 / dt), max(1, round(5 * 86400 / dt))
    fastest, done = 0.0, 0
    while done < count:
        jax.block_until_ready(model.advance(min(block, count - done)))
        done += min(block, count - done)
        reading = model.read()
        fastest = max(fastest, reading.speed)
        if not reading.finite or not reading.speed < FASTEST:
            return {
                "scheme": scheme,
                "dt": dt,
                "stable": False,
                "days": done * dt / 86400,
                "speed": fastest,
            }
    seconds = sorted(time_steps(model, max(1, min(50, count)), 3))[1]
    return {
        "scheme": scheme,
        "dt": dt,
        "stable": True,
        "days": days,
        "speed": fastest,
        "seconds_per_step": seconds,
        "years_per_day": dt / seconds * 86400 / SECONDS_PER_YEAR,
    }


def largest(experiment: str, scheme: str, days: float, steps=STEPS) -> list[dict]:
    """Trials of one scheme with growing steps, up to the first unstable one."""
    trials = []
    for dt in steps:
        trials.append(trial(experiment, scheme, dt, days))
        if not trials[-1]["stable"]:
            break
    return trials


def markdown(results: dict[str, list[dict]], days: float) -> str:
    """One row per scheme."""
    heads = ("scheme", "largest stable step (s)", "years/day", "first unstable (s)", "after (days)")
    lines = ["| " + " | ".join(heads) + " |", "|---" * len(heads) + "|"]
    for scheme, trials in results.items():
        stable, unstable = (
            [t for t in trials if t["stable"]],
            [t for t in trials if not t["stable"]],
        )
        best = f"{stable[-1]['dt']:g} | {stable[-1]['years_per_day']:.1f}" if stable else "none | "
        end = f"{unstable[0]['dt']:g} | {unstable[0]['days']:g}" if unstable else "none | "
        lines.append(f"| {scheme} | {best} | {end} |")
    return "\n".join([*lines, "", f"Stable: speeds below {FASTEST:g} m/s for {days:g} days."])


def main() -> None:
    from dogcm.components import kinds_of
    from dogcm.timestepping import shipped  # noqa: F401 defines them

    schemes = list(kinds_of("time_scheme"))

    p = argparse.ArgumentParser(prog="python -m benchmarks.largest_step", description=__doc__)
    p.add_argument("--experiment", default="global_4deg")
    p.add_argument("--days", type=float, default=60.0)
    p.add_argument("--schemes", nargs="*", default=schemes, choices=schemes)
    p.add_argument(
        "--steps", nargs="*", type=float, default=list(STEPS), help="steps to try (s), ascending"
    )
    p.add_argument("--json", type=Path, metavar="FILE")
    options = p.parse_args()
    results = {
        s: largest(options.experiment, s, options.days, options.steps) for s in options.schemes
    }
    print(markdown(results, options.days))
    if options.json:
        options.json.write_text(json.dumps(results, indent=1) + "\n")


if __name__ == "__main__":
    main()
