#!/usr/bin/env bash
# Show that the oldest jax that pyproject.toml allows runs the model: it is put beside the environment, for this call
# alone, and a small gyre is stepped with it and with the pinned one. Needs an index of packages, or a pip cache.
set -euo pipefail

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
py=${1:-$root/.venv/bin/python}
oldest=$(sed -n 's/^ *"jax>=\([0-9.]*\)".*/\1/p' "$root/pyproject.toml")
[[ $oldest =~ ^[0-9]+\.[0-9]+$ ]] && oldest=$oldest.0
beside=$(mktemp -d)
trap 'rm -rf "$beside"' EXIT
"$py" -m pip install -qq --no-deps --target "$beside" "jax==$oldest" "jaxlib==$oldest"

step_a_gyre() {
    PYTHONPATH=$1$root "$py" - "$2" <<'PROGRAM'
import sys

import jax

import dogcm

if sys.argv[1] and jax.__version__ != sys.argv[1]:
    sys.exit(f"meant to try jax {sys.argv[1]}, found {jax.__version__} in {jax.__file__}")
model = dogcm.Model("gyre", {"grid.nx": 12, "grid.ny": 10, "grid.nz": 3})
model.advance(20)
reading = model.read()
if not reading.finite or not 0 < reading.speed < 1:
    sys.exit(f"jax {jax.__version__}: {reading}")
print(f"jax {jax.__version__}: a gyre after 20 steps has |u| {reading.speed:.12g} m/s")
PROGRAM
}

step_a_gyre "$beside:" "$oldest"
step_a_gyre "" ""
