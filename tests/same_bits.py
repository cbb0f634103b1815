"""Whether what a model finds depends on how it is cut into tiles: several ranks beside one."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from dogcm.decomp import SerialCommunicator, world


def after(steps: int) -> Callable:
    """What :func:`assert_same_bits` compares by default: all prognostic variables after ``steps``
    steps."""

    def values(model) -> dict[str, np.ndarray]:
        model.advance(steps)
        return {name: model.gather(field) for name, field in model.state.variables().items()}

    return values


def assert_same_bits(
    build: Callable, values: Callable, expected: Callable = lambda alone: None
) -> None:
    """Fail on all ranks where the ranks together find other bits than one rank alone.

    Args:
        build: communicator to model. values: model to global arrays by name (on rank 0).
        expected: asserts of one rank's arrays that the test is about something.
    """
    comm = world()
    model = build(comm)
    found, wrong = values(model), []
    if comm.rank == 0:
        alone = values(build(SerialCommunicator()))
        expected(alone)
        wrong = [name for name in alone if not np.array_equal(found[name], alone[name])]
    wrong = comm.broadcast(wrong)
    assert not wrong, f"{model.layout.describe()}: {wrong} differ"
