"""Configurations: typed, documented, and refused with a useful word when they are wrong."""

from __future__ import annotations

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
        ({"time.step": -1}, ["time.step", "greater than 0", "-1"]),
        ({"time.step": float("nan")}, ["time.step", "finite"]),
        ({"time.scheme": "ab7"}, ["time.scheme", "ab3", "ab7"]),
        ({"grid.nx": 12.5}, ["grid.nx", "integer"]),
        ({"grid.nx": 1}, ["grid.nx", "2"]),
        ({"physics.rho0": 0}, ["physics.rho0", "greater than 0"]),
        ({"grid": 3}, ["grid", "write a kind"]),
        ({"time.step.x": 3}, ["time.step.x"]),
        ({"grid.layers": [10, -5]}, ["grid.layers", "thicker than 0"]),
        ({"run.precision": "float16"}, ["run.precision", "float64"]),
        ({"run.output": {"a": {"evry": 3}}}, ["evry"]),
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
    ],
)
def test_unusable_yaml_files(tmp_path, text, words):
    path = tmp_path / "mine.yaml"
    path.write_text(text)
    with pytest.raises(ConfigError, match=words):
        load_config(str(path))


def test_missing_yaml_file(tmp_path):
    with pytest.raises(ConfigError, match="no such file"):
        load_config(str(tmp_path / "none.yaml"))


def test_several_errors_are_told_together():
    with pytest.raises(ConfigError) as error:
        check_config({"grid": {"nx": "a", "ny": "b"}})
    assert "grid.nx" in str(error.value) and "grid.ny" in str(error.value)
