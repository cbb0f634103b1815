"""The script behind ``make env`` refuses a place where it cannot work before it installs."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

from dogcm.decomp.binding import looks_like_mpi_launch

TOOLS = Path(__file__).resolve().parents[2] / "tools"


@pytest.mark.skipif(looks_like_mpi_launch(), reason="starts a process of its own")
def test_a_path_with_spaces_is_refused_at_once(alone, tmp_path):
    folder = tmp_path / "Müllers Ozean"
    shutil.copytree(TOOLS, folder / "tools")
    tried = subprocess.run(
        [str(folder / "tools" / "setup_env.sh"), "run"],
        env={k: v for k, v in alone.items() if k != "VENV"},
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert tried.returncode == 1, tried.stderr
    for words in ("has a space", "Müllers Ozean/.venv", "VENV=", "DOGCM_MPI=none"):
        assert words in tried.stderr
    assert [p.name for p in folder.iterdir()] == ["tools"]
