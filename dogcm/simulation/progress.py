"""What a run tells the person who started it: the start table and the progress line."""

from __future__ import annotations

import os
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

import jax
import numpy as np

from dogcm.decomp.binding import DeviceBinding, bind_device, thread_count
from dogcm.diagnostics.monitor import Reading
from dogcm.io.description import date_of

_YEAR = 365.0 * 86400.0
_ROWS = 32  # of the start table; the rest is summed up in one line


def say(comm, text: str) -> None:
    """Print on rank 0, at once."""
    if comm.rank == 0:
        print(text, flush=True)


@contextmanager
def compiling(
    comm, last: float | None = None, after: float = 3.0, what: str = "the step"
) -> Iterator[dict[str, float]]:
    """Say on rank 0 that something is being compiled, if that takes long, and how long it took.

    Args:
        last: how long it took last time (s), if that is known. after: silence before the word (s).
        what: is compiled.

    Yields:
        a dict that has ``seconds`` when it is done.
    """
    before = f" (last time {last:.0f} s)" if last else ""
    word = threading.Timer(after, say, (comm, f"compiling {what}{before} ..."))
    word.daemon = True
    took: dict[str, float] = {}
    begin = time.perf_counter()
    if comm.rank == 0:
        word.start()
    try:
        yield took
    finally:
        word.cancel()
    took["seconds"] = time.perf_counter() - begin
    if took["seconds"] > after:
        say(comm, f"compiled in {took['seconds']:.0f} s")


def start_table(model, binding: DeviceBinding | None = None) -> str | None:
    """Rank, host, device, tile, wet cells, threads of all ranks, and warnings. On rank 0; all ranks
    call it.

    Args:
        binding: what :func:`dogcm.decomp.binding.bind_device` returned, if it was called before JAX
            started.
    """
    if binding is None and jax.default_backend() == "cpu":
        binding = bind_device()
    device = binding.describe() if binding else str(jax.devices()[0])
    if model.comm.one_program:
        device = str(model.comm.device)
    t = model.decomposition.tile
    wet = int(np.asarray(model.grid.mask_c.interior).sum())
    row = (
        str(model.comm.rank),
        socket.gethostname(),
        device,
        f"i {t.i0}-{t.i1 - 1}, j {t.j0}-{t.j1 - 1}",
        f"{wet}",
        str(thread_count()),
    )
    gathered = model.comm.gather((row, wet, binding.warnings if binding else ()))
    if gathered is None:
        return None
    rows = [("rank", "host", "device", "tile", "wet cells", "threads")] + [
        g[0] for g in gathered[:_ROWS]
    ]
    widths = [max(len(r[n]) for r in rows) for n in range(len(rows[0]))]
    lines = ["  ".join(c.ljust(w) for c, w in zip(r, widths)).rstrip() for r in rows]
    if len(gathered) > _ROWS:
        lines.append(f"... and {len(gathered) - _ROWS} more")
    warnings = dict.fromkeys(w for g in gathered for w in g[2])
    total, most = sum(g[1] for g in gathered), max(g[1] for g in gathered)
    p = model.physics
    velocity = "" if p.momentum_dt == p.dt else f"of velocity {p.momentum_dt:g} s, "
    summary = (
        f"{model.layout.describe()}; {model.vertical.nz} layers, {total} wet cells, largest share "
        f"{most * len(gathered) / max(total, 1):.2f} of the mean; {model.dtype.name}, "
        f"step {model.physics.dt:g} s, {velocity}{model.split.describe()}"
    )
    title = f"{model.config.name} on {len(gathered)} rank(s), process {os.getpid()}"
    told = [one.text for one in model.closed]
    use = model.config.corrector
    if use.weights:
        told.append(f"corrector: {use.weights}, {use.strength:g} times as strong as trained")
    return "\n".join([title, *lines, summary, *told, *(f"warning: {w}" for w in warnings)])


class Progress:
    """One line per monitor interval: date, speed, time left, Courant number, energy and drift.

    Args:
        first: reading at the start, from which drift counts. end: model time (s) at which the run
            ends.
        year_days: length of the model's year.
    """

    def __init__(self, first: Reading, end: float, year_days: float):
        self._first, self._last, self._end, self._year_days = first, first, end, year_days
        self._clock = time.perf_counter()
        self._spent = 0.0

    def line(self, r: Reading) -> str:
        """The line for a new reading."""
        now = time.perf_counter()
        wall, self._clock = now - self._clock, now
        days = (r.time - self._last.time) / 86400
        first_interval, self._last = self._last is self._first, r
        self._spent = wall if first_interval or not self._spent else 0.7 * self._spent + 0.3 * wall
        sypd = (days * 86400 / _YEAR) / (wall / 86400) if wall > 0 else float("inf")
        left = (self._end - r.time) / 86400 / days * self._spent if days > 0 else 0.0
        f = self._first
        drift = " ".join(
            f"{n} {getattr(r, k) / getattr(f, k) - 1:+.1e}"
            for n, k in (("vol", "volume"), ("heat", "heat"), ("salt", "salt"))
            if getattr(f, k)
        )
        return (
            f"{date_of(r.time, self._year_days)}  day {r.time / 86400:g}  {sypd:.3g} SYPD  "
            f"ETA {_duration(left)}  CFL {r.cfl:.3f}  KE {r.kinetic_energy:.3e} J/m3  |u| "
            f"{r.speed:.2f} m/s  drift {drift}"
        )


def _duration(seconds: float) -> str:
    seconds = int(round(seconds))
    hours, rest = divmod(seconds, 3600)
    return f"{hours}:{rest // 60:02d}:{rest % 60:02d}" if hours else f"{rest // 60}:{rest % 60:02d}"
