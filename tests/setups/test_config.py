"""Configurations: typed, documented, and refused with a useful word when they are wrong."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest
import yaml

from dogcm.components import make
from dogcm.components.base import options_of
from dogcm.components.errors import ConfigError
from dogcm.components.registry import kinds_of, slot_of
from dogcm.setups.config import (
    Config,
    ForcingFile,
    OutputConfig,
    Section,
    StraitEdit,
    parameter_table,
)
from dogcm.setups.registry import check_config, experiments, load_config

NEEDS_INPUTS = {"mitgcm_4deg"}


def test_ready_experiments_load_and_are_described():
    known = experiments()
    assert {"global_4deg", "global_2deg", "gyre", "channel", "two_basin", "mitgcm_4deg"} <= set(
        known
    )
    assert all(text for text in known.values())
    for name in set(known) - NEEDS_INPUTS:
        assert load_config(name).name == name


def test_every_parameter_has_unit_and_meaning():
    for section in (Config, StraitEdit, ForcingFile, OutputConfig):
        for key, unit, _, meaning in parameter_table(section):
            assert unit and meaning, key


def test_parameter_table_reaches_every_leaf():
    def leaves(section, prefix=""):
        for name, info in section.model_fields.items():
            if isinstance(info.annotation, type) and issubclass(info.annotation, Section):
                yield from leaves(info.annotation, f"{prefix}{name}.")
            else:
                yield prefix + name
                if (slot := slot_of(info)) is not None and slot.default != "none":
                    filling = kinds_of(slot.slot)[slot.default]
                    yield from (f"{prefix}{name}.{o.name}" for o in options_of(filling))

    assert [row[0] for row in parameter_table()] == list(leaves(Config))


def test_a_written_configuration_reads_back_the_same(tmp_path):
    config = load_config("global_4deg", {"time.step": 1800})
    path = tmp_path / "config.yaml"
    path.write_text(yaml.safe_dump(config.model_dump(mode="json")))
    assert load_config(str(path)) == config


def test_yaml_file_builds_on_an_experiment(tmp_path):
    path = tmp_path / "mine.yaml"
    path.write_text("base: gyre\nname: mine\ngrid: {nx: 20}\n")
    mine, gyre = load_config(str(path)), load_config("gyre")
    assert (mine.name, mine.grid.nx, mine.grid.ny) == ("mine", 20, gyre.grid.ny)


@pytest.mark.parametrize(
    "text, key, value",
    [
        ("time.step=1800", "step", 1800.0),
        ("time.step=1.8e3", "step", 1800.0),
        ("time.step=18e2", "step", 1800.0),
        ("time.scheme=ab3", "scheme", make("time_scheme", "ab3")),
        ("time.free_surface=implicit", "free_surface", make("free_surface", "implicit")),
        (
            "time.free_surface.barotropic_steps=20",
            "free_surface",
            make("free_surface", {"kind": "split", "barotropic_steps": 20}),
        ),
    ],
    ids=str,
)
def test_set_reads_values_as_yaml_does(text, key, value):
    assert getattr(load_config("gyre", [text]).time, key) == value


def test_set_reaches_lists_and_tables():
    config = load_config(
        "gyre", ["grid.layers=[10, 20, 30]", "run.output={daily: {variables: [eta], every: 1}}"]
    )
    assert config.grid.layers == [10, 20, 30]
    assert list(config.run.output) == ["daily"] and config.run.output["daily"].variables == ["eta"]


def test_overrides_do_not_change_what_they_override():
    config = load_config("gyre")
    load_config(config, {"grid.nx": 99})
    assert config.grid.nx != 99


@pytest.mark.parametrize(
    "overrides, words",
    [
        ({"time.stp": 1}, ["time.stp", "did you mean time.step"]),
        (
            {"grid.lateral_viscosity": 1},
            ["grid.lateral_viscosity", "physics.friction.lateral_viscosity"],
        ),
        ({"gird.nx": 1}, ["gird", "did you mean grid"]),
        ({"time.step": "fast"}, ["time.step", "number", "fast"]),
        ({"time.step": -1}, ["time.step", "greater than", "-1"]),
        ({"time.step": float("nan")}, ["time.step", "finite"]),
        ({"time.scheme": "ab7"}, ["time.scheme", "ab3", "ab7"]),
        ({"grid.nx": 12.5}, ["grid.nx", "integer"]),
        ({"grid.nx": 0}, ["grid.nx", "greater than or equal to 1"]),
        ({"physics.rho0": 0}, ["physics.rho0", "greater than or equal to 100"]),
        ({"grid": 3}, ["grid", "write a kind"]),
        ({"time.step.x": 3}, ["time.step.x"]),
        ({"grid.layers": [10, -5]}, ["grid.layers", "thicker than 0"]),
        ({"run.precision": "float16"}, ["run.precision", "float64"]),
        ({"run.output": {"a": {"evry": 3}}}, ["evry"]),
        ({"run.output": {"../a": {}}}, ["run.output", "../a", "slashes"]),
        ({"run.output": {"a\0b": {}}}, ["run.output", "printable"]),
        ({"run.output": {"": {}}}, ["run.output", "printable"]),
        ({"run.output": {".a": {}}}, ["run.output", "dot in front"]),
        ({"run.output": {"n" * 250: {}}}, ["run.output", "200 bytes"]),
        ({"run.output": {"daily": {}, "Daily": {}}}, ["daily", "Daily", "case"]),
        ({"run.output": {"restart_1": {}}}, ["run.output.restart_1", "dogcm itself"]),
        ({"run.output": {"diagnostics": {}}}, ["run.output.diagnostics", "dogcm itself"]),
        ({"name": "../../x"}, ["name", "slashes"]),
        ({"name": ""}, ["name", "printable"]),
        ({"grid.nx": 10**12}, ["grid.nx", "100000"]),
        ({"grid.nz": 10**6}, ["grid.nz", "10000"]),
        ({"grid.layers": [1.0] * 20000}, ["grid.layers", "10000"]),
        ({"grid.dx": 1e-6}, ["grid.dx", "0.001"]),
        ({"initial.surface_temperature": 283}, ["initial.surface_temperature", "60", "283"]),
        ({"initial.deep_temperature": -500}, ["initial.deep_temperature", "-5"]),
        ({"initial.salinity": 1e6}, ["initial.salinity", "100"]),
        ({"physics.rho0": 1e-300}, ["physics.rho0", "100"]),
        ({"physics.gravity": 1e300}, ["physics.gravity", "10000"]),
        ({"time.step": 1e-9}, ["time.step", "0.001"]),
        ({"bathymetry.source": "file"}, ["bathymetry.path"]),
        ({"bathymetry.source": "starter"}, ["latlon"]),
    ],
    ids=lambda x: str(next(iter(x))) if isinstance(x, dict) else "",
)
def test_wrong_values_are_refused_by_key(overrides, words):
    with pytest.raises(ConfigError) as error:
        load_config("gyre", overrides)
    for word in words:
        assert word in str(error.value)


@pytest.mark.parametrize("lat", [(10, -10), (-95, 10), (-80, 91)])
def test_impossible_latitudes_are_refused(lat):
    with pytest.raises(ConfigError, match="grid.lat"):
        load_config("two_basin", {"grid.lat": lat})


def test_unknown_experiment_gets_a_suggestion():
    with pytest.raises(ConfigError, match="did you mean.*global_4deg"):
        load_config("global_4dg")


def test_set_without_a_value_says_how():
    with pytest.raises(ConfigError, match="key=value"):
        load_config("gyre", ["time.step"])


@pytest.mark.parametrize(
    "text, words",
    [
        ("grid: [1", "not valid YAML"),
        ("just words", "holds no configuration"),
        ("grid: {nx: ten}", "grid.nx"),
        ("base: 3", "base is 3"),
        ("base: [gyre]", "base is .'gyre'."),
        ("base: {a: 1}", "base is"),
        ("base: nothing_like_it", "unknown experiment"),
        ("1: {nx: 3}", "1: a key must be a text"),
        ("null: 3", "a key must be a text"),
        ("grid: {kind: latlon, 3: 4}", "grid.3: a key must be a text"),
        ("grid: {? [1, 2] : 4}", "not valid YAML"),
        ("grid: " + "[" * 3000 + "]" * 3000, "nested too deeply"),
        ("name: 2020-13-45", "not valid YAML"),
    ],
    ids=lambda text: text[:20],
)
def test_unusable_yaml_files(tmp_path, text, words):
    path = tmp_path / "mine.yaml"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(ConfigError, match=words):
        load_config(str(path))


@pytest.mark.parametrize("chain", [("a",), ("a", "b"), ("a", "b", "c")])
def test_a_base_that_comes_back_to_itself_is_refused(tmp_path, monkeypatch, chain):
    monkeypatch.chdir(tmp_path)
    for name, base in zip(chain, (*chain[1:], chain[0])):
        (tmp_path / f"{name}.yaml").write_text(f"base: ./{base}.yaml\n")
    with pytest.raises(ConfigError, match="itself"):
        load_config("a.yaml")


def test_a_year_of_seven_days_does_not_hold_twelve_months():
    with pytest.raises(ConfigError, match="forcing.year 7 days"):
        load_config("global_4deg", {"forcing.year": 7})


def test_files_of_another_encoding_are_refused(tmp_path):
    path = tmp_path / "mine.yaml"
    path.write_bytes("base: gyre\ndescription: Nordatlantik, März\n".encode("latin-1"))
    with pytest.raises(ConfigError, match="not UTF-8"):
        load_config(str(path))
    path.write_bytes("base: gyre\ndescription: Nordatlantik, März\n".encode())
    assert load_config(str(path)).description == "Nordatlantik, März"


def test_units_are_shown_in_any_locale(tmp_path):
    """Text is UTF-8 whatever the locale says, on the screen and in files."""
    path = tmp_path / "mine.yaml"
    path.write_text("base: gyre\ndescription: März → Mai\n", encoding="utf-8")
    command = [sys.executable, "-m", "dogcm", "show", str(path)]
    environment = {**os.environ, "LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
    done = subprocess.run(command, capture_output=True, env=environment, timeout=120)
    assert done.returncode == 0, done.stderr
    assert "März → Mai" in done.stdout.decode("utf-8")


@pytest.mark.parametrize("key", ["parameters", "physics.friction"])
def test_the_last_word_on_a_parameter_counts(tmp_path, key):
    """The section ``parameters`` is a shorthand, not a stronger word."""
    assert load_config("channel").parameters["lateral_viscosity"] == 8e3
    name = f"{key}.lateral_viscosity"
    assert load_config("channel", {name: 2e4}).parameters["lateral_viscosity"] == 2e4
    both = {"parameters.lateral_viscosity": 1e4, "physics.friction.lateral_viscosity": 2e4}
    assert load_config("channel", both).parameters["lateral_viscosity"] == 2e4
    turned = dict(reversed(both.items()))
    assert load_config("channel", turned).parameters["lateral_viscosity"] == 1e4
    whole = {"physics.friction": {"kind": "stress", "lateral_viscosity": 2e4}}
    assert load_config("channel", whole).parameters["lateral_viscosity"] == 2e4
    child = tmp_path / "child.yaml"
    child.write_text(yaml.safe_dump({"base": "channel", **nested(name, 2e4)}))
    assert load_config(str(child)).parameters["lateral_viscosity"] == 2e4


def nested(key: str, value) -> dict:
    first, _, rest = key.partition(".")
    return {first: nested(rest, value) if rest else value}


def test_a_parameter_given_twice_in_one_file_is_refused(tmp_path):
    path = tmp_path / "mine.yaml"
    tree = nested("parameters.lateral_viscosity", 1.0)
    path.write_text(yaml.safe_dump(tree | nested("physics.friction.lateral_viscosity", 2.0)))
    with pytest.raises(ConfigError, match="lateral_viscosity is given twice"):
        load_config(str(path))


def test_missing_yaml_file(tmp_path):
    with pytest.raises(ConfigError, match="no such file"):
        load_config(str(tmp_path / "none.yaml"))


def test_several_errors_are_told_together():
    with pytest.raises(ConfigError) as error:
        check_config({"grid": {"nx": "a", "ny": "b"}})
    assert "grid.nx" in str(error.value) and "grid.ny" in str(error.value)


def test_what_is_given_is_not_changed():
    given = {"name": "mine", "time": {"step": 3600}, "run": {"output": {}}}
    diagnostics = {"every": 5.0}
    changes = {"time.step": 1800, "run.diagnostics": diagnostics, "run.diagnostics.every": 10.0}
    found = load_config(given, changes)
    assert found.time.step == 1800 and found.run.diagnostics.every == 10.0
    assert given == {"name": "mine", "time": {"step": 3600}, "run": {"output": {}}}
    assert diagnostics == {"every": 5.0}
