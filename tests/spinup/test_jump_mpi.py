"""Several ranks jump to the same state as one."""

from __future__ import annotations

import pytest
from jumps import EXPECTED, findings

from dogcm.decomp import world
from dogcm.decomp.binding import looks_like_mpi_launch

# Sums over channels are added in an order that depends on the tile.
ROUNDING = 1e-10


@pytest.mark.skipif(looks_like_mpi_launch(), reason="one rank")
def test_one_rank_finds_what_is_written_down():
    assert findings() == pytest.approx(EXPECTED, rel=ROUNDING)


@pytest.mark.mpi(min_size=2)
@pytest.mark.ranks(2, 4, slow=(2, 4))
def test_many_ranks_find_the_same():
    assert findings(world()) == pytest.approx(EXPECTED, rel=ROUNDING)
