"""Corrector: a network between the state and the tendencies that the time step adds to the physics.

With ``maps`` there are learned maps of tendencies beside the network, which say what no state
tells: the mean error of a coarse model where it is, and its annual cycle. They act at every step,
so that they are in balance with the physics. They are Fields among the weights, tiled like all
Fields; see :mod:`dogcm.corrector.maps`.
"""

from __future__ import annotations

import dataclasses
import time
from dataclasses import dataclass
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from dogcm.corrector import features, maps, outputs
from dogcm.corrector.config import CorrectorConfig
from dogcm.corrector.layers import Level, check_corners, constant_level
from dogcm.corrector.networks import MARGIN
from dogcm.corrector.pooling import coarse_layout
from dogcm.decomp.layout import LayoutError, make_layout
from dogcm.field import Field
from dogcm.halo import HaloExchange, SerialBackend


@dataclass(frozen=True)
class Corrector:
    """A network on the tiles of one run. Its weights are ``params["corrector"]``.

    Attributes:
        config: :class:`CorrectorConfig`. halos: :class:`dogcm.halo.HaloExchange`. nz: levels.
        network: flax module, None for kind ``none``.
    """

    config: CorrectorConfig
    halos: Any
    nz: int
    network: nn.Module | None

    def init(self, key, state, params: dict, now: dict, grid) -> dict:
        """Weights that depend on ``key`` alone, hence the same on every rank; the last layer and
        maps are zero."""
        if self.network is None:
            return {}
        seen = jax.eval_shape(lambda s, n, g: self._inputs(s, n, g), state, now, grid)
        # A small ocean without neighbours has the same weights and needs no messages.
        side = 4 * 2 ** max(2, self.config.network.halvings())
        halos = HaloExchange(make_layout((side, side), 1, 1), SerialBackend())
        like = Field(jnp.zeros((seen.shape[0], side, side), seen.dtype), "c")
        level = lambda x: constant_level(halos, x, self._depth())
        place = like.level(slice(0, 1)).with_data(jnp.ones((3, side, side), seen.dtype))
        # Run once, so not worth optimising: that would take several times longer than anything else
        # here.
        start = jax.jit(
            lambda k, x: self.network.init(k, x, level(x.level(0)), place),
            compiler_options={"xla_backend_optimization_level": 0},
        )
        weights = dict(start(key, like)["params"])
        if self.config.maps:
            weights[maps.MAPS] = maps.zero_maps(self.config, self.halos, self.nz, grid.area_c.dtype)
        return weights

    def prepared(self, params: dict, grid) -> dict:
        """``params`` for a rollout: what the maps need once, not at every step."""
        if not self.config.maps:
            return params
        weights = params["corrector"]
        ready = maps.conserving(weights[maps.MAPS], self.config, self.halos, grid)
        return params | {"corrector": weights | {maps.MAPS: ready}}

    def hook(self, state, params: dict, now: dict, grid) -> dict[str, Field]:
        """What acts at every step where there are maps: these, and at every n-th step the network,
        n times as strongly."""
        rates = maps.tendencies(params["corrector"][maps.MAPS], self.config, state, grid)
        strong = lambda: jax.tree.map(
            lambda x: x * self.config.every, self.tendency(state, params, now, grid)
        )
        if self.config.every == 1:
            return _sum(rates, strong())
        # All ranks count the same steps, so all take the same branch and its messages match.
        silent = lambda: jax.tree.map(jnp.zeros_like, jax.eval_shape(strong))
        return _sum(rates, jax.lax.cond(state.steps % self.config.every == 0, strong, silent))

    def tendency(self, state, params: dict, now: dict, grid) -> dict[str, Field]:
        """The network's tendencies by name, without halo: the hook of
        :class:`dogcm.timestepping.Dynamics`.

        Args:
            state: with one valid halo cell or more. now: forcing of this moment.
        """
        if self.network is None:
            return {}
        with jax.named_scope("corrector"):
            raw = self.raw(state, params, now, grid).astype(state.temperature.dtype)
            return outputs.tendencies(raw, self.config, state, grid, self.halos)

    def raw(self, state, params: dict, now: dict, grid) -> Field:
        """What the network says, ``(channels, y, x)`` with one halo cell."""
        x = self._inputs(state, now, grid)
        level = Level.of(
            self.halos, grid.wet_c, grid.area_c * grid.wet_c, self._depth(), self.config.halo
        )
        place = features.positions(grid, self.config.scales.degrees)
        plain = {n: w for n, w in params["corrector"].items() if n != maps.MAPS}
        weights = jax.tree.map(lambda w: w.astype(x.dtype), plain)
        return level.fill(self.network.apply({"params": weights}, x, level, place), MARGIN).crop(
            MARGIN
        )

    def install(self, dynamics):
        """The dynamics with this corrector; tendencies of a hook that is there already are added.

        Raises:
            ValueError: the other hook acts at other steps.
        """
        if self.network is None:
            return dynamics
        if outputs.SEA_LEVEL in self.config.outputs:
            raise ValueError(
                "corrector.outputs: eta is for a network without physics; the free surface keeps "
                "the ocean's volume, "
                "which a correction would not"
            )
        hook, every = (self.hook, 1) if self.config.maps else (self.tendency, self.config.every)
        other, mine = dynamics.extra_tendency, hook
        if other is not None:
            if dynamics.extra_every != every:
                raise ValueError(
                    f"this corrector acts at every {every} steps, but the tendency that is "
                    f"installed acts "
                    f"at every {dynamics.extra_every} steps; give both the same interval"
                )
            hook = lambda *now: _sum(other(*now), mine(*now))
        return dataclasses.replace(dynamics, extra_tendency=hook, extra_every=every)

    def _inputs(self, state, now, grid) -> Field:
        x = features.inputs(self.config.inputs, state, now, grid, self.config.scales)
        return x if self.config.precision == "model" else x.astype(self.config.precision)

    def _depth(self) -> int:
        """How deep the mask has to be known."""
        return self.network.mask_depth(self.config.halo)


