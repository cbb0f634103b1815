"""``dogcm show --messages``."""

import pytest

from dogcm.cli import main
from dogcm.cli.errors import OK
from dogcm.cli.messages import of_gradient, of_step
from dogcm.decomp.binding import looks_like_mpi_launch
from dogcm.simulation.model import Model

SMALL = {"grid.nx": 16, "grid.ny": 12, "grid.nz": 3}


@pytest.mark.skipif(looks_like_mpi_launch(), reason="of one rank")
def test_one_rank_sends_nothing(capsys):
    words = [f"--set={k}={v}" for k, v in SMALL.items()]
    assert main(["show", "gyre", "--messages", *words]) == OK
    assert "one rank sends nothing" in capsys.readouterr().out


@pytest.mark.ranks(4)
@pytest.mark.mpi(min_size=2)
def test_the_way_back_sends_at_most_twice_as_much():
    """Besides what the step that is computed once more sends."""
    model = Model("gyre", SMALL)
    step, gradient = of_step(model), of_gradient(model)
    assert step.messages > 0 and step.message_bytes > 1000
    assert gradient.messages - 2 * step.messages <= 2 * step.messages
    assert gradient.messages > step.messages
