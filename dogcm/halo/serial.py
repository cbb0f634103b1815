"""The backend of one rank: no MPI library, same interface as :mod:`dogcm.halo.mpi`."""

from __future__ import annotations

from dogcm.halo.own_program import OwnProgram


class SerialBackend(OwnProgram):
    """Every neighbour is this rank itself."""

    rank = 0
    size = 1

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
