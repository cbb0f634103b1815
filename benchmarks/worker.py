"""The measuring process: builds a model, then obeys ``run STEPS``, ``report``, ``parts`` and
``quit`` on stdin.

Started by :mod:`benchmarks.__main__`, pinned to one core or under mpirun. A process that waits
between its turns lets two set-ups be measured side by side in alternation, so that a change of
clock or neighbours hits both. Each answer is one line of JSON on standard output, from rank 0.
"""

from __future__ import annotations

import argparse
import json
import resource
import sys
import time


def answer(rank: int, **values) -> None:
    if rank == 0:
        print("@" + json.dumps(values), flush=True)


def peak_memory() -> int:
    """Largest resident size of this process so far, bytes."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (
        1 if sys.platform == "darwin" else 1024
    )


def first_step(experiment: str, precision: str, born: float):
    """The model after one step, and the seconds from process start until then."""
    before = peak_memory()
    import jax

    from dogcm.simulation.model import Model

    imported = peak_memory()
    model = Model(experiment, {"run.precision": precision})
    jax.block_until_ready(model.advance(1))
    return model, {
        "first_step_s": time.time() - born,
        "bare_bytes": before,
        "imported_bytes": imported,
    }


def report(model) -> dict:
    """Memory: what the process took at most, and what the compiled step needs."""
    compiled = model._advance.lower(
        model.state, 1, model.params, model.forcing, model.grid
    ).compile()
    out = {"peak_bytes": peak_memory(), "ranks": model.comm.size, "dt_s": model.physics.dt}
    analysis = compiled.memory_analysis()
    for name in ("temp", "argument", "output"):
        out[f"{name}_bytes"] = int(getattr(analysis, f"{name}_size_in_bytes", 0) or 0)
    return out


def main() -> None:
    p = argparse.ArgumentParser(description=__doc__)
    p.add_argument("--experiment", default="global_4deg")
    p.add_argument("--precision", default="float64")
    p.add_argument(
        "--born", type=float, default=time.time(), help="start of the process (s since 1970)"
    )
    options = p.parse_args()
    model, facts = first_step(options.experiment, options.precision, options.born)
    import jax

    rank = model.comm.rank
    cells = model.vertical.nz * model.horizontal.shape[0] * model.horizontal.shape[1]
    answer(
        rank, cells=cells, layout=model.layout.describe(), platform=jax.default_backend(), **facts
    )
    while True:
        # mpirun hands standard input to rank 0 alone.
        word = model.comm.broadcast(sys.stdin.readline().split() if rank == 0 else None)
        if not word or word[0] == "quit":
            return
        if word[0] == "report":
            answer(rank, **report(model))
        elif word[0] == "parts":
            from benchmarks.parts import shares

            answer(rank, **shares(model))
        elif word[0] == "run":
            steps = int(word[1])
            model.comm.barrier()
            start = time.perf_counter()
            jax.block_until_ready(model.advance(steps))
            model.comm.barrier()
            answer(rank, seconds=time.perf_counter() - start, steps=steps)


if __name__ == "__main__":
    main()
