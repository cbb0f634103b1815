"""The log of a training: CSV always, TensorBoard if asked for, and a figure of the loss."""

from __future__ import annotations

import csv
from pathlib import Path

from dogcm.components.errors import ConfigError
from dogcm.io.whole import whole_file

LOG_FILE = "training.csv"
_COLUMNS = (
    "update",
    "loss",
    "gradient_norm",
    "learning_rate",
    "steps",
    "seconds",
    "windows",
    "trouble",
)


class TrainingLog:
    """Rows of ``training.csv``; rank 0 alone has one.

    Args:
        done: updates that are kept; what an interrupted run logged beyond its checkpoint is
            dropped.
        tensorboard: also write an event log into ``tensorboard/``.

    Raises:
        ConfigError: TensorBoard is asked for, but no writer is installed.
    """

    def __init__(self, folder: Path, done: int, tensorboard: bool = False):
        self._path = folder / LOG_FILE
        self._events = _event_writer(folder / "tensorboard", done) if tensorboard else None
        _keep(self._path, done)
        self._file = open(self._path, "a", newline="", encoding="utf-8")
        self._writer = csv.writer(self._file)

    def write(self, report, values: dict[str, float]) -> None:
        """One report, and the learned values after it (written as further columns by name)."""
        if self._file.tell() == 0:
            self._writer.writerow([*_COLUMNS, *values])
        self._writer.writerow(
            [
                report.update,
                repr(report.loss),
                repr(report.norm),
                repr(report.rate),
                report.steps,
                f"{report.seconds:.3f}",
                " ".join(map(str, report.windows)),
                report.trouble,
                *map(repr, values.values()),
            ]
        )
        self._file.flush()
        if self._events is not None and not report.trouble:
            scalars = {
                "loss": report.loss,
                "gradient_norm": report.norm,
                "learning_rate": report.rate,
                "steps": report.steps,
            } | {f"parameters/{n}": v for n, v in values.items()}
            for name, value in scalars.items():
                self._events.add_scalar(name, value, report.update)

    def close(self) -> None:
        self._file.close()
        if self._events is not None:
            self._events.close()


def _keep(path: Path, done: int) -> None:
    """Only the rows of the first ``done`` updates."""
    if not path.exists():
        return
    with open(path, newline="", encoding="utf-8") as file:
        rows = list(csv.reader(file))
    kept = rows[:1] + [r for r in rows[1:] if r and r[0].isdigit() and int(r[0]) <= done]
    with whole_file(path) as partial, open(partial, "w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows(kept if done else [])


def _event_writer(folder: Path, done: int):
    try:
        from tensorboardX import SummaryWriter
    except ImportError:
        raise ConfigError(
            "tensorboard: true needs the package tensorboardX (pip install tensorboardX); "
            "training.csv is "
            "written in any case"
        ) from None
    return SummaryWriter(str(folder), purge_step=done + 1)


def read_log(folder: str | Path) -> list[dict[str, str]]:
    """The rows of a training's log.

    Raises:
        FileNotFoundError: no log there.
    """
    path = Path(folder) / LOG_FILE
    if not path.is_file():
        raise FileNotFoundError(0, "no log of a training", str(path))
    with open(path, newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def loss_figure(folder: str | Path) -> Path:
    """Draw loss and gradient norm by update into ``loss.png``; rollout lengths are marked."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    rows = [r for r in read_log(folder) if not r["trouble"]]
    updates = [int(r["update"]) for r in rows]
    figure, axes = pyplot.subplots(2, 1, sharex=True, figsize=(7, 5), layout="constrained")
    for ax, column, label in zip(
        axes, ("loss", "gradient_norm"), ("loss (1)", "norm of the gradient (1)")
    ):
        ax.semilogy(updates, [float(r[column]) for r in rows], lw=1, color="tab:blue")
        ax.set_ylabel(label)
        ax.grid(alpha=0.3)
    previous = None
    for update, row in zip(updates, rows):
        if row["steps"] != previous:
            previous = row["steps"]
            axes[0].axvline(update, color="0.6", lw=0.8)
            axes[0].annotate(
                f"{previous} steps",
                (update, 0.97),
                xycoords=("data", "axes fraction"),
                fontsize=8,
                va="top",
                xytext=(3, 0),
                textcoords="offset points",
            )
    axes[1].set_xlabel("update")
    path = Path(folder) / "loss.png"
    figure.savefig(path, dpi=120)
    pyplot.close(figure)
    return path
