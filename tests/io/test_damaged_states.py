"""Nonsensical configurations, damaged restarts and damaged checkpoints: refused by a message, or
the same as if nothing had happened. Each draw is told by its seed and number."""

from __future__ import annotations

import collections
import copy
import json
import string

import jax
import jax.numpy as jnp
import netCDF4
import numpy as np
import pytest
import yaml

import dogcm
from dogcm.components.errors import ConfigError
from dogcm.decomp import SerialCommunicator
from dogcm.io.restart import RestartError, read_restart, write_restart
from dogcm.learning.saving import CheckpointError, load_checkpoint, save_checkpoint
from dogcm.setups.registry import check_config, load_config

SMALL = {"grid.nx": 12, "grid.ny": 10, "grid.nz": 2, "time.step": 3600}
NONSENSE = [
    None, True, 0, -1, 10**12, 1e308, -1e308, float("nan"), float("inf"), "", " ", "none", "../x",
    "a\0b", "é", "1e3", [], [[]], {}, {"kind": "none"}, {"kind": 3}, {1: 2}, {"a": {"b": {"c": 0}}},
    list(range(50)), "x" * 5000, [None], [1, "a"], {"kind": "no.module:Class"}, {"kind": "os:"},
]  # fmt: skip


# ---- configurations
def places(tree, prefix=()):
    """All paths in a tree."""
    for key, value in tree.items():
        yield (*prefix, key)
        if isinstance(value, dict):
            yield from places(value, (*prefix, key))


def at(tree, path):
    for key in path:
        tree = tree[key]
    return tree


def spoil(rng, tree: dict) -> dict:
    """One to three changes at random places."""
    tree = copy.deepcopy(tree)
    for _ in range(rng.integers(1, 4)):
        path = list(places(tree))[rng.integers(len(list(places(tree))))]
        parent, key, how = at(tree, path[:-1]), path[-1], rng.integers(5)
        if how == 0:
            del parent[key]
        elif how == 1:
            letters = "".join(rng.choice(list(string.ascii_letters), 6))
            parent[[key + "s", letters, 7, None, ""][rng.integers(5)]] = parent.pop(key)
        elif how == 2:
            other = list(places(tree))
            parent[key] = copy.deepcopy(at(tree, other[rng.integers(len(other))]))
        else:
            parent[key] = copy.deepcopy(NONSENSE[rng.integers(len(NONSENSE))])
    return tree


def spoil_text(rng, text: str) -> str:
    """Characters left out, doubled and put in."""
    signs = list(text)
    for _ in range(rng.integers(1, 8)):
        n = int(rng.integers(len(signs)))
        signs[n] = ["", signs[n] * 2, "{", ":", "\t", "&", "\n", "[", "#", "\0"][rng.integers(10)]
    return "".join(signs)


@pytest.mark.parametrize("seed", range(4))
def test_nonsensical_configurations(tmp_path, seed):
    """500 in all; what is accepted means the same when it is written and read again."""
    came = collections.Counter()
    base = load_config(["channel", "global_4deg", "gyre", "two_basin"][seed])
    whole = base.model_dump(mode="json")
    for n in range(125):
        rng = np.random.default_rng([seed, n])
        try:
            if n % 5 == 0:
                path = tmp_path / "mine.yaml"
                path.write_text(spoil_text(rng, base.to_yaml()), encoding="utf-8")
                found = load_config(str(path))
            else:
                found = check_config(spoil(rng, whole))
        except ConfigError as error:
            assert str(error).strip() and len(str(error)) < 20000
            came["refused"] += 1
        except Exception as error:
            raise AssertionError(f"seed {seed}, draw {n}") from error
        else:
            again = check_config(yaml.safe_load(found.to_yaml()))
            assert again.model_dump(mode="json") == found.model_dump(mode="json"), n
            came["accepted"] += 1
    assert came["refused"] > 60 and came["accepted"] > 2, came


