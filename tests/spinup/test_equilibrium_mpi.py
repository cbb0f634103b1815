"""Several ranks take the same way to the same equilibrium, with the same derivatives."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest
from findings import EXPECTED, findings

from dogcm.decomp import world
from dogcm.decomp.binding import looks_like_mpi_launch


@pytest.mark.skipif(looks_like_mpi_launch(), reason="one rank")
def test_one_rank_finds_what_is_written_down():
    assert findings() == pytest.approx(EXPECTED, rel=1e-10)


@pytest.mark.mpi(min_size=2)
@pytest.mark.ranks(2, 4, slow=(4,))
def test_many_ranks_find_the_same():
    assert findings(world()) == pytest.approx(EXPECTED, rel=1e-10)


@pytest.mark.slow
@pytest.mark.skipif(looks_like_mpi_launch(), reason="one process")
def test_devices_find_the_same(alone, repository):
    program = (
        "import json, dogcm; from findings import findings; from dogcm.decomp import world\n"
        "print(json.dumps(dogcm.on_devices(lambda: findings(world()), 4)))"
    )
    folders = (repository, repository / "tests", repository / "tests/spinup")
    done = subprocess.run(
        [sys.executable, "-c", program],
        env=alone | {"PYTHONPATH": ":".join(map(str, folders))},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    for found in json.loads(done.stdout):
        assert found == pytest.approx(EXPECTED, rel=1e-10)
