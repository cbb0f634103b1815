"""Speed and memory of dogcm, measured: ``python -m benchmarks``; see README.md."""
