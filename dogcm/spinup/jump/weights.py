"""A learned jump in a file: open arrays, its configuration and a card; nothing is unpickled."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import jax
import numpy as np
from flax.traverse_util import flatten_dict, unflatten_dict

from dogcm.io.arrays import DamagedFileError, read_arrays, write_arrays
from dogcm.spinup.jump.config import JumpConfig
from dogcm.spinup.jump.features import COLUMNS, COLUMNS_OF_TRACER, MAPS, MAPS_OF_TRACER
from dogcm.spinup.jump.reference import Reference

_FORMAT = 1
_REFERENCE = "reference"
_SEEN = {
    "columns": [*COLUMNS, *COLUMNS_OF_TRACER],
    "maps": [*MAPS, *MAPS_OF_TRACER],
}


class JumpError(ValueError):
    """Weights of a jump that cannot be used; the message says why."""


@dataclass(frozen=True)
class JumpWeights:
    """All that a jump has learned.

    Attributes:
        config: see :class:`JumpConfig`. members: parameters of the networks of an ensemble, one
            for each seed. reference: the mean equilibrium, or None. card: where they come from:
            what JSON can hold.
    """

    config: JumpConfig
    members: tuple[Any, ...]
    reference: Reference | None = None
    card: dict = field(default_factory=dict)

    def __post_init__(self):
        if not self.members:
            raise JumpError("a jump without a network")
        if self.config.reference and self.reference is None:
            raise JumpError("a jump that starts from a reference, without one")

    def save(self, path: str | Path) -> Path:
        """Write them to one ``.npz`` file; to be called on one rank.

        Raises:
            OSError: it cannot be written.
        """
        arrays = {}
        for n, member in enumerate(self.members):
            for name, leaf in flatten_dict(member, sep="/").items():
                arrays[f"{n}/{name}"] = np.asarray(leaf, np.float32)
        if self.reference is not None:
            for name in Reference.__dataclass_fields__:
                arrays[f"{_REFERENCE}/{name}"] = getattr(self.reference, name)
        header = {
            "format": _FORMAT,
            "config": self.config.model_dump(mode="json"),
            "card": self.card,
            "looks_at": _SEEN,
        }
        write_arrays(Path(path), arrays, header)
        return Path(path)

    @staticmethod
    def load(path: str | Path) -> JumpWeights:
        """Read them.

        Raises:
            JumpError: no such file, a damaged one, or one of another version of the features.
        """
        path = Path(path)
        try:
            header, arrays = read_arrays(path, _FORMAT)
        except FileNotFoundError:
            raise JumpError(f"no such file of weights: {path}") from None
        except DamagedFileError as error:
            raise JumpError(f"{path} holds no weights of a jump ({error})") from None
        _require_same_features(path, header.get("looks_at", {}))
        try:
            return _assembled(header, arrays)
        except (KeyError, ValueError) as error:
            raise JumpError(f"{path} holds no weights of a jump ({error})") from None


def _assembled(header: dict, arrays: dict[str, np.ndarray]) -> JumpWeights:
    for name, values in arrays.items():
        if not name.startswith(_REFERENCE) and not np.isfinite(values).all():
            raise ValueError(f"{name} holds numbers that are not finite")
    numbers = sorted({n.split("/")[0] for n in arrays} - {_REFERENCE}, key=int)
    own = lambda n: {k.partition("/")[2]: v for k, v in arrays.items() if k.startswith(f"{n}/")}
    members = tuple(unflatten_dict(own(n), sep="/") for n in numbers)
    found = own(_REFERENCE)
    config = JumpConfig(**header["config"])
    return JumpWeights(
        config, members, Reference(**found) if found else None, header.get("card", {})
    )


def _require_same_features(path: Path, seen: dict) -> None:
    for kind, names in _SEEN.items():
        there = seen.get(kind, [])
        if there != names:
            other = sorted(set(there) ^ set(names)) or ["their order"]
            raise JumpError(
                f"{path}: these weights look at other {kind} than this version of dogcm makes "
                f"({', '.join(other)}): train them again"
            )


def require_shapes(path: str, params, like) -> None:
    """Refuse parameters of another network.

    Raises:
        JumpError: naming the first that differs.
    """
    have, want = (flatten_dict(p, sep="/") for p in (params, like))
    for name in [*want, *have]:
        there = tuple(have[name].shape) if name in have else "absent"
        here = tuple(want[name].shape) if name in want else "absent"
        if there != here:
            raise JumpError(f"{path}: of another network: {name} is {there} there, {here} here")


def in_type(params, dtype):
    """Parameters in another precision."""
    return jax.tree.map(lambda x: jax.numpy.asarray(x, dtype), params)


__all__ = ["JumpError", "JumpWeights", "in_type", "require_shapes"]
