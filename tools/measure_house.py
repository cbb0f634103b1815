"""``python tools/measure_house.py [CHECKOUT]``: the house in numbers.

Circles between files, the share of each room in the lines, the longest functions, functions with
many parameters, and how much is documented and annotated.
"""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterator
from pathlib import Path

MANY = 8  # parameters
LONG = 40  # lines


def files(package: Path) -> dict[str, Path]:
    """The package's files by module name."""
    found = {}
    for path in sorted(package.rglob("*.py")):
        parts = path.relative_to(package.parent).with_suffix("").parts
        found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return found


def imports(path: Path, known: dict[str, Path]) -> set[str]:
    """The package's modules that a file imports at its top or inside functions; not what it imports
    for type checkers alone."""
    found = set()
    for node in _walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {a.name for a in node.names if a.name in known}
        elif isinstance(node, ast.ImportFrom) and node.module:
            for a in node.names:
                inner = f"{node.module}.{a.name}"
                found.add(inner if inner in known else node.module)
    return {m for m in found if m in known}


def _walk(node: ast.AST) -> Iterator[ast.AST]:
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.If) and "TYPE_CHECKING" in ast.unparse(child.test):
            continue
        yield child
        yield from _walk(child)


def circles(edges: dict[str, set[str]]) -> list[list[str]]:
    """Groups of files that import each other in a circle (Tarjan's strongly connected parts)."""
    order: dict[str, int] = {}
    low: dict[str, int] = {}
    stack: list[str] = []
    found: list[list[str]] = []

    def visit(name: str) -> None:
        order[name] = low[name] = len(order)
        stack.append(name)
        for other in edges[name]:
            if other not in order:
                visit(other)
                low[name] = min(low[name], low[other])
            elif other in stack:
                low[name] = min(low[name], order[other])
        if low[name] == order[name]:
            part = stack[stack.index(name) :]
            del stack[stack.index(name) :]
            if len(part) > 1 or name in edges[name]:
                found.append(sorted(part))

    for name in edges:
        if name not in order:
            visit(name)
    return found


def documented_methods(known: dict[str, Path]) -> set[str]:
    """Names of methods that some class documents: what overrides them inherits the text."""
    found = set()
    for path in known.values():
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.ClassDef):
                methods = [m for m in node.body if isinstance(m, ast.FunctionDef)]
                found |= {m.name for m in methods if ast.get_docstring(m) is not None}
    return found


def functions(path: Path, inherited: set[str]) -> Iterator[tuple[str, int, int, bool, bool]]:
    """Name, lines, parameters, whether documented and whether wholly annotated, of each.

    Args:
        inherited: see :func:`documented_methods`.
    """
    tree = ast.parse(path.read_text(encoding="utf-8"))
    derived = {
        id(m) for c in ast.walk(tree) if isinstance(c, ast.ClassDef) and c.bases for m in c.body
    }
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            a = node.args
            own = [x for x in (*a.posonlyargs, *a.args) if x.arg not in ("self", "cls")]
            own += a.kwonlyargs
            annotated = all(x.annotation is not None for x in own)
            lines = node.end_lineno - node.lineno + 1
            by_base = id(node) in derived and node.name in inherited
            documented = by_base or ast.get_docstring(node) is not None
            yield node.name, lines, len(own), documented, annotated


def rooms(known: dict[str, Path]) -> dict[str, int]:
    """Lines by room."""
    total: dict[str, int] = {}
    for name, path in known.items():
        parts = name.split(".")
        room = parts[1] if len(parts) > 1 else "(top)"
        lines = len(path.read_text(encoding="utf-8").splitlines())
        total[room] = total.get(room, 0) + lines
    return total


def main() -> None:
    root = Path(sys.argv[1] if len(sys.argv) > 1 else Path(__file__).resolve().parent.parent)
    known = files(root / "dogcm")
    found = circles({name: imports(path, known) for name, path in known.items()})
    sizes = rooms(known)
    whole = sum(sizes.values())
    inherited = documented_methods(known)
    every = [(f"{m}.{f[0]}", *f[1:]) for m, p in known.items() for f in functions(p, inherited)]
    public = [f for f in every if not f[0].rpartition(".")[2].startswith("_")]
    share = lambda count, among: f"{100 * count / max(len(among), 1):.0f} %"
    print(f"files {len(known)}, lines {whole}, functions {len(every)}")
    print(f"circles between files: {len(found)}")
    for part in found:
        print("  " + " <-> ".join(part))
    print("rooms by share of the lines:")
    for room, lines in sorted(sizes.items(), key=lambda x: -x[1]):
        print(f"  {room:14s} {lines:6d}  {100 * lines / whole:4.1f} %")
    print("longest functions:")
    for name, lines, *_ in sorted(every, key=lambda f: -f[1])[:10]:
        print(f"  {lines:4d} {name}")
    print(f"functions of more than {LONG} lines: {sum(f[1] > LONG for f in every)}")
    many = sorted((f for f in every if f[2] > MANY), key=lambda f: -f[2])
    print(f"functions with more than {MANY} parameters: {len(many)}")
    for name, _, count, *_ in many:
        print(f"  {count:3d} {name}")
    print(f"public functions documented: {share(sum(f[3] for f in public), public)}")
    print(f"functions wholly annotated: {share(sum(f[4] for f in every), every)}")


if __name__ == "__main__":
    main()
