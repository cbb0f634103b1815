"""Weights in files: plain arrays and the configuration beside them; nothing is unpickled."""

from __future__ import annotations

import json
import zipfile
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np

from dogcm.corrector.config import CorrectorConfig
from dogcm.io.whole import whole_file

_CONFIG, _CARD = "config", "card"


class WeightsError(ValueError):
    """A file of weights that does not fit this corrector."""


def leaves(weights) -> dict[str, jax.Array]:
    """Leaves by path, ``first/kernel`` and so on, in a fixed order."""
    flat, _ = jax.tree_util.tree_flatten_with_path(weights)
    return {"/".join(str(getattr(k, "key", k)) for k in path): leaf for path, leaf in flat}


def save_weights(
    path: str | Path, config: CorrectorConfig, weights, card: dict | None = None
) -> None:
    """Write ``weights`` and ``config`` to one ``.npz`` file. All ranks have the same: call it on
    one.

    Args:
        card: where they come from: what JSON can hold, read again by :func:`read_card`.

    Raises:
        WeightsError: with ``maps``, whose tiles are on all ranks; checkpoints of a training hold
            them.
    """
    if config.maps:
        raise WeightsError(
            "weights with maps are tiled: keep the checkpoint of the training instead"
        )
    path = Path(path)
    arrays = {name: np.asarray(leaf) for name, leaf in leaves(weights).items()}
    with whole_file(path) as partial, open(partial, "wb") as file:
        texts = {_CONFIG: config.model_dump_json(), _CARD: json.dumps(card or {})}
        np.savez(file, **{n: np.asarray(t) for n, t in texts.items()}, **arrays)


def read_card(path: str | Path) -> dict:
    """What a file of weights says of its training; empty where it says nothing.

    Raises:
        WeightsError: the file cannot be read.
    """
    return _read(path)[2]


def load_config(path: str | Path) -> CorrectorConfig:
    """The configuration of the corrector whose weights are in the file."""
    return _read(path)[0]


def load_weights(path: str | Path, config: CorrectorConfig, like):
    """Weights from a file, in the structure and dtype of ``like`` (what :meth:`Corrector.init`
    returns).

    Raises:
        WeightsError: the file cannot be read, or is of another network; says which leaf differs
            first.
    """
    saved, arrays, _ = _read(path)
    wanted = leaves(like)
    for name in [*wanted, *arrays]:
        have = f"{arrays[name].shape}" if name in arrays else "absent"
        want = f"{tuple(wanted[name].shape)}" if name in wanted else "absent"
        if have != want:
            raise WeightsError(
                f"{path} holds the weights of another network: {name} is {have} there and {want} "
                f"here" + _differences(saved, config)
            )
        if not np.isfinite(arrays[name]).all():
            raise WeightsError(f"{path}: {name} holds numbers that are not finite")
    new = [jnp.asarray(arrays[name], leaf.dtype) for name, leaf in wanted.items()]
    return jax.tree.unflatten(jax.tree.structure(like), new)


def _read(path) -> tuple[CorrectorConfig, dict[str, np.ndarray], dict]:
    try:
        with np.load(path, allow_pickle=False) as file:
            arrays = {name: file[name] for name in file.files}
        config = CorrectorConfig(**json.loads(str(arrays.pop(_CONFIG))))
        card = json.loads(str(arrays.pop(_CARD, "{}")))
    except FileNotFoundError:
        raise WeightsError(f"no such file of weights: {path}") from None
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile) as error:
        raise WeightsError(f"{path} is no file of corrector weights ({error})") from None
    return config, arrays, card


def _differences(saved: CorrectorConfig, config: CorrectorConfig) -> str:
    old, new = (_shaping(c) for c in (saved, config))
    names = [*old, *(n for n in new if n not in old)]
    pairs = [(n, old.get(n, "none"), new.get(n, "none")) for n in names]
    found = [f"{n} {there} there, {here} here" for n, there, here in pairs if there != here]
    return f" ({'; '.join(found)})" if found else " (same configuration: another number of levels?)"


def _shaping(config: CorrectorConfig) -> dict:
    """What decides about the shapes of weights."""
    network = {} if config.network is None else config.network.entry()
    return {**network, **config.model_dump(mode="json", include={"inputs", "outputs"})}
