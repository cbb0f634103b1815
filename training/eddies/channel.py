"""What is measured of the channel: zonal means, eddies as deviations from them, and spectra.

All arrays are global, on one rank: ``temperature`` (nz, ny, nx) at centres, ``u`` at west faces,
``v`` at south faces, ``eta`` (ny, nx). Eddies are deviations from the zonal mean of the moment.
"""

from __future__ import annotations

import numpy as np

VARIABLES = ("temperature", "u", "v", "eta")


def arrays(state) -> dict[str, np.ndarray]:
    """The variables of a state on one rank, float64."""
    fields = {n: getattr(state, n) for n in VARIABLES}
    return {n: np.asarray(f.interior, np.float64) for n, f in fields.items()}


def at_centres(v: np.ndarray) -> np.ndarray:
    """Mean of the faces south and north of each centre; the northern wall is closed."""
    north = np.concatenate([v[..., 1:, :], np.zeros_like(v[..., :1, :])], axis=-2)
    return 0.5 * (v + north)


def eddying(a: np.ndarray) -> np.ndarray:
    """Deviation from the zonal mean."""
    return a - a.mean(-1, keepdims=True)


class Climate:
    """Means over time of what describes the channel.

    Args:
        dz: thickness of the layers (m).
    """

    def __init__(self, dz: np.ndarray):
        self.dz, self.count = np.asarray(dz, float), 0
        self.sums: dict[str, np.ndarray] = {}
        self.kinetic: list[float] = []
        self.last = np.zeros((0, 0))  # surface temperature of the last moment, degC

    def of(self, a: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        """What is measured of one moment, by name."""
        t, u, v, eta = a["temperature"], eddying(a["u"]), eddying(at_centres(a["v"])), a["eta"]
        power = sum(np.abs(np.fft.rfft(x[0], axis=-1)) ** 2 for x in (u, v)) / u.shape[-1] ** 2
        return {
            "temperature": t.mean(-1),  # degC, (nz, ny)
            "u": a["u"].mean(-1),  # m s-1, (nz, ny)
            "eke": 0.5 * (u**2 + v**2).mean((-1, -2)),  # m2 s-2, (nz,)
            "temperature_variance": (eddying(t) ** 2).mean((-1, -2)),  # K2, (nz,)
            "eta_variance": (eddying(eta) ** 2).mean(-1),  # m2, (ny,)
            "heat_flux": (v * eddying(t)).mean(-1),  # K m s-1, (nz, ny)
            "spectrum": power.mean(0)[1:],  # m2 s-2 by zonal wavenumber
        }

    def add(self, a: dict[str, np.ndarray]) -> None:
        """One moment."""
        found = self.of(a)
        for name, value in found.items():
            self.sums[name] = self.sums.get(name, 0.0) + value
        self.last = a["temperature"][0]
        self.kinetic.append(float(self.dz @ found["eke"] / self.dz.sum()))
        self.count += 1

    def means(self) -> dict[str, np.ndarray]:
        """Means by name, and the zonal transport (Sv) of a channel of unit width and that width."""
        found = {n: s / self.count for n, s in self.sums.items()}
        return found | {"transport": np.array([self.dz @ found["u"].mean(-1)])}


def differences(means: dict, truth: dict, dz: np.ndarray) -> dict[str, float]:
    """Root mean square differences over those of the truth's own structure, by name.

    Layers count by their thickness. Temperature is compared with what varies in it; spectra are
    compared as logarithms.
    """
    out, weight = {}, dz / dz.sum()
    for name, other in truth.items():
        mine = means[name]
        if name == "spectrum":
            out[name] = float(np.sqrt(np.mean(np.log(mine / other) ** 2)))
            continue
        structure = other - other.mean() if name == "temperature" else other
        out[name] = size(mine - other, weight) / size(structure, weight)
    return out


def size(x: np.ndarray, weight: np.ndarray) -> float:
    """Root mean square, by ``weight`` along the first axis where that is one of layers."""
    w = weight.reshape(-1, *[1] * (x.ndim - 1)) if x.shape[0] == weight.size else 1.0 / len(x)
    return float(np.sqrt(np.sum(w * x**2) / np.prod(x.shape[1:], initial=1.0)))
