"""The answer does not depend on the layout: 100 steps of the real ocean are the same bits on every
cut."""

from __future__ import annotations

import numpy as np
import pytest

from dogcm.decomp import Layout, SerialCommunicator, make_layout, world
from dogcm.simulation.model import Model

STEPS = 100
# By number of ranks: cuts in x and y, or explicit edges. Those of 90 and 40 cells by 4 and 3 are
# uneven.
LAYOUTS = {
    2: [(2, 1), (1, 2)],
    4: [(2, 2), (4, 1)],
    6: [
        (3, 2),
        # Antarctica between 72 E and 160 E: two tiles of land without rank, and ocean at all their
        # corners.
        ((0, 18, 29, 40, 90), (0, 3, 40)),
    ],
}


class LaidOut(Model):
    """A model on a layout made by hand."""

    def __init__(self, *args, cuts, **options):
        self._cuts = cuts
        super().__init__(*args, **options)

    def _choose_layout(self, cells, request) -> Layout:
        x, y = self._cuts
        edges = dict(cuts_x=x, cuts_y=y) if isinstance(x, tuple) else {}
        px, py = (len(x) - 1, len(y) - 1) if edges else (x, y)
        return make_layout(self.horizontal.shape, px, py, wet=cells[0] > 0, **edges)


@pytest.fixture(scope="module")
def reference() -> dict[str, np.ndarray] | None:
    """All prognostic variables after :data:`STEPS` steps on one rank (on rank 0; None
    elsewhere)."""
    if world().rank:
        return None
    alone = Model("global_4deg", comm=SerialCommunicator())
    alone.advance(STEPS)
    found = {name: alone.gather(name) for name in alone.state.variables()}
    assert all(np.isfinite(v).all() for v in found.values()) and np.abs(found["u"]).max() > 0.01
    return found


def cases():
    name = lambda c: "dropped_land" if isinstance(c[0], tuple) else f"{c[0]}x{c[1]}"
    slow = lambda n, c: [pytest.mark.slow] * ((n, name(c)) == (4, "4x1"))
    return [
        pytest.param(n, c, id=f"{n}-{name(c)}", marks=slow(n, c))
        for n, cuts in LAYOUTS.items()
        for c in cuts
    ]


@pytest.mark.layouts
@pytest.mark.as_users
@pytest.mark.mpi(min_size=2)
@pytest.mark.parametrize("size, cuts", cases())
def test_state_is_bit_identical(size, cuts, reference):
    comm = world()
    if comm.size != size:
        pytest.skip(f"a layout for {size} ranks")
    model = LaidOut("global_4deg", cuts=cuts)
    if isinstance(cuts[0], tuple):
        assert model.layout.px * model.layout.py > model.layout.size, (
            "this layout is to drop tiles of land"
        )
    model.advance(STEPS)
    wrong = []
    for name, field in model.state.variables().items():
        got = model.gather(field)
        if comm.rank == 0:
            differs = got.view(np.int64) != reference[name].view(np.int64)
            # A dropped tile comes back as zero, which is what land holds.
            differs &= ~((got == 0) & (reference[name] == 0))
            if differs.any():
                where = tuple(int(i) for i in np.argwhere(differs)[0])
                wrong.append(
                    f"{name}: {int(differs.sum())} values differ, first at {where}, "
                    f"by {np.abs(got - reference[name]).max():.3g}"
                )
    assert not comm.broadcast(wrong), f"{model.layout.describe()}: " + "; ".join(
        comm.broadcast(wrong)
    )
