"""Every script of examples/ runs as it stands; like those of training/ it uses public names."""

from __future__ import annotations

import ast
import os
import runpy
import subprocess
import sys
from importlib import import_module
from pathlib import Path

import pytest

import dogcm
from dogcm.decomp.binding import looks_like_mpi_launch

ROOT = Path(__file__).resolve().parents[2]
STUDIES = sorted((ROOT / "training").rglob("*.py"))
SCRIPTS = sorted((ROOT / "examples").glob("*.py"))
SAYS = {
    "callbacks": "ended after",
    "coupling": "ocean",
    "double_gyre": "title:        double_gyre",
    "own_closure": "sluggish_strength: 0.02",
    "own_network": "after",
    "own_tracer": "0.9",
    "regional": "mediterranean after 10.0 days",
    "restart": "the same bits: True",
    "sensitivity": "largest sensitivity",
    "twin": "vertical diffusivity 0.002 m2/s",
}
LONG = {"callbacks", "double_gyre"}
# What they show is also in the tests of learning and of plug-ins.
SLOW = {
    "callbacks",
    "coupling",
    "double_gyre",
    "own_network",
    "own_tracer",
    "regional",
    "sensitivity",
    "twin",
}


def test_every_script_is_known():
    assert {p.stem for p in SCRIPTS} == set(SAYS)


@pytest.mark.skipif(looks_like_mpi_launch(), reason="run on one rank")
@pytest.mark.parametrize(
    "name",
    [
        pytest.param(
            n,
            marks=[pytest.mark.optimised] * (n in LONG) + [pytest.mark.slow] * (n in SLOW),
        )
        for n in sorted(set(SAYS) - {"restart"})
    ],
)
def test_runs(name, tmp_path, monkeypatch, capsys):
    """In this process, which has loaded all that scripts import."""
    monkeypatch.chdir(tmp_path)
    runpy.run_path(str(ROOT / "examples" / f"{name}.py"), run_name="__main__")
    assert SAYS[name] in capsys.readouterr().out


@pytest.mark.slow
@pytest.mark.skipif(looks_like_mpi_launch(), reason="run on one rank")
def test_runs_as_a_program(tmp_path, alone):
    script = ROOT / "examples" / "restart.py"
    environment = {**alone, "PYTHONPATH": os.pathsep.join([str(ROOT), *sys.path])}
    ran = subprocess.run(
        [sys.executable, script],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert ran.returncode == 0, ran.stderr[-3000:]
    assert SAYS["restart"] in ran.stdout


def test_the_double_gyre_is_short():
    lines = (ROOT / "examples" / "double_gyre.py").read_text().splitlines()
    assert len(lines) <= 25


def is_public(module: str, name: str) -> bool:
    """Whether ``dogcm`` hands this out, or a room's front door: what its ``__init__`` lists."""
    if module == "dogcm":
        room = ROOT / "dogcm" / name / "__init__.py"
        return name in dogcm.__all__ or (room.is_file() and "__all__" in room.read_text())
    found = import_module(module)
    same = name in dogcm.__all__ and getattr(dogcm, name) is getattr(found, name)
    return same or (hasattr(found, "__path__") and name in getattr(found, "__all__", ()))


def deeper(source: str) -> list[str]:
    """What a script takes from the package that is not public."""
    found = []
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            found += [a.name for a in node.names if a.name.startswith("dogcm.")]
        elif isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] == "dogcm":
            names = [a.name for a in node.names]
            found += [f"{node.module}.{n}" for n in names if not is_public(node.module, n)]
        elif isinstance(node, ast.Attribute) and ast.unparse(node.value) == "dogcm":
            public = node.attr.startswith("__") or is_public("dogcm", node.attr)
            found += [] if public else [f"dogcm.{node.attr}"]
    return found


@pytest.mark.parametrize(
    "path",
    [*SCRIPTS, *sorted((ROOT / "examples" / "plugins").glob("*.py")), *STUDIES],
    ids=lambda p: str(p.relative_to(ROOT).with_suffix("")),
)
def test_only_public_names_are_used(path):
    """``import dogcm`` and ``from dogcm import operators``, at most a room's front door."""
    assert deeper(path.read_text()) == []


def test_deeper_names_are_found():
    source = "import dogcm.field\nfrom dogcm.field import Field, zeros_like\ndogcm.Model\n"
    source += "from dogcm.targets import Targets, windows\ndogcm.Modell"
    found = ["dogcm.field", "dogcm.field.zeros_like", "dogcm.targets.windows", "dogcm.Modell"]
    assert sorted(deeper(source)) == sorted(found)


def test_every_public_name_is_there():
    for name in dogcm.__all__:
        assert getattr(dogcm, name) is not None
