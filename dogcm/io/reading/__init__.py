"""Read input files by what they say, and ask for what they do not say.

:func:`dogcm.io.reading.reader.read` is the one reader of forcing, initial state, bathymetry and
targets; docs/input_files.md is its manual.
"""
