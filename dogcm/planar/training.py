"""How what planes learn is moved: networks, maps and physics at rates of their own."""

from __future__ import annotations

import jax
import optax


def adam_by_name(rates: dict[str, float], updates: int, final: float = 0.05):
    """Adam with a rate of its own for each part of a tree, and clipping by the global norm.

    Args:
        rates: by name; a leaf has that of the first name among the keys that lead to it, or of
            ``rest``. updates: length of the cosine decay. final: rate at its end, as a part of the
            first one.
    """
    schedule = lambda peak: optax.cosine_decay_schedule(peak, updates, final)
    parts = {name: optax.adam(schedule(rate), b2=0.99) for name, rate in rates.items()}

    def label(path, _):
        keys = [str(getattr(key, "key", key)) for key in path]
        return next((name for name in rates if name in keys), "rest")

    labels = lambda tree: jax.tree_util.tree_map_with_path(label, tree)
    return optax.chain(optax.clip_by_global_norm(1.0), optax.multi_transform(parts, labels))


__all__ = ["adam_by_name"]
