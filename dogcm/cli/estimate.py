"""``dogcm run --dry-run``: tiles, memory and speed of a run that is not made."""

from __future__ import annotations

import resource
import sys
import time

import jax
import jax.numpy as jnp
from rich.table import Table

from dogcm.cli.console import console
from dogcm.cli.errors import OK
from dogcm.simulation.model import Model
from dogcm.simulation.progress import compiling, start_table

_SAMPLE_STEPS = 10


def show(model: Model, days: float, binding) -> int:
    """Print what a run of ``days`` would take. Some steps are timed, then thrown away."""
    steps = model.steps_in(days)
    table = start_table(model, binding)
    with compiling(model.comm):
        memory = memory_per_rank(model)
        kept = jax.tree.map(jnp.copy, model.state)
        jax.block_until_ready(model.advance(1))
        model.state = kept
    seconds = seconds_per_step(model)
    gathered = model.comm.gather(memory)
    if gathered is None:
        return OK
    out = console()
    print(table)
    out.print(_memory_table(gathered))
    print(
        "fields: all arrays of state, grid, parameters and forcing; work: what the compiler plans "
        "for a step "
        "besides;\nprocess: largest resident size of this process so far, with Python and "
        "libraries."
    )
    years = days / 365.0
    wet = sum(g["wet"] for g in gathered)
    print(
        f"speed: {seconds * 1e3:.1f} ms a step, measured over {_SAMPLE_STEPS} steps on these ranks "
        f"(thrown away): "
        f"{wet / seconds / 1e6:.2f} million wet cell-steps/s, "
        f"{years / (steps * seconds / 86400):.3g} simulated years per day\n"
        f"{days:g} days ({years:.2f} years) are {steps} steps: about {_duration(steps * seconds)} "
        f"without output"
    )
    print("dry run: nothing was written")
    return OK


def tree_bytes(tree) -> int:
    """Size of all arrays of a tree."""
    return sum(leaf.nbytes for leaf in jax.tree.leaves(tree))


def memory_per_rank(model: Model) -> dict:
    """Bytes of this rank: its fields, what the compiler plans for a step, what the process
    holds."""
    arguments = (model.state, jnp.asarray(1), model.params, model.forcing, model.grid)
    plan = model._advance.lower(*arguments).compile().memory_analysis()
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return {
        "rank": model.comm.rank,
        "tile": model.decomposition.tile.shape,
        "wet": int((model.grid.mask_c.interior > 0).sum()),
        "fields": tree_bytes((model.state, model.grid, model.params, model.forcing)),
        "work": int(getattr(plan, "temp_size_in_bytes", 0)),
        "process": peak if sys.platform == "darwin" else peak * 1024,
    }


def seconds_per_step(model: Model) -> float:
    """Measured time of a step on these ranks; the model's state stays as it was."""
    kept = jax.tree.map(jnp.copy, model.state)
    jax.block_until_ready(model.advance(1))
    model.comm.barrier()
    start = time.perf_counter()
    jax.block_until_ready(model.advance(_SAMPLE_STEPS))
    model.comm.barrier()
    seconds = (time.perf_counter() - start) / _SAMPLE_STEPS
    model.state = kept
    return seconds


def _memory_table(rows: list[dict]) -> Table:
    table = Table(box=None, pad_edge=False, header_style="bold")
    for name in ("rank", "tile (rows x columns)", "fields", "work", "process"):
        table.add_column(name, justify="left" if name.startswith("tile") else "right")
    for r in rows:
        table.add_row(
            str(r["rank"]),
            f"{r['tile'][0]} x {r['tile'][1]}",
            *(_megabytes(r[k]) for k in ("fields", "work", "process")),
        )
    return table


def _megabytes(size: int) -> str:
    return f"{size / 2**20:.1f} MiB"


def _duration(seconds: float) -> str:
    if seconds < 120:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 7200 else f"{seconds / 3600:.1f} h"
