"""Sums, extremes and checks of a running model."""

from dogcm.diagnostics.monitor import Monitor, Reading

__all__ = ["Monitor", "Reading"]
