"""Settings that are made before JAX starts: what becomes of memory that is freed."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

CHOICE = Path("/sys/kernel/mm/transparent_hugepage/enabled")

# Takes, fills and frees 256 MiB on a thread of its own, twice; prints how much of it lay in huge
# pages, and how much memory is held afterwards, in MiB.
PROGRAM = """
import ctypes, dogcm, re, threading
dogcm.configure()
lib = ctypes.CDLL(None)
lib.malloc.restype, lib.malloc.argtypes = ctypes.c_void_p, [ctypes.c_size_t]
lib.free.argtypes = [ctypes.c_void_p]
text = lambda name: open("/proc/self/" + name).read()
held = lambda: int(re.search(r"VmRSS:\\s+(\\d+)", text("status"))[1]) // 1024
huge = lambda: sum(map(int, re.findall(r"AnonHugePages:\\s+(\\d+)", text("smaps")))) // 1024
before, found = (huge(), held()), []
def take():
    start = lib.malloc(256 << 20)
    ctypes.memset(start, 1, 256 << 20)
    found.append(huge() - before[0])
    lib.free(start)
for _ in range(2):
    thread = threading.Thread(target=take)
    thread.start()
    thread.join()
print(found[-1], held() - before[1])
"""


def memory(**variables) -> list[int]:
    clean = {n: v for n, v in os.environ.items() if not n.startswith("MALLOC_")}
    run = subprocess.run(
        [sys.executable, "-c", PROGRAM],
        env={**clean, "JAX_PLATFORMS": "cpu", **variables},
        capture_output=True,
        text=True,
        check=True,
    )
    return [int(word) for word in run.stdout.split()]


IMPORTS = """
import os, sys, dogcm
print("jax" in sys.modules, "XLA_FLAGS" in os.environ)
dogcm.load_config
print("xla_cpu_max_isa" in os.environ["XLA_FLAGS"])
"""
TOO_LATE = """
import jax.numpy as jnp, warnings
jnp.ones(3) + 1
warnings.simplefilter("error")
import dogcm
try:
    dogcm.configure()
except UserWarning as warning:
    print(warning)
"""


def said_by(program: str) -> str:
    clean = {n: v for n, v in os.environ.items() if n != "XLA_FLAGS"} | {"JAX_PLATFORMS": "cpu"}
    return subprocess.run(
        [sys.executable, "-c", program], env=clean, capture_output=True, text=True, check=True
    ).stdout


def test_an_import_sets_nothing():
    assert said_by(IMPORTS).split() == ["False", "False", "True"]


def test_settings_that_come_too_late_are_told():
    assert "call it first" in said_by(TOO_LATE)


@pytest.mark.skipif(not CHOICE.exists(), reason="memory is looked at as Linux shows it")
def test_freed_memory_is_kept_in_huge_pages():
    in_huge_pages, kept = memory()
    assert 250 <= kept <= 300
    if "[madvise]" in CHOICE.read_text():
        assert in_huge_pages >= 100  # all of it, unless memory is in small pieces
    # A user's own choice is left alone.
    assert memory(MALLOC_TOP_PAD_="65536")[1] < 50
