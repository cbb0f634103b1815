"""Files: forcing and bathymetry in, CF output and restarts out.

Nothing is imported here: :mod:`dogcm.io.regrid` is used below the layer that output and restarts
    need.
"""
