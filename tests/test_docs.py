"""The docs say what the code does."""

from __future__ import annotations

import importlib.util
import re
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).resolve().parent.parent


def test_parameter_reference_is_up_to_date():
    spec = importlib.util.spec_from_file_location(
        "make_parameters", ROOT / "docs" / "make_parameters.py"
    )
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    assert (ROOT / "docs" / "parameters.md").read_text() == module.page(), (
        "run: python docs/make_parameters.py"
    )


@pytest.mark.parametrize(
    "page", sorted([*ROOT.glob("*.md"), *(ROOT / "docs").glob("*.md")]), ids=lambda p: p.name
)
def test_links_and_pictures_exist(page):
    for target in re.findall(r"\]\(([^)#]+)\)", page.read_text()):
        if "://" not in target:
            assert (page.parent / target).exists(), f"{page.name} points to {target}"


def test_navigation_lists_every_page():
    def paths(entries):
        for entry in entries:
            for value in entry.values():
                yield from [value] if isinstance(value, str) else paths(value)

    docs = ROOT / "docs"
    listed = list(paths(yaml.safe_load((ROOT / "mkdocs.yml").read_text())["nav"]))
    assert sorted(listed) == sorted(str(p.relative_to(docs)) for p in docs.rglob("*.md"))


def test_the_tutorials_experiment_is_a_valid_configuration(tmp_path):
    from dogcm.setups.registry import load_config

    text = (ROOT / "docs" / "tutorial.md").read_text()
    path = tmp_path / "mine.yaml"
    path.write_text(text.split("```yaml")[1].split("```")[0])
    config = load_config(path)
    assert config.name == "strong_westerlies" and config.grid.nx == 90


@pytest.mark.slow
def test_the_closure_of_the_docs_runs(capsys):
    """The page's program as it stands; both parts, one after the other."""
    import jax.numpy as jnp

    text = (ROOT / "docs" / "write_your_own_closure.md").read_text()
    program, check = (part.split("```")[0] for part in text.split("```python")[1:])
    names: dict = {}
    exec(compile(program, "write_your_own_closure.md", "exec"), names)
    slope = names["gradient"]["strain_coefficient"]
    assert jnp.isfinite(slope) and slope < 0, "diffusion lowers the sum of squares"
    exec(compile(check, "write_your_own_closure.md", "exec"), names)
    assert names["report"].passed, str(names["report"])
