"""What can be said of the equilibrium without a network."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from dogcm import spinup

MOST = 6000.0  # years
HORIZONS = (10.0, 30.0, 100.0, 300.0, 1000.0)
CAPS = (0.9, 0.97, 0.99, 0.995, 0.998)
_COMPONENTS = 8
_SMALL = 10.0  # years


def linear(states, horizon: float):
    """The change of the last five years goes on for so many years."""
    return np.clip(states[20] + horizon / 5.0 * (states[20] - states[15]), 0.0, MOST)


def exponential(states, cap: float):
    """Each cell decays towards its own limit, by the changes of the last ten years; ``cap``: what
    is left of a change after five years, at most."""
    late, early = states[20] - states[15], states[15] - states[10]
    left = np.clip(late / np.where(early > 0, early, 1.0), 0.0, cap)
    return np.clip(states[20] + late * left / (1.0 - left), 0.0, MOST)


@dataclass(frozen=True)
class Gaussian:
    """Principal components of the logarithms of equilibria, each by a Gaussian process.

    Its inputs are the parameters and the components of what 20 years have changed.

    Attributes:
        length: of the kernel, in standard deviations of the inputs. noise: over the variance.
    """

    mean: np.ndarray
    parts: np.ndarray
    inputs: np.ndarray
    scale: np.ndarray
    amounts: np.ndarray
    mean_change: np.ndarray
    change_parts: np.ndarray
    length: float
    noise: float

    @staticmethod
    def of(examples: Sequence[spinup.Example], length: float, noise: float) -> Gaussian:
        """Learned from examples."""
        logs = np.stack([np.log(e.equilibrium.ravel() + _SMALL) for e in examples])
        mean, parts = _components(logs)
        changes = np.stack([_change(e) for e in examples])
        mean_change, change_parts = _components(changes)
        inputs = np.stack([_inputs(e, mean_change, change_parts) for e in examples])
        scale = inputs.std(axis=0) + 1e-12
        amounts = (logs - mean) @ parts.T
        return Gaussian(
            mean, parts, inputs / scale, scale, amounts, mean_change, change_parts, length, noise
        )

    def _kernel(self, a, b):
        square = ((a[:, None] - b[None]) ** 2).sum(-1)
        return np.exp(-0.5 * square / self.length**2)

    def __call__(self, example: spinup.Example) -> np.ndarray:
        x = (_inputs(example, self.mean_change, self.change_parts) / self.scale)[None]
        inner = self._kernel(self.inputs, self.inputs) + self.noise * np.eye(len(self.inputs))
        amounts = self._kernel(x, self.inputs) @ np.linalg.solve(inner, self.amounts)
        log = self.mean + amounts[0] @ self.parts
        return np.clip(np.exp(log) - _SMALL, 0.0, MOST).reshape(example.equilibrium.shape)


def _change(example: spinup.Example) -> np.ndarray:
    return np.log10(1e-8 + np.abs(example.states[20] / 20.0 - 1.0)).ravel()


def _components(rows):
    mean = rows.mean(axis=0)
    return mean, np.linalg.svd(rows - mean, full_matrices=False)[2][:_COMPONENTS]


def _inputs(example: spinup.Example, mean, parts) -> np.ndarray:
    # As far apart as the first component, all of them would count alike.
    amounts = (_change(example) - mean) @ parts.T
    return np.concatenate([np.log(list(example.params.values())), amounts[:4]])
