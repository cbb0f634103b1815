"""Messages between ranks inside ``jit``, with derivative rules of our own.

This is the only module that imports mpi4jax. Its stock rules do not serve a model that is
differentiated across ranks, so they are replaced here, once, when the module is imported:

* ``sendrecv`` has no forward mode, refuses a receive buffer that does not depend on the input, and
  cannot be used under ``jax.checkpoint``. The tangent of an exchange is the exchange of the
  tangent; its transpose sends the cotangent back the way the value came.
* ``allreduce`` counts as its own linear inverse (its stock transpose is the identity). That is
right
  only for the last sum of a loss that every rank holds. Inside the model, with the convention that
  each rank differentiates its own share of the loss, the transpose of a sum over ranks is
  a sum over ranks.
"""

from __future__ import annotations

import jax
import jax.numpy as jnp
import mpi4jax
from jax._src.effects import remat_allowed_effects
from jax.interpreters import ad, batching
from mpi4jax._src.collective_ops.allreduce import mpi_allreduce_p
from mpi4jax._src.collective_ops.sendrecv import mpi_sendrecv_p
from mpi4jax._src.utils import OrderedMPIEffect
from mpi4py import MPI

from dogcm.halo.own_program import OwnProgram

VERSION = mpi4jax.__version__


def _sendrecv_jvp(primals, tangents, **kw):
    send, receive = primals
    tangent = ad.instantiate_zeros(tangents[0])
    out = mpi_sendrecv_p.bind(send, receive, **kw)
    return out, mpi_sendrecv_p.bind(tangent, tangent, **kw)


def _sendrecv_transpose(cotangent, send, receive, *, source, dest, **kw):
    cotangent = ad.instantiate_zeros(cotangent)
    back = mpi_sendrecv_p.bind(cotangent, cotangent, source=dest, dest=source, **kw)
    # Both operands are the tangent (see _sendrecv_jvp): the send buffer takes the whole cotangent.
    return back, (ad.Zero(receive.aval) if ad.is_undefined_primal(receive) else None)


def _sendrecv_batch(args, dims, **kw):
    send, receive = args
    size = next(a.shape[d] for a, d in zip(args, dims) if d is not None)

    def lead(a, d):
        return jnp.broadcast_to(a, (size, *a.shape)) if d is None else jnp.moveaxis(a, d, 0)

    return mpi_sendrecv_p.bind(lead(send, dims[0]), lead(receive, dims[1]), **kw), 0


def _allreduce_transpose(cotangent, operand, *, op, comm, transpose):
    if op.wrapped != MPI.SUM:
        raise NotImplementedError("only sums over ranks have a transpose")
    cotangent = ad.instantiate_zeros(cotangent)
    return (mpi_allreduce_p.bind(cotangent, op=op, comm=comm, transpose=False),)


def _allreduce_jvp(primals, tangents, *, op, comm, transpose):
    out = mpi_allreduce_p.bind(primals[0], op=op, comm=comm, transpose=transpose)
    if op.wrapped != MPI.SUM:
        return out, ad.Zero.from_primal_value(out)
    tangent = ad.instantiate_zeros(tangents[0])
    return out, mpi_allreduce_p.bind(tangent, op=op, comm=comm, transpose=transpose)


def _install_rules() -> None:
    remat_allowed_effects.add_type(OrderedMPIEffect)
    ad.primitive_jvps[mpi_sendrecv_p] = _sendrecv_jvp
    ad.primitive_transposes[mpi_sendrecv_p] = _sendrecv_transpose
    batching.primitive_batchers[mpi_sendrecv_p] = _sendrecv_batch
    ad.primitive_jvps[mpi_allreduce_p] = _allreduce_jvp
    ad.primitive_transposes[mpi_allreduce_p] = _allreduce_transpose


_install_rules()


class MPIBackend(OwnProgram):
    """Messages over a clone of an MPI communicator."""

    def __init__(self, mpi_comm):
        # Host code (mpi4py) and compiled code (mpi4jax) must never share a communicator.
        self.comm = mpi_comm.Clone()
        self.rank, self.size = self.comm.Get_rank(), self.comm.Get_size()

    def swap(self, to_lower, to_upper, near):
        """Send one buffer to each of the two ranks ``near(rank)``; returns (from lower, from
        upper)."""
        lower, upper = near(self.rank)
        from_upper = mpi4jax.sendrecv(to_lower, to_lower, source=upper, dest=lower, comm=self.comm)
        from_lower = mpi4jax.sendrecv(to_upper, to_upper, source=lower, dest=upper, comm=self.comm)
        return from_lower, from_upper

    def trade(self, buffer, partner):
        """Send a buffer to ``partner(rank)`` (may be this rank) and return the one that comes from
        there."""
        partner = partner(self.rank)
        return mpi4jax.sendrecv(buffer, buffer, source=partner, dest=partner, comm=self.comm)

    def psum(self, value):
        """Sum over ranks; its transpose is a sum over ranks."""
        return mpi4jax.allreduce(value, op=MPI.SUM, comm=self.comm)

    def pmax(self, value):
        """Largest value over ranks (no derivative)."""
        return mpi4jax.allreduce(jax.lax.stop_gradient(value), op=MPI.MAX, comm=self.comm)

    def broadcast(self, value, root: int = 0):
        """The value of rank ``root``, as a sum of which only one term is not zero."""
        mine = value if self.rank == root else jnp.zeros_like(value)
        return self.psum(mine)
