"""Accelerators by what the system shows of them, in containers too."""

from __future__ import annotations

import pytest

from dogcm.lowering import gpus


@pytest.mark.parametrize(
    "files, numbers",
    [
        ((), []),
        (("nvidiactl", "nvidia-uvm", "nvidia-caps"), []),
        (("nvidia0", "nvidia1", "nvidiactl"), ["0", "1"]),
        (("nvidia3", "nvidiactl"), ["0"]),  # a container that was given the fourth GPU
        (("nvidia2", "nvidia5"), ["0", "1"]),
        (("dxg",), ["0"]),
    ],
    ids=lambda x: " ".join(x) or "none",
)
def test_gpus_count_from_zero_as_cuda_counts(tmp_path, monkeypatch, files, numbers):
    for name in files:
        (tmp_path / name).touch()
    monkeypatch.setattr(gpus, "_DEVICES", tmp_path)
    assert gpus.installed_gpus() == numbers
