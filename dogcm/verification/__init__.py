"""Checks that a user can repeat on any machine and any number of ranks: ``dogcm verify``."""
