"""The training loop: gradients of each rank's share, one reduction, clipping, update, roll-back,
checkpoints."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, Protocol

import jax
import jax.numpy as jnp
import numpy as np

from dogcm.learning.groups import Ranks, is_field
from dogcm.learning.optimiser import Optimiser, Settings, Weights


class TrainingError(RuntimeError):
    """Training cannot go on; the message says why."""


class Targets(Protocol):
    """Where windows come from. Any object with these two methods can be trained on."""

    def count(self, steps: int) -> int:
        """Number of windows that are long enough for rollouts of ``steps``."""

    def window(self, index: int, steps: int) -> Any:
        """Window ``index``: a pytree with the initial state and the target values of this rank's
        tile.

        All ranks of a group call it with the same index, in the same order.
        """


@dataclass(frozen=True)
class Stage:
    """One part of the curriculum: so many updates with rollouts of so many steps."""

    updates: int
    steps: int


@dataclass(frozen=True)
class Report:
    """What one update did.

    Attributes:
        update: number, from 1. loss, norm: before the update. rate: learning rate of the first
            part.
        steps: length of the rollout. seconds: it took. windows: indices, of all groups.
        trouble: where something not finite came from, or "".
    """

    update: int
    loss: float
    norm: float
    rate: float
    steps: int
    seconds: float
    windows: tuple[int, ...]
    trouble: str = ""


@dataclass(frozen=True)
class Progress:
    """All that a resumed training needs besides arrays."""

    update: int = 0
    multiplier: float = 1.0
    failures: int = 0
    generator: dict | None = None


@dataclass(frozen=True)
class Conduct:
    """How windows are drawn, and what happens when something goes wrong.

    Attributes:
        batch: windows of each group in an update. at_once: take them in one ``vmap`` instead of one
            by one, which is faster and needs ``batch`` times the memory.
        seed: of the choice of windows. patience: failures in a row before training is given up.
        check_every: updates between the checks that all ranks hold the same bits; 0: never.
    """

    batch: int = 1
    at_once: bool = False
    seed: int = 0
    patience: int = 5
    check_every: int = 50


class Trainer:
    """Learns a trainable tree from windows.

    Args:
        share: ``(trainable, window, fixed, steps) -> scalar``, this rank's share of the loss;
            ``steps`` is static.
        fixed: pytree that ``share`` needs and that is not learned (grid, forcing, ...).
        trainable: start; the same bits on every rank but for Fields, which are tiled.
        targets: see :class:`Targets`. ranks: see :class:`dogcm.learning.groups.Ranks`.
        curriculum: stages, in order. settings: of the optimiser.
        conduct: of the training.

    Attributes:
        weights: now. progress: now. good: weights and update number that the last finite loss was
            computed with.
    """

    def __init__(
        self,
        share: Callable,
        fixed,
        trainable,
        targets: Targets,
        ranks: Ranks,
        curriculum: list[Stage],
        settings: Settings,
        conduct: Conduct = Conduct(),
    ):
        self.share, self.fixed, self.targets, self.ranks = share, fixed, targets, ranks
        self.curriculum, self.batch, self.at_once = list(curriculum), conduct.batch, conduct.at_once
        self.patience, self.check_every = conduct.patience, conduct.check_every
        self.optimiser = Optimiser(settings, trainable)
        self.weights: Weights = self.optimiser.start(trainable)
        self.progress = Progress()
        self.good: tuple[Weights, int] = (self.weights, 0)
        #: Whether it was asked to stop before its end.
        self.stopped = False
        self._generator = np.random.default_rng(conduct.seed)
        self._gradient = ranks.jit(self._shares, static_argnums=3)
        self._reduce = ranks.jit(ranks.reduce)
        self._update = ranks.jit(self.optimiser.update)
        self._check_windows()

    # ---- one update
    def _shares(self, trainable, windows, fixed, steps: int):
        """Shares of the loss by window, and the gradient of their mean."""

        def mean(trainable, windows):
            one = lambda w: self.share(trainable, w, fixed, steps)
            shares = jax.vmap(one)(windows) if self.at_once else one(windows)[None]
            return jnp.mean(shares), shares

        (_, shares), gradient = jax.value_and_grad(mean, has_aux=True)(trainable, windows)
        return shares, gradient

    def _all_shares(self, indices: list[int], steps: int):
        windows = [self.targets.window(i, steps) for i in indices]
        trainable = self.weights.trainable
        if self.at_once:
            stacked = jax.tree.map(lambda *x: jnp.stack(x), *windows)
            return self._gradient(trainable, stacked, self.fixed, steps)
        shares, total = [], None
        for window in windows:
            share, gradient = self._gradient(trainable, window, self.fixed, steps)
            shares.append(share)
            total = gradient if total is None else jax.tree.map(jnp.add, total, gradient)
        return jnp.concatenate(shares), jax.tree.map(lambda g: g / len(windows), total)

    def step(self) -> Report:
        """One update, or one roll-back; every rank calls it.

        Raises:
            TrainingError: too many failures in a row, or ranks that no longer hold the same bits.
        """
        start, steps = time.perf_counter(), self.steps_now()
        everyone = tuple(int(i) for i in self._draw(steps))
        mine = list(everyone[self.ranks.group * self.batch :][: self.batch])
        shares, gradient = self._all_shares(mine, steps)
        losses, reduced, norm = self._reduce(shares, gradient)
        loss, norm_ = float(jnp.mean(losses)), float(norm)
        p, trouble = self.progress, ""
        rate = float(self.optimiser.schedule(next(iter(gradient)))(p.update)) * p.multiplier
        if np.isfinite(loss) and np.isfinite(norm_):
            self.good = self.weights, p.update
            self.weights = self._update(self.weights, reduced, norm, p.multiplier)
            self.progress = replace(p, update=p.update + 1, failures=0)
        else:
            trouble = self._roll_back(shares, gradient, mine)
        self._compare_ranks()
        seconds = time.perf_counter() - start
        return Report(p.update + 1, loss, norm_, rate, steps, seconds, everyone, trouble)

    def loss(self, targets: Targets, indices: list[int], steps: int, share: Callable) -> float:
        """Mean loss of the averaged weights over windows of other targets; every rank calls it.

        Args:
            share: as that of training, compiled.
        """
        total = 0.0
        for index in indices:
            window = targets.window(index, steps)
            found = share(self.weights.average, window, self.fixed, steps)
            total += float(self._reduce(found[None], {})[0][0])
        return total / len(indices)

    def _draw(self, steps: int) -> np.ndarray:
        """Windows of all groups: all ranks draw the same numbers."""
        count, wanted = self.targets.count(steps), self.batch * self.ranks.groups
        return self._generator.choice(count, wanted, replace=wanted > count)

    # ---- when something is not finite
    def _roll_back(self, shares, gradient, windows: list[int]) -> str:
        where = self._blame(shares, gradient, windows)
        self.weights, update = self.good
        p = self.progress
        self.progress = replace(
            p, update=update, multiplier=0.5 * p.multiplier, failures=p.failures + 1
        )
        if self.progress.failures >= self.patience:
            raise TrainingError(
                f"training gave up at update {p.update + 1} after {self.progress.failures} "
                f"failures in a row, "
                f"although the learning rate was halved each time. Last: {where}. Try a smaller "
                f"learning rate, shorter "
                "rollouts, or a smaller time step"
            )
        return where

    def _blame(self, shares, gradient, windows: list[int]) -> str:
        """Rank, window and leaf of what is not finite, in one line that all ranks get."""
        bad_windows = [w for w, s in zip(windows, np.asarray(shares)) if not np.isfinite(s)]
        named = jax.tree_util.tree_leaves_with_path(gradient, is_leaf=is_field)
        data = lambda x: np.asarray(x.data if is_field(x) else x)
        bad_leaves = [jax.tree_util.keystr(p) for p, x in named if not np.isfinite(data(x)).all()]
        everyone = self.ranks.comm.gather((bad_windows, bad_leaves))
        losses, leaves = [], []
        for rank, (in_windows, in_leaves) in enumerate(everyone or []):
            if in_windows:
                losses.append(f"rank {rank}: loss of window {', '.join(map(str, in_windows))}")
            elif in_leaves:
                leaves.append(f"rank {rank}: gradient of {', '.join(in_leaves[:3])}")
        # A bad loss is where it began; its gradient then spoils all ranks through what they
        # exchange.
        lines = losses + leaves
        text = (
            "not finite on " + "; ".join(lines[:4])
            if lines
            else "not finite: the sum over ranks overflowed"
        )
        return self.ranks.comm.broadcast(text)

    def _compare_ranks(self) -> None:
        if self.check_every and self.progress.update % self.check_every == 0:
            different = self.ranks.fingerprints(self.weights)
            if different:
                raise TrainingError(
                    f"after update {self.progress.update} the ranks no longer hold the same "
                    f"weights: "
                    f"{', '.join(different[:4])} differs from rank 0; nothing was saved. This is "
                    f"an error in the "
                    "machine or in dogcm, not in your recipe"
                )

    # ---- the loop
    @property
    def updates(self) -> int:
        """Number of updates of the whole curriculum."""
        return sum(s.updates for s in self.curriculum)

    def steps_now(self) -> int:
        """Length of the rollout at the present update."""
        done = 0
        for stage in self.curriculum:
            done += stage.updates
            if self.progress.update < done:
                return stage.steps
        return self.curriculum[-1].steps

    def _check_windows(self) -> None:
        for stage in self.curriculum:
            if self.targets.count(stage.steps) < 1:
                raise TrainingError(
                    f"no window is long enough for rollouts of {stage.steps} steps: provide more "
                    f"targets, or a "
                    "shorter curriculum"
                )

    def train(
        self, until: int | None = None, each: Callable[[Report], None] = lambda report: None
    ) -> Weights:
        """Update until ``until`` updates are done (default: the whole curriculum).

        Args:
            each: called with every report, on every rank.

        Raises:
            TrainingError: see :meth:`step`.
        """
        until = self.updates if until is None else until
        while self.progress.update < until:
            each(self.step())
        return self.weights

    # ---- checkpoints
    def content(self) -> tuple[dict, dict]:
        """All that a resumed training needs: a tree of arrays, and a dict that JSON can hold."""
        p = replace(self.progress, generator=self._generator.bit_generator.state)
        return {"now": self.weights, "good": self.good[0]}, {
            "progress": vars(p),
            "good_update": self.good[1],
        }

    def restore(self, tree: dict, header: dict) -> None:
        """Go on from what :meth:`content` gave; continues to the bit."""
        self.progress = Progress(**header["progress"])
        self._generator.bit_generator.state = self.progress.generator
        self.weights, self.good = tree["now"], (tree["good"], int(header["good_update"]))


__all__ = ["Conduct", "Progress", "Report", "Stage", "Targets", "Trainer", "TrainingError"]
