"""Names of the files that a run writes and its diagnostics read."""

MONITOR_FILE = "monitor.csv"
# Numbers of the circulation, which have pictures of their own.
CIRCULATION_FILE = "diagnostics.nc"