# ---- restarts
@pytest.fixture(scope="module")
def model():
    return dogcm.Model("channel", SMALL, comm=SerialCommunicator())


def damage_restart(rng, path) -> None:
    """One change to the file that netCDF itself can make, or bytes cut off its end."""
    how = int(rng.integers(6))
    if how == 0:
        content = path.read_bytes()
        path.write_bytes(content[: int(rng.integers(len(content)))])
        return
    with netCDF4.Dataset(path, "a") as data:
        names, attributes = list(data.variables), data.ncattrs()
        name, attribute = (x[rng.integers(len(x))] for x in (names, attributes))
        if how == 1:
            data.renameVariable(name, f"{name}_")
        elif how == 2:
            v = data[name]
            index = tuple(int(rng.integers(s)) for s in v.shape)
            v.set_auto_maskandscale(False)
            v[index] = [np.nan, 1e30, v[index] + 1e-9, -v[index], 0.0][rng.integers(5)]
        elif how == 3:
            data.delncattr(attribute)
        elif how == 4:
            data.setncattr(attribute, [0, -1.5, "x", np.nan, "nan"][rng.integers(5)])
        else:
            data[name].setncattr("sha256", "0" * 64)


def read_or_refused(read, refusal: type[Exception], path, draw: int):
    """What ``read`` gives, None where it is refused by the name of the file."""
    try:
        return read(path)
    except refusal as error:
        assert path.name in str(error)
        return None
    except Exception as error:
        raise AssertionError(f"draw {draw}") from error


def bits(state) -> list[bytes]:
    return [np.asarray(x).tobytes() for x in jax.tree.leaves(state)]


@pytest.mark.filterwarnings("ignore")
def test_damaged_restarts(model, tmp_path):
    """300 files: refused, or the state that was written."""
    whole = write_restart(tmp_path / "whole.nc", model).read_bytes()
    right = bits(model.state)
    came = collections.Counter()
    for n in range(300):
        path = tmp_path / "restart.nc"
        path.write_bytes(whole)
        damage_restart(np.random.default_rng([7, n]), path)
        state = read_or_refused(lambda p: read_restart(p, model), RestartError, path, n)
        came["refused" if state is None else "same"] += 1
        assert state is None or bits(state) == right, f"draw {n}: another state"
    assert came["refused"] > 150 and came["same"] > 5, came


# ---- checkpoints
def test_damaged_checkpoints(model, tmp_path):
    """300 files with bytes changed, cut off or put in: refused, or the same weights."""
    rng = np.random.default_rng(3)
    tree = {"weights": jnp.asarray(rng.normal(size=(5, 7))), "step": jnp.asarray(3, jnp.int64)}
    identity = {"recipe": "r", "network": "n"}
    path = tmp_path / "checkpoint_00000001.npz"
    save_checkpoint(path, tree, {"identity": identity}, model.decomposition)
    whole, right = path.read_bytes(), bits(tree)
    came = collections.Counter()
    for n in range(300):
        rng = np.random.default_rng([9, n])
        content = bytearray(whole)
        for _ in range(rng.integers(1, 4)):
            place = int(rng.integers(len(content)))
            if n % 3 == 0:
                content[place] = int(rng.integers(256))
            elif n % 3 == 1:
                del content[place : place + int(rng.integers(1, 200))]
                content = content or bytearray(b"\0")
            else:
                content[place:place] = rng.bytes(int(rng.integers(1, 50)))
        path.write_bytes(content)
        load = lambda p: load_checkpoint(p, tree, identity, model.decomposition)
        read = read_or_refused(load, CheckpointError, path, n)
        came["refused" if read is None else "same"] += 1
        if read is not None:
            assert bits(read[0]) == right, f"draw {n}: other weights"
            assert json.dumps(read[1]["identity"]) == json.dumps(identity)
    assert came["refused"] > 200, came
