"""Networks that are trained beside the learned jump, on the same features and by the same loss."""

from __future__ import annotations

import flax.linen as nn
import jax.numpy as jnp

from dogcm import spinup

JUMP = spinup.JumpConfig(variables=(spinup.age_in_years(),))
# What is changed in the jump's configuration; all of these are trained for fewer steps.
ABLATIONS = {
    "control": {},
    "no_series": {"encoders": ("maps", "scalars", "columns")},
    "no_maps": {"encoders": ("series", "scalars", "columns")},
    "no_scalars": {"encoders": ("series", "maps", "columns")},
    "no_columns": {"encoders": ("series", "maps", "scalars")},
    "no_modes": {"modes": 0},
    "no_reference": {"reference": False},
    "difference": {"form": "difference"},
}


def _told(f, cells):
    """The scalars, beside each of some cells."""
    return jnp.broadcast_to(f.scalars, (*cells.shape[:-1], f.scalars.shape[0]))


class Perceptron(nn.Module):
    """Each cell for itself: its features and the scalars."""

    width: int = 64

    @nn.compact
    def __call__(self, features, level, chosen=None):
        x = jnp.moveaxis(features.columns.reshape(*features.columns.shape[:2], -1), -1, 0)
        x = jnp.swapaxes(x if chosen is None else x[chosen], 1, 2)
        x = jnp.concatenate([x, _told(features, x)], axis=-1)
        for _ in range(3):
            x = nn.silu(nn.Dense(self.width)(x.astype(jnp.float32)))
        return nn.Dense(1, kernel_init=nn.initializers.zeros)(x)


def _image(features):
    """All layers as channels of one image, (y, x, channel), with the scalars."""
    both = [features.columns.reshape(-1, *features.columns.shape[-2:]), features.maps.data]
    x = jnp.moveaxis(jnp.concatenate(both), 0, -1).astype(jnp.float32)
    return jnp.concatenate([x, _told(features, x).astype(jnp.float32)], axis=-1)


def _columns_of(x, chosen):
    """(column, z, 1) of an image whose channels are the layers."""
    x = x.reshape(-1, x.shape[-1])
    return (x if chosen is None else x[chosen])[..., None]


class Convolutions(nn.Module):
    """Convolutions over the whole map, with the layers as channels: of this vertical grid only."""

    width: int = 32

    @nn.compact
    def __call__(self, features, level, chosen=None):
        layers = features.columns.shape[1]
        x = nn.Dense(self.width)(_image(features))
        for _ in range(3):
            wide = jnp.pad(x, ((0, 0), (1, 1), (0, 0)), mode="wrap")
            wide = jnp.pad(wide, ((1, 1), (0, 0), (0, 0)))
            x = x + nn.silu(nn.Conv(self.width, (3, 3), padding="VALID")(wide))
        return _columns_of(nn.Dense(layers, kernel_init=nn.initializers.zeros)(x), chosen)


class FourierLayers(nn.Module):
    """A Fourier neural operator (Li et al. 2021, arXiv:2010.08895) over longitude and latitude."""

    width: int = 24
    waves: int = 6

    @nn.compact
    def __call__(self, features, level, chosen=None):
        layers = features.columns.shape[1]
        x = nn.Dense(self.width)(_image(features))
        for n in range(3):
            x = nn.silu(self._spectral(x, n) + nn.Dense(self.width)(x))
        return _columns_of(nn.Dense(layers, kernel_init=nn.initializers.zeros)(x), chosen)

    def _spectral(self, x, n: int):
        m, small = self.waves, nn.initializers.normal(1.0 / self.width)
        shape = (2, 2, m, m, self.width, self.width)
        parts = self.param(f"waves_{n}", small, shape, jnp.float32)
        kernel = parts[0] + 1j * parts[1]
        there = jnp.fft.rfft2(x, axes=(0, 1))
        low = jnp.einsum("yxi,yxio->yxo", there[:m, :m], kernel[0])
        high = jnp.einsum("yxi,yxio->yxo", there[-m:, :m], kernel[1])
        out = jnp.zeros_like(there).at[:m, :m].set(low).at[-m:, :m].set(high)
        return jnp.fft.irfft2(out, s=x.shape[:2], axes=(0, 1))


NETWORKS = {"perceptron": Perceptron(), "convolutions": Convolutions(), "fourier": FourierLayers()}
