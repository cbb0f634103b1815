"""What a repeated step reads back must be what it would compute, with the same derivatives."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dogcm.decomp import SerialCommunicator
from dogcm.dynamics.barotropic import DepthFlow
from dogcm.field import Field
from dogcm.learning.checkpointing import recompute
from dogcm.lowering import replay
from dogcm.simulation.model import Model


def short_steps(per_exchange: int, coriolis: str):
    """The free surface of a small ocean as a function of its six inputs, and random inputs."""
    changes = {
        "time.free_surface.short_steps_per_exchange": per_exchange,
        "physics.coriolis": coriolis,
    }
    model = Model("two_basin", changes, comm=SerialCommunicator())
    g, split, rng = model.grid, model.dynamics.split, np.random.default_rng(0)
    assert split.per_exchange == per_exchange and split.coriolis == (coriolis != "cd")
    wet = {"c": g.wet_c, "u": g.wet_u, "v": g.wet_v}
    noise = lambda at, size: Field(
        jnp.asarray(size * rng.normal(size=wet[at].interior.shape)) * wet[at].interior, at
    )
    inputs = [
        noise(*a)
        for a in (("c", 1.0), ("u", 100.0), ("v", 100.0), ("u", 0.01), ("v", 0.01), ("c", 1e-4))
    ]
    return lambda *inputs: split.advance(model.halos, DepthFlow(*inputs), g)[:5], inputs


@pytest.mark.parametrize(("per_exchange", "coriolis"), [(1, "c_grid"), (3, "c_grid"), (2, "cd")])
def test_adjoint_of_the_short_steps(per_exchange, coriolis):
    """By hand, with what was noted down, against what JAX makes of the code; the values are the
    same bits."""
    advance, inputs = short_steps(per_exchange, coriolis)
    out = jax.eval_shape(advance, *inputs)
    rng = np.random.default_rng(1)
    weights = [rng.normal(size=f.data.shape) for f in out]
    loss = lambda f: lambda *inputs: sum(jnp.vdot(w, o.data) for w, o in zip(weights, f(*inputs)))
    by = {
        f: jax.jit(jax.value_and_grad(loss(f), range(6)))(*inputs)
        for f in (advance, recompute(advance))
    }
    (value, expected), (replayed, found) = by.values()
    assert value == replayed
    for e, f in zip(expected, found):
        assert np.abs(e.data).max() > 0
        np.testing.assert_allclose(f.data, e.data, rtol=0, atol=1e-14 * np.abs(e.data).max())


class Part:
    """A product whose runs are counted, with a transpose that can be told from that of JAX."""

    def __init__(self):
        self.runs = self.notes = 0

    def run(self, x, constant, note):
        self.runs, self.notes = self.runs + 1, self.notes + note
        return x * constant, constant if note else None

    def transpose(self, note, constant, cotangent):
        return 100.0 * note * cotangent

    def __call__(self, x, constant=2.0):
        return replay.noted(self.run, self.transpose, x, jnp.asarray(constant))


def test_a_repeated_part_is_read_and_not_run():
    part = Part()
    assert jax.grad(part)(3.0) == 2.0 and (part.runs, part.notes) == (1, 0)
    assert jax.grad(recompute(lambda x: jnp.sin(part(x))))(3.0) == pytest.approx(
        200.0 * np.cos(6.0)
    )
    assert (part.runs, part.notes) == (2, 1)
    # Two in a row are read in the order in which they were noted.
    twice = recompute(lambda x: part(part(x), 3.0))
    assert jax.jit(jax.value_and_grad(twice))(1.0) == (6.0, 100.0**2 * 6.0)


def test_nothing_leaves_a_loop():
    """Values made in a loop or a branch cannot be noted; they are computed and differentiated as
    ever."""
    part = Part()
    looped = lambda x: jax.lax.scan(lambda c, _: (part(c), None), x, None, length=3)[0]
    chosen = lambda x: jax.lax.cond(x > 0, part, lambda x: x, x)
    assert jax.grad(recompute(looped))(1.0) == 8.0 and jax.grad(recompute(chosen))(1.0) == 2.0
    assert jax.grad(recompute(lambda x: recompute(part)(x)))(1.0) == 200.0
    assert jax.vmap(jax.grad(recompute(part)))(jnp.arange(3.0)).tolist() == [200.0] * 3


def test_constants_have_no_derivative():
    part = Part()
    with pytest.raises(NotImplementedError, match="with respect to the grid.*'none' or 'halo'"):
        jax.grad(recompute(part), argnums=1)(1.0, jnp.asarray(2.0))
    assert jax.grad(part, argnums=1)(1.0, jnp.asarray(2.0)) == 1.0
