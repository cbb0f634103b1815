"""Compiled programs on disk: used again, damaged, full, shared by processes and modes."""

import os
import subprocess
import sys

import jax
import pytest

from dogcm.lowering import programs

# Prints how many programs were compiled and how many were read, and a value.
PROGRAM = """
import jax, jax.numpy as jnp
import dogcm
dogcm.configure()
from dogcm.lowering.programs import keep_programs
found = {"cache_hits": 0, "cache_misses": 0}
def count(event, **_):
    name = event.rpartition("/")[-1]
    if name in found:
        found[name] += 1
jax.monitoring.register_event_listener(count)
print(keep_programs())
x = jax.jit(lambda x: jnp.sum(jnp.sin(x) * jnp.arange(5.0)))(jnp.ones(5))
print(found["cache_misses"], found["cache_hits"], float(x).hex())
"""


def run(folder, **environment):
    """The folder that was chosen, what was compiled, what was read, and the value."""
    others = ("JAX_", "DOGCM_", "XLA_")
    outside = {k: v for k, v in os.environ.items() if not k.startswith(others)}
    kept = {"JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0", "DOGCM_CACHE": str(folder)}
    ran = subprocess.run(
        [sys.executable, "-W", "error", "-c", PROGRAM],
        env=outside | kept | environment,
        capture_output=True,
        text=True,
    )
    assert ran.returncode == 0, ran.stderr
    place, numbers = ran.stdout.splitlines()
    compiled, read, value = numbers.split()
    return place, int(compiled), int(read), value


def test_a_second_process_compiles_nothing(tmp_path):
    place, compiled, read, value = run(tmp_path)
    assert place.startswith(str(tmp_path / "programs")) and compiled > 0 and read == 0
    assert run(tmp_path) == (place, 0, compiled, value)

    # A damaged entry is compiled and kept anew.
    files = sorted((tmp_path / "programs").glob("*/*.program"))
    for file, damage in zip(files, [lambda b: b[:50], lambda b: b[:-9] + b"x" + b[-8:]] * 9):
        file.write_bytes(damage(file.read_bytes()))
    assert run(tmp_path) == (place, compiled, 0, value)
    assert run(tmp_path) == (place, 0, compiled, value)

    # A program of another mode is another program.
    assert run(tmp_path, DOGCM_REPRODUCIBLE="0")[1:3] == (compiled, 0)
    assert not list(tmp_path.rglob("*.partial"))


def test_folders_that_are_not_used(tmp_path):
    assert run(tmp_path, DOGCM_CACHE="off")[:3] == ("None", 0, 0)
    others = tmp_path / "jax"
    place, *_ = run(tmp_path, JAX_COMPILATION_CACHE_DIR=str(others))
    assert place == "None" and any(others.iterdir()) and not (tmp_path / "programs").exists()


@pytest.fixture
def no_cache():
    """Of JAX's, while a test lasts."""
    before = jax.config.jax_compilation_cache_dir
    jax.config.update("jax_compilation_cache_dir", None)
    yield
    jax.config.update("jax_compilation_cache_dir", before)


def test_nobody_else_may_write_what_is_run(tmp_path, monkeypatch, no_cache):
    monkeypatch.setenv("DOGCM_CACHE", str(tmp_path))
    folder = tmp_path / "programs" / programs._machine()
    folder.mkdir(parents=True)
    folder.chmod(0o777)
    with pytest.warns(UserWarning, match="can be written by others"):
        assert programs.keep_programs() is None


def test_the_longest_unused_go_first(tmp_path):
    for number in range(4):
        programs.write_entry(tmp_path, str(number), bytes(1000), limit=3200)
        os.utime(programs._file(tmp_path, str(number)), (number, number))
    assert programs.read_entry(tmp_path, "0") is None
    assert programs.read_entry(tmp_path, "1") == bytes(1000)
    programs.write_entry(tmp_path, "4", bytes(1000), limit=3200)
    # 1 was used meanwhile.
    assert programs.read_entry(tmp_path, "2") is None
    assert programs.read_entry(tmp_path, "1") is not None
    programs.write_entry(tmp_path, "large", bytes(4000), limit=3200)
    assert programs.read_entry(tmp_path, "large") is None


def test_a_disk_without_room_costs_the_entry_alone(tmp_path, monkeypatch):
    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "replace", full)
    with pytest.warns(UserWarning, match="not kept: .*No space left"):
        programs._store(tmp_path).put("key", b"value")
    assert not list(tmp_path.iterdir())
