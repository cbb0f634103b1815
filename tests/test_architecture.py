"""The rooms of the house: imports point downwards only, and one door leads to MPI."""

from __future__ import annotations

import ast
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "tools"))
import measure_house as house

PACKAGE = Path(__file__).resolve().parent.parent / "dogcm"
# From the bottom up; rooms of one line may import each other.
LEVELS = [
    {"components"},
    {"lowering"},
    {"decomp"},
    {"halo"},
    {"field"},
    {"operators"},
    {"io.regrid", "io.whole"},
    {"grid"},
    {"dynamics", "physics", "corrector", "tracers"},
    {"timestepping"},
    {"io"},
    {"planar"},
    {"diagnostics"},
    {"plots"},
    {"setups"},
    {"simulation"},
    {"learning", "targets", "evaluation", "spinup"},
    {"verification"},
    {"cli"},
    {"__main__"},
]
LEVEL = {room: number for number, rooms in enumerate(LEVELS) for room in rooms}
MESSAGE_LIBRARIES = {"mpi4jax", "mpi4py"}
FILES = sorted(PACKAGE.rglob("*.py"))


def module_name(path: Path) -> str:
    parts = path.relative_to(PACKAGE.parent).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def imports(
    source: str, module: str = "dogcm.x", is_package: bool = False
) -> list[tuple[int, str]]:
    """Every imported module with its line, also those imported inside functions or by name."""
    found = []
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            found += [(node.lineno, a.name) for a in node.names]
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            if node.level:
                above = module.split(".")[: len(module.split(".")) - node.level + is_package]
                base = ".".join([*above, *([node.module] if node.module else [])])
            # `from dogcm import halo` names the room in the second half.
            found += [
                (node.lineno, f"{base}.{a.name}" if base == "dogcm" else base) for a in node.names
            ]
        elif isinstance(node, ast.Call) and ast.unparse(node.func).endswith("import_module"):
            if node.args and isinstance(node.args[0], ast.Constant):
                found.append((node.lineno, str(node.args[0].value)))
    return found


def room(name: str) -> str | None:
    parts = name.split(".")
    # Averages of input data, which the grid needs, and whole files; the rest of io writes states.
    if parts[:2] == ["dogcm", "io"] and parts[2:3] in (["regrid"], ["whole"]):
        return ".".join(parts[1:3])
    return parts[1] if parts[0] == "dogcm" and len(parts) > 1 else None


def upward(path: Path) -> list[str]:
    """Imports of rooms above the file's own."""
    module = module_name(path)
    own = room(module)
    if own is None:
        return []  # the package's front door hands out names lazily
    wrong = []
    for line, name in imports(path.read_text(), module, path.name == "__init__.py"):
        other = room(name)
        if other in LEVEL and LEVEL[other] > LEVEL[own]:
            wrong.append(
                f"{path.relative_to(PACKAGE.parent)}:{line} imports {name}: {other} is above {own}"
            )
    return sorted(set(wrong))


def test_every_room_has_its_level():
    rooms = {room(module_name(p)) for p in FILES} - {None}
    assert rooms <= set(LEVEL), f"give {sorted(rooms - set(LEVEL))} a place in LEVELS"
    assert len(FILES) > 20


@pytest.mark.parametrize("path", FILES, ids=module_name)
def test_imports_point_downwards(path):
    assert not upward(path)


@pytest.mark.parametrize("path", FILES, ids=module_name)
def test_one_door_to_mpi(path):
    if room(module_name(path)) in ("halo", "decomp"):
        return
    found = [
        (line, n) for line, n in imports(path.read_text()) if n.split(".")[0] in MESSAGE_LIBRARIES
    ]
    assert not found, "mpi4jax and mpi4py are imported in dogcm/halo and dogcm/decomp only"


def test_no_circle_between_files():
    """Also not by imports inside functions; what is imported for type checkers alone is free."""
    known = house.files(PACKAGE)
    edges = {name: house.imports(path, known) for name, path in known.items()}
    assert sum(map(len, edges.values())) > 500
    assert house.circles(edges) == []


def test_a_circle_is_found():
    edges = {"a": {"b"}, "b": {"c"}, "c": {"a"}, "d": {"a"}, "e": set()}
    assert house.circles(edges) == [["a", "b", "c"]]


def test_no_room_is_an_attic():
    sizes = house.rooms(house.files(PACKAGE))
    assert max(sizes.values()) <= 0.15 * sum(sizes.values()), sizes


def test_mpi4jax_has_a_single_importer():
    users = [
        module_name(p)
        for p in FILES
        if "mpi4jax" in {n.split(".")[0] for _, n in imports(p.read_text())}
    ]
    assert users == ["dogcm.halo.mpi"]


def test_message_libraries_are_never_imported_at_the_top_of_a_serial_path():
    """One rank needs no MPI library: outside halo.mpi every import of one sits inside a
    function."""
    for path in FILES:
        if module_name(path) == "dogcm.halo.mpi":
            continue
        top = [
            n
            for n in ast.parse(path.read_text()).body
            if isinstance(n, (ast.Import, ast.ImportFrom))
        ]
        names = [name for node in top for _, name in imports(ast.unparse(node))]
        assert not {n.split(".")[0] for n in names} & MESSAGE_LIBRARIES, path


@pytest.mark.parametrize(
    "text, says",
    [
        ("from dogcm.simulation.model import Model", "dogcm.simulation.model"),
        ("from dogcm import halo", "dogcm.halo"),
        ("def f():\n    import dogcm.cli", "dogcm.cli"),
        ("from importlib import import_module\nimport_module('mpi4jax')", "mpi4jax"),
        ("from ..grid import geometry", "dogcm.grid"),
    ],
)
def test_the_reader_of_imports_finds_them(text, says):
    assert says in [n for _, n in imports(text, "dogcm.dynamics.x")]
