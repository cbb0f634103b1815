"""Runs with a trained corrector: its file of weights, put into a model's step."""

from __future__ import annotations

from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np

from dogcm.corrector import CorrectorConfig, WeightsError, build_corrector, load_weights
from dogcm.corrector.weights import leaves, load_config
from dogcm.io.root import on_root

SHIPPED = Path(__file__).resolve().parents[1] / "setups" / "weights"


def weights_file(name: str, experiment: str) -> Path:
    """The file that ``corrector.weights`` names: a path, or ``shipped`` for that of an experiment.

    Raises:
        WeightsError: nothing ships for this experiment.
    """
    if name != "shipped":
        return Path(name)
    path = SHIPPED / f"{experiment}.npz"
    if not path.is_file():
        there = ", ".join(sorted(p.stem for p in SHIPPED.glob("*.npz"))) or "no experiment"
        raise WeightsError(
            f"corrector.weights: no corrector ships for {experiment}, but for {there}; give the "
            "file corrector.npz of a training"
        )
    return path


def install_corrector(model) -> None:
    """Put the corrector of ``model.config.corrector`` into the step; every rank calls it.

    The weights are ``model.params["corrector"]`` from then on, which may be differentiated.

    Raises:
        WeightsError: no such file, a damaged one, or one that does not fit the model's layers.
    """
    use = model.config.corrector
    path = on_root(model.comm, weights_file, use.weights, model.config.name)
    config: CorrectorConfig = on_root(model.comm, load_config, path)
    config = config.model_copy(update={"strength": config.strength * use.strength})
    try:
        corrector = build_corrector(config, model.halos, model.vertical.nz)
        dynamics, like = corrector.install(model.dynamics), first_weights(corrector, model)
    except ValueError as error:
        raise WeightsError(f"{path} does not fit this ocean: {error}") from None
    arrays = on_root(model.comm, _arrays, path, config, like)
    structure = jax.tree.structure(like)
    weights = [jnp.asarray(arrays[n], leaf.dtype) for n, leaf in leaves(like).items()]
    model.dynamics = dynamics
    model.params = model.params | {"corrector": jax.tree.unflatten(structure, weights)}


def first_weights(corrector, model, seed: int = 0) -> dict:
    """Weights before training, the same on every rank."""
    now = model.forcing.at(model.state.time)
    deep = model.halos.shapes(model.dynamics.with_halos, model.state, model.grid)
    return corrector.init(jax.random.key(seed), deep, model.params, now, model.grid)


def _arrays(path: Path, config: CorrectorConfig, like) -> dict[str, np.ndarray]:
    return {n: np.asarray(x) for n, x in leaves(load_weights(path, config, like)).items()}


__all__ = ["SHIPPED", "first_weights", "install_corrector", "weights_file"]
