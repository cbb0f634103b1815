"""Pressure, momentum, free surface, continuity and tracer advection."""
