"""The backend of one rank: no MPI library, same interface as :mod:`dogcm.halo.mpi`."""

from __future__ import annotations

import jax


class SerialBackend:
    """Every neighbour is this rank itself."""

    rank = pattern = 0
    size = 1

    def jit(self, function, **options):
        """``jax.jit``."""
        return jax.jit(function, **options)

    def shapes(self, function, *args):
        """``jax.eval_shape``."""
        return jax.eval_shape(function, *args)

    def check(self, layout) -> None:
        """Every layout will do."""

    def here(self, of):
        """``of(rank)`` of this rank."""
        return of(self.rank)

    def swap(self, to_lower, to_upper, near):
        """Send one buffer down and one up; returns what came from below and from above."""
        return to_upper, to_lower

    def trade(self, buffer, partner):
        """Send a buffer to ``partner`` and return the one that comes from there."""
        return buffer

    def psum(self, value):
        """Sum over ranks."""
        return value

    def pmax(self, value):
        """Largest value over ranks (no derivative)."""
        return value

    def broadcast(self, value, root: int = 0):
        """The value of rank ``root``."""
        return value