def _sum(first: dict[str, Field], second: dict[str, Field]) -> dict[str, Field]:
    both = {n: first[n].crop(0) + second[n].crop(0) for n in first.keys() & second.keys()}
    return first | second | both


def build_corrector(config: CorrectorConfig, halos, nz: int) -> Corrector:
    """The corrector of a configuration on this rank's tile.

    Args:
        halos: :class:`dogcm.halo.HaloExchange`. nz: levels of the ocean.

    Raises:
        LayoutError: this network cannot work on these tiles.
        ValueError: scales of another number of levels.
    """
    if config.network is None:
        return Corrector(config, halos, nz, None)
    if halos.layout.north_fold:
        raise LayoutError(
            "correctors do not work on tripolar grids yet: beyond the fold a network would see the "
            "ocean upside down, and "
            "the two copies of a cell would differ; use grid.kind: latlon or rotated"
        )
    for name, value in config.scales:
        if isinstance(value, list) and len(value) not in (1, nz):
            raise ValueError(
                f"corrector.scales.{name} has {len(value)} numbers: give 1, or one for each of "
                f"{nz} levels"
            )
    for name, value in config.rates.items():
        wanted = 1 if name == outputs.SEA_LEVEL else nz
        if isinstance(value, list) and len(value) != wanted:
            raise ValueError(
                f"corrector.rates: {name} has {len(value)} numbers: give 1, or one for each of "
                f"{wanted} levels"
            )
    layout = halos.layout
    check_corners(layout)
    for _ in range(config.network.halvings()):
        layout = coarse_layout(layout)
        halos.backend.check(layout)
    network = config.network.module(outputs.channels(config.of_network, nz))
    corrector = Corrector(config, halos, nz, network)
    # Where the deepest halos are.
    layout = layout if config.network.deepest_on_coarsest() else halos.layout
    if network.mask_depth(config.halo) > min(layout.smallest_tile):
        raise LayoutError(
            f"{layout.describe()}: a deep halo of {network.reach} cells does not fit the smallest "
            f"tile; "
            "set corrector.halo: layer, or use fewer tiles"
        )
    return corrector


def choose_halo_strategy(
    corrector, state, params: dict, now: dict, grid, repeats: int = 3
) -> Corrector:
    """The corrector with the cheaper of both halo strategies, measured here; all ranks choose
    alike.

    Each is compiled and timed (the slowest rank counts, the fastest of ``repeats``). Where a deep
    halo does not fit the tiles, each layer exchanges.
    """
    if corrector.network is None:
        return corrector
    best, shortest = corrector, float("inf")
    for halo in ("layer", "deep"):
        config = corrector.config.model_copy(update={"halo": halo})
        try:
            candidate = build_corrector(config, corrector.halos, corrector.nz)
        except LayoutError:
            continue
        run = corrector.halos.jit(candidate.tendency)
        slowest = corrector.halos.jit(corrector.halos.pmax)
        seconds = float(slowest(_time(run, (state, params, now, grid), repeats)))
        if seconds < shortest:
            best, shortest = candidate, seconds
    return best


def _time(function, args, repeats: int):
    jax.block_until_ready(function(*args))
    times = []
    for _ in range(repeats):
        start = time.perf_counter()
        jax.block_until_ready(function(*args))
        times.append(time.perf_counter() - start)
    return jnp.asarray(min(times))
