"""Running a model: progress, checks, output files, restarts, and an orderly end whatever happens.

The run goes from one event (monitor, output, restart, end) to the next in short chunks of compiled
steps. Means are summed inside these chunks. At every event the state is checked first, so that a
bad one never reaches a restart.
"""

from __future__ import annotations

import csv
import signal
import threading
import time
import warnings
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from dogcm.components.errors import ConfigError
from dogcm.decomp.binding import DeviceBinding
from dogcm.diagnostics.files import MONITOR_FILE
from dogcm.diagnostics.monitor import Reading
from dogcm.field import Field
from dogcm.io.description import date_of
from dogcm.io.intervals import OpenInterval
from dogcm.io.restart import (
    read_intervals,
    read_restart,
    read_sums,
    restart_bytes,
    restart_days,
    restart_name,
    restarts_in,
    write_restart,
)
from dogcm.io.root import OutputError, on_root
from dogcm.io.whole import discard, remove
from dogcm.io.zarr_shards import require_zarr
from dogcm.simulation import folder as files
from dogcm.simulation.lock import FolderLock
from dogcm.simulation.progress import Progress, compiling, say, start_table
from dogcm.simulation.tables import Every, Table, compiled_for, tables_of
from dogcm.simulation.wishes import Callback, in_days

SPEED_LIMIT, ETA_LIMIT = 10.0, 50.0  # m s-1, m: nothing in an ocean comes near
# A signal is seen between two chunks, so these must not take long (s).
_CHUNK_SECONDS = 1.0
_SIGNALS = (signal.SIGTERM, signal.SIGUSR1, signal.SIGINT)


class ModelBlewUp(RuntimeError):
    """The state is no longer an ocean; the message says where, and which restart is the last good
    one."""


def run(
    model,
    days: float,
    output: str | Path | None = None,
    *,
    restart_from: str | Path | None = None,
    cold: Sequence[str] = (),
    overwrite: bool = False,
    progress: bool = True,
    binding: DeviceBinding | None = None,
    callbacks: Sequence[Callback | Callable] = (),
) -> Reading:
    """Advance ``model`` by ``days``, with checks; called on every rank.

    Args:
        days: length, a whole number of steps.
        output: folder for configuration, monitor, output files and restarts; None: no files.
        restart_from: restart to begin with. If it lies in ``output``, the run there is continued:
            its files are added to, and what they hold beyond the restart is dropped.
        cold: keys of schemes that start from rest, whatever the restart holds of them; see
            :func:`dogcm.io.restart.read_restart`.
        overwrite: whether an earlier run in ``output`` may be removed.
        progress: print start table and progress lines on rank 0.
        binding: what :func:`dogcm.decomp.binding.bind_device` returned, for the start table.
        callbacks: functions of the model, or :class:`dogcm.simulation.wishes.Callback`, that are
            called during the run (functions: once a day).

    On SIGTERM, SIGUSR1 or SIGINT (of any rank) a restart is written, the files are completed, and
    the function returns early.

    Returns:
        The monitor's numbers at the end.

    Raises:
        ConfigError: an interval is not a whole number of steps, or an output variable is unknown.
        OutputError, RestartError: a file cannot be used; refused before the first step where it can
            be known.
        ModelBlewUp: NaN, infinity, or a speed or sea level that no ocean has.
    """
    ran = _Run(model, days, output, restart_from, overwrite, progress, binding)
    if cold and restart_from is None:
        raise ConfigError("cold: only a run that begins with a restart can start a scheme anew")
    ran.cold = tuple(cold)
    ran.callbacks = [ran.callback(c) for c in callbacks]
    return ran.go()


class Signals:
    """Notes that the run was asked to stop. A second Ctrl-C is obeyed at once.

    Launchers repeat their signals, so a second SIGTERM or SIGUSR1 must not cost the restart.
    """

    def __init__(self):
        self.caught: str | None = None
        self._old: dict = {}

    def __enter__(self):
        if threading.current_thread() is threading.main_thread():
            for number in _SIGNALS:
                self._old[number] = signal.signal(number, self._note)
        return self

    def _note(self, number, frame):
        self.caught = signal.Signals(number).name
        if number == signal.SIGINT:
            signal.signal(number, self._old[number])

    def __exit__(self, *error):
        for number, handler in self._old.items():
            signal.signal(number, handler)


