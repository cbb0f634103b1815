"""A small room for tests: walls, a pillar, a flow that leaves the plane and comes back."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np

from dogcm.decomp import SerialCommunicator, make_layout
from dogcm.field import Field
from dogcm.planar import Layers, PlaneModel, PlaneTransport, Recurrent, make_plane

SHAPE = (12, 17)
CELL = (0.5, 0.5, 0.25)
CLOSURES = {
    "none": lambda: None,
    "layers": lambda: Layers(count=3, width=6),
    "markov": lambda: Layers(count=3, width=6, remembers=False),
    "relaxing": lambda: Recurrent(memory={"kind": "relaxing", "channels": 4}, width=6),
    "gru": lambda: Recurrent(memory={"kind": "gru", "channels": 4, "size": 3}, width=6),
    "lstm": lambda: Recurrent(memory={"kind": "lstm", "channels": 3}, width=6),
}


def room(shape=SHAPE, seed=0) -> dict[str, np.ndarray]:
    """Arrays of :func:`dogcm.planar.make_plane`: random smooth flow, a pillar and a partition."""
    ny, nx = shape
    rng = np.random.default_rng(seed)
    mask = np.ones(shape)
    mask[3:5, 5:7] = 0
    mask[7, 2:6] = 0
    wet = np.pad(mask, 1)
    u = 0.2 * np.sin(2 * np.arange(ny) / ny)[:, None] + 0.1 * rng.normal(size=(ny, nx + 1))
    v = 0.1 * rng.normal(size=(ny + 1, nx))
    u *= wet[1:-1, :-1] * wet[1:-1, 1:]
    v *= wet[:-1, 1:-1] * wet[1:, 1:-1]
    eddy = 0.005 + 0.02 * rng.random(shape)
    return {"mask": mask, "u": u, "v": v, "eddy_diffusivity": eddy}


def model(closure="layers", comm=None, layout=None, dt=0.25, arrays=None, **options) -> PlaneModel:
    """On these tiles; alone by default."""
    arrays = arrays or room()
    layout = layout or make_layout(arrays["mask"].shape, 1, 1, periodic_x=False)
    plane, d, halos = make_plane(comm or SerialCommunicator(), layout, arrays, CELL)
    return PlaneModel(plane, halos, d, dt, CLOSURES[closure](), PlaneTransport(**options))


def stirred(m: PlaneModel, size=0.4, seed=1) -> dict:
    """Parameters of no meaning, all weights other than zero, the same on every layout."""
    params = m.params(jax.random.key(0))
    rng = np.random.default_rng(seed)

    def noise(leaf):
        if isinstance(leaf, Field):
            whole = rng.normal(size=(*leaf.shape[:-2], *m.decomposition.layout.shape))
            return leaf.with_data(leaf.data + size * part(m, whole))
        return leaf + size * jnp.asarray(rng.normal(size=leaf.shape), leaf.dtype)

    if "closure" in params:
        is_field = lambda x: isinstance(x, Field)
        params["closure"] = jax.tree.map(noise, params["closure"], is_leaf=is_field)
        if "gates" in params["closure"]:
            params["closure"]["gates"] = jnp.abs(params["closure"]["gates"]) + 0.3
    return params


def part(m: PlaneModel, whole):
    """This tile of a global array."""
    t = m.decomposition.tile
    return jnp.asarray(whole[..., t.j0 : t.j1, t.i0 : t.i1])


def source(m: PlaneModel, *cases: int) -> Field:
    """A point source in each case."""
    ny, nx = m.decomposition.layout.shape
    whole = np.zeros((*cases, ny, nx))
    for n in range(max(cases, default=1)):
        whole[(..., n, 2 + n % 5, 9 + n % 3) if cases else (2, 9)] = 1e-6
    return Field(part(m, whole), "c")