class _Run:
    """The state of one call of :func:`run`."""

    sums: Any
    fluxes: Any
    callbacks: list[tuple[Every, Callable]]
    cold: tuple[str, ...] = ()

    def __init__(self, model, days, output, restart_from, overwrite, progress, binding):
        self.model, self.comm, self.config = model, model.comm, model.config
        self.days, self.overwrite, self.progress, self.binding = days, overwrite, progress, binding
        if output is not None and not str(output).strip():
            raise OutputError("the output folder has an empty name: give one, or None for no files")
        self.folder = Path(output) if output is not None else None
        self.restart_from = Path(restart_from) if restart_from is not None else None
        self.monitor = Every(self._steps("run.monitor_every", self.config.run.monitor_every))
        every = self.config.run.restart_every
        self.restarts = (
            Every(self._steps("run.restart_every", every)) if every and self.folder else None
        )
        self.tables = (
            tables_of(model, lambda key, days: Every(self._steps(key, days))) if self.folder else []
        )
        if self.folder and self.config.run.restart_format == "zarr":
            require_zarr(self.comm, "run.restart_format: zarr")
        self.length = self._steps("the length of the run", days)
        self.written: list[Path] = []  # restarts, oldest first
        self.record: files.RunRecord | None = None
        self.lock: FolderLock | None = None
        self.compiled_before: float | None = None  # s, as the folder's last run says
        self.opened: dict[str, OpenInterval] = {}  # taken up from the restart, by table
        self._step_seconds = 0.0

    # ---- before the first step
    def callback(self, wanted: Callback | Callable) -> tuple[Every, Callable]:
        """When a callback comes, and its function."""
        one = wanted if isinstance(wanted, Callback) else Callback(wanted)
        return Every(self._steps("the interval of a callback", in_days(one.every))), one.function

    def _called_back(self) -> bool:
        """Call what is due; whether the run is to end, on all ranks alike."""
        due = [function for every, function in self.callbacks if every.due(self.tick)]
        wishes = [bool(function(self.model)) for function in due]
        return bool(due) and self.comm.any(any(wishes))

    def _steps(self, what: str, days: float) -> int:
        try:
            return self.model.steps_in(days)
        except ValueError as error:
            raise ConfigError(f"{what}: {error}") from None

    def _prepare(self) -> None:
        """Everything that can be refused is refused here; then the files are made."""
        continues = False
        if self.folder:
            continues = on_root(
                self.comm,
                files.check_folder,
                self.folder,
                self.config,
                self.overwrite,
                self.restart_from,
            )
            on_root(self.comm, self._take_folder)
        if self.restart_from:
            self.model.state = read_restart(self.restart_from, self.model, self.cold)
        if continues:
            self._reopen_intervals()
        dt, now = self.model.physics.dt, float(self.model.state.time)
        # Intervals count from model time zero, wherever the run starts.
        self.tick = round(now / dt)
        if abs(now - self.tick * dt) > 1e-3 and self.comm.rank == 0:
            warnings.warn(
                f"the restart stands at {now / 86400:g} days, which is no whole number of steps of "
                f"{dt:g} s: monitor, output and restarts come {now - self.tick * dt:+g} s off "
                "multiples of their intervals",
                stacklevel=2,
            )
        self.first_tick, self.end = self.tick, self.tick + self.length
        self.first = self.model.read()
        self._check(self.first)
        if self.folder:
            self._prepare_files(continues)
        if self.progress:
            say(self.comm, start_table(self.model, self.binding))

    def _take_folder(self) -> None:
        """On rank 0: keep other runs out, and remove what one that was killed left unfinished."""
        self.lock = FolderLock(self.folder)
        self.lock.take()
        self.compiled_before = files.compile_seconds(self.folder)
        for path in self.folder.glob(".*.partial"):
            remove(path)

    def _prepare_files(self, continues: bool) -> None:
        on_root(self.comm, files.check_space, self.folder, self._needs())
        if self.overwrite:
            on_root(self.comm, files.clear_folder, self.folder, self.config, self.restart_from)
        on_root(self.comm, self._start_files, continues)
        attributes = self.comm.broadcast(
            files.provenance(self.model) if self.comm.rank == 0 else None
        )
        for t in self.tables:
            began = self.opened[t.name].start if t.name in self.opened else self.first.time
            t.open(self.folder, self.model, attributes, began if continues else None)
            t.start = began
        if continues:
            on_root(self.comm, self._drop_later_restarts)

    def _reopen_intervals(self) -> None:
        """Take up the output intervals that the restart cut in two."""
        found = {i.table: i for i in read_intervals(self.restart_from, self.model)}
        for t in self.tables:
            if t.name in found and found[t.name].what == t.what(self.model):
                self.opened[t.name] = found[t.name]

    def _drop_later_restarts(self) -> None:
        """Where a run goes on from an earlier restart, later ones are of a future that is gone,
        as are the later records of its files."""
        self.written = []
        for path in restarts_in(self.folder):
            later = restart_days(path) * 86400.0 > self.first.time + 1e-3
            if later and path.resolve() != self.restart_from.resolve():
                discard(path)
            else:
                self.written.append(path)

    def _needs(self) -> dict[str, int]:
        """Bytes to be written, by file, at most."""
        records = lambda t: self.length // t.every.steps + 1
        needs = {t.file_name: t.bytes(self.model, records(t)) for t in self.tables}
        kept = (
            min(self.config.run.keep_restarts, self.length // self.restarts.steps)
            if self.restarts
            else 0
        )
        # The one at the end, and one more while it is being written.
        each = restart_bytes(self.model) + sum(t.sum_bytes(self.model) for t in self.tables)
        return needs | {"restarts": (kept + 2) * each}

    def _start_files(self, continues: bool) -> None:
        """On rank 0: configuration, run record and the head of the monitor file."""
        try:
            files.write_config(self.folder, self.config)
            self.record = files.RunRecord(self.folder, self.model, self.days, self.restart_from)
            self.record.write()
            path = self.folder / MONITOR_FILE
            kept = _monitor_rows(path, self.first.time) if continues else []
            with open(path, "w", newline="", encoding="utf-8") as f:
                csv.writer(f, lineterminator="\n").writerows([["step", *Reading.names()], *kept])
        except OSError as error:
            raise OutputError(
                f"cannot write into {self.folder}: {error.strerror or error}"
            ) from None

    # ---- the loop
    def go(self) -> Reading:
        """Run; see :func:`run`."""
        try:
            with Signals() as signals:
                self._prepare()
                reading, status = self._guarded_loop(signals)
            self._finish(status)
            return reading
        finally:
            for t in self.tables:
                if t.file is not None:
                    t.file.close()
            if self.lock is not None:
                self.lock.give_back()

    def _guarded_loop(self, signals: Signals) -> tuple[Reading, str]:
        try:
            return self._loop(signals)
        except ModelBlewUp as error:
            try:
                self._complete_files()
            except OutputError as failed:
                error.add_note(str(failed))
            self._finish("blew up")
            raise
        except Exception as error:
            self._finish(f"failed: {type(error).__name__}")
            raise

    def _finish(self, status: str) -> None:
        self._note(status=status, finished=files.now(), steps=int(self.model.state.steps))

    def _note(self, **changes) -> None:
        """Change entries of the record of the run. One rank alone writes it, so a full disk must
        not stop that rank here, while the others go on; the next write by all ranks tells."""
        if self.record is not None:  # rank 0, with files
            try:
                self.record.write(**changes)
            except OSError as error:
                print(f"warning: {files.RUN_FILE} could not be completed: {error}", flush=True)

    def _loop(self, signals: Signals) -> tuple[Reading, str]:
        self._compile_told()
        tell = Progress(self.first, self.end * self.model.physics.dt, self.config.forcing.year)
        stopped = False
        while self.tick < self.end and not stopped:
            self._chunk(self._target())
            self._complete_files(wait=False)
            stopped = self.comm.any(signals.caught is not None)
            last = stopped or self.tick == self.end
            if last or any(e.due(self.tick) for e in self._events()):
                reading = self._at_event(tell, last)
            if not last and self._called_back():
                self._end_here(reading)
                return reading, "ended by a callback"
        if not stopped:
            self._called_back()
            return reading, "finished"
        names = self.comm.broadcast(self.comm.gather(signals.caught))
        name = next(filter(None, names))
        date = date_of(reading.time, self.config.forcing.year)
        where = f"; continue from {self.written[-1]}" if self.written else ""
        say(self.comm, f"stopped by {name} at {date}, step {int(self.model.state.steps)}{where}")
        return reading, f"interrupted by {name}"

    def _events(self) -> list[Every]:
        return [
            self.monitor,
            *(t.every for t in self.tables),
            *([self.restarts] if self.restarts else []),
            *(every for every, _ in self.callbacks),
        ]

    def _target(self) -> int:
        """Where the next chunk ends: at an event, or when a signal may have waited long enough."""
        target = min(self.end, *(e.next(self.tick) for e in self._events()))
        # The speed is not known at first: one step.
        longest = max(1, int(_CHUNK_SECONDS / self._step_seconds)) if self._step_seconds else 1
        return min(target, self.tick + longest)

    def _chunk(self, target: int) -> None:
        count, m = target - self.tick, self.model
        begin = time.perf_counter()
        m.state, self.sums, self.fluxes = self.compiled.advance(
            m.state, self.sums, self.fluxes, count, m.params, m.forcing, m.grid
        )
        jax.block_until_ready(m.state.time)
        # Rank 0's clock decides, because all ranks have to take the same number of steps.
        self._step_seconds = self.comm.broadcast((time.perf_counter() - begin) / count)
        self.tick = target
        for t in self.tables:
            t.count += count

    def _compile_told(self) -> None:
        if not self.progress:
            return self._compile()
        with compiling(self.comm, self.compiled_before) as took:
            self._compile()
        self._note(compile_seconds=round(took["seconds"], 1))

    def _compile(self) -> None:
        m = self.model
        self.compiled = compiled_for(m, self.tables)
        eta = m.state.eta
        self.fluxes = tuple(eta.with_data(jnp.zeros_like(eta.data)) for _ in range(3))
        self.sums = self.compiled.start(m.state, self.fluxes, m.params, m.forcing, m.grid)
        for t in self.tables:
            if (interval := self.opened.get(t.name)) is not None:
                sums = read_sums(self.restart_from, m, interval, self.sums[t.name])
                self.sums[t.name] = {n: jnp.asarray(s) for n, s in sums.items()}
                t.count = interval.count
        # No steps: compiles, so that the progress line's speed is that of the steps alone.
        m.state, self.sums, self.fluxes = self.compiled.advance(
            m.state, self.sums, self.fluxes, 0, m.params, m.forcing, m.grid
        )
        jax.block_until_ready(m.state.time)

    # ---- events
    def _at_event(self, tell: Progress, last: bool) -> Reading:
        """Check the state first; then write what is due."""
        reading = self.model.read()
        self._check(reading)
        if last or self.monitor.due(self.tick):
            if self.folder:
                on_root(self.comm, self._append_monitor, reading)
            if self.progress:
                say(self.comm, tell.line(reading))
        for t in self.tables:
            if t.every.due(self.tick) or (last and t.summed and t.count):
                self._write_record(t, reading.time)
        if self.folder and (last or self.restarts and self.restarts.due(self.tick)):
            self._write_restart(last)
        return reading

    def _end_here(self, reading: Reading) -> None:
        """Complete the files where a callback has ended the run."""
        for t in self.tables:
            if t.summed and t.count:
                self._write_record(t, reading.time)
        if self.folder:
            self._write_restart(True)

    def _append_monitor(self, reading: Reading) -> None:
        path = self.folder / MONITOR_FILE
        try:
            with open(path, "a", newline="", encoding="utf-8") as f:
                values = (v if isinstance(v, str) else repr(v) for v in asdict(reading).values())
                csv.writer(f, lineterminator="\n").writerow([int(self.model.state.steps), *values])
        except OSError as error:
            raise OutputError(
                f"cannot write {path}: {error.strerror}; earlier files are kept"
            ) from None

    def _write_record(self, t: Table, now: float) -> None:
        m = self.model
        if t.summed:
            values = t.result(self.sums[t.name], m.dtype)
        else:
            values = self.compiled.diagnose(
                t.name, m.state, self.fluxes, m.params, m.forcing, m.grid
            )
        t.file.hand_over(values, t.start, now)
        if t.summed and not t.every.due(self.tick):
            return  # the interval ends with the run; one that goes on from here completes it
        if t.summed:
            sums = self.sums[t.name]
            self.sums[t.name] = jax.tree.map(lambda s: self.compiled.zero(t.name, s.shape), sums)
        t.start, t.count = now, 0

    def _open_intervals(self) -> list[OpenInterval]:
        """What this moment cuts in two; the sums are complete only here."""
        return [
            OpenInterval(
                t.name,
                float(t.start),
                t.count,
                t.what(self.model),
                {n: np.asarray(s) for n, s in self.sums[t.name].items()},
            )
            for t in self.tables
            if t.summed and t.count
        ]

    def _complete_files(self, wait: bool = True) -> None:
        """Let records that are written in the background count."""
        for t in self.tables:
            t.file.complete(wait)

    def _write_restart(self, last: bool) -> None:
        self._complete_files()
        path = self.folder / restart_name(self.tick, self.config.run.restart_format)
        write_restart(
            path,
            self.model,
            {
                "experiment": self.config.name,
                "configuration": files.configuration_text(self.config),
            },
            self._open_intervals(),
        )
        self.written = [p for p in self.written if p != path] + [path]
        # The one at the end comes on top of those that are kept.
        keep = self.config.run.keep_restarts + last
        old, self.written = self.written[:-keep], self.written[-keep:]
        on_root(self.comm, _remove, old)

    # ---- checks
    def _check(self, r: Reading) -> None:
        """Stop on every rank if the state cannot be that of an ocean."""
        if r.finite and r.speed <= SPEED_LIMIT and max(abs(r.eta_min), abs(r.eta_max)) <= ETA_LIMIT:
            return
        found = self.comm.broadcast(self.comm.gather(self._first_bad_cell()))
        where = [text for text in found if text]
        more = f"; and on {len(where) - 4} more ranks" if len(where) > 4 else ""
        date = date_of(r.time, self.config.forcing.year)
        raise ModelBlewUp(
            f"the model blew up by step {int(self.model.state.steps)} ({date}): "
            f"{'; '.join(where[:4])}{more}."
            f"{self._unsolved()} {self._last_good()}. A smaller time.step, more viscosity "
            f"(parameters.lateral_viscosity), physics.vertical_advection: adaptive (fast vertical "
            "flow) or a look at the bathymetry there may help"
        )

    def _unsolved(self) -> str:
        """Whether the solver of sea level gave up, which makes everything NaN."""
        if not any(int(n) < 0 for n in self.model.state.solver):
            return ""
        surface, key = self.config.time.free_surface, "time.free_surface"
        return (
            f" The implicit free surface had not reached its {key}.solver_tolerance of "
            f"{surface.solver_tolerance:g} after {surface.solver_iterations} iterations: raise "
            f"{key}.solver_iterations, or shorten time.step."
        )

    def _last_good(self) -> str:
        if self.written:
            return f"The last good restart is {self.written[-1]}"
        if self.restart_from:
            return f"The last good restart is {self.restart_from}, which the run began with"
        return "There is no good restart yet (run.restart_every writes more of them)"

    def _first_bad_cell(self) -> str | None:
        """Field, rank, place and value of this rank's first cell that is not a number, or too
        large."""
        limits = {"u": SPEED_LIMIT, "v": SPEED_LIMIT, "eta": ETA_LIMIT}
        fields = {
            n: f for n, f in self.model.state.variables().items() if not n.startswith("history")
        }
        for limited in (False, True):  # not a number first
            for name, field in fields.items():
                values = np.asarray(field.interior)
                bad = np.abs(values) > limits.get(name, np.inf) if limited else ~np.isfinite(values)
                if bad.any():
                    return self._describe_cell(name, field, values, bad)
        return None

    def _describe_cell(self, name: str, field: Field, values: np.ndarray, bad: np.ndarray) -> str:
        index = tuple(int(i) for i in np.argwhere(bad)[0])
        tile, axes = self.model.decomposition.tile, self.model.horizontal.coordinates()
        row, column = tile.j0 + index[-2], tile.i0 + index[-1]
        if self.model.horizontal.curvilinear:
            lat, lon = (
                float(a[0, 0]) for a in self.model.horizontal.points(field.at[0], [row], [column])
            )
        else:
            lat = axes["lat_v" if field.at == "v" else "lat"][0][row]
            lon = axes["lon_u" if field.at == "u" else "lon"][0][column]
        x, y = ("lon", "lat") if self.model.horizontal.spherical else ("x", "y")
        unit = "" if self.model.horizontal.spherical else " km"
        depth = f", depth {self.model.vertical.centres[index[0]]:.0f} m" if values.ndim == 3 else ""
        return (
            f"{name} is {values[index]:.4g} on rank {self.comm.rank} at {y} {lat:.2f}{unit}, "
            f"{x} {lon:.2f}{unit}{depth} ({int(bad.sum())} such cells on this rank)"
        )


def _monitor_rows(path: Path, now: float) -> list[list[str]]:
    """Lines of an earlier monitor file up to model time ``now`` (s)."""
    if not path.exists():
        return []
    columns = ["step", *Reading.names()]
    with open(path, newline="", encoding="utf-8") as f:
        rows = [
            r
            for r in csv.DictReader(f)
            if None not in r.values() and float(r["time"]) <= now + 1e-3
        ]
    # A file of an earlier version may lack columns.
    return [[r.get(c, "nan") for c in columns] for r in rows]


def _remove(paths: list[Path]) -> None:
    for path in paths:
        discard(path)


__all__ = ["ModelBlewUp", "run"]
