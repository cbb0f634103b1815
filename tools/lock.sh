#!/usr/bin/env bash
# Renew requirements/{build,run,test,docs,lint}.txt: install the dependencies of pyproject.toml, newest first, into a throw-away
# environment of the oldest Python supported, and write down what came. Arguments hold packages back: tools/lock.sh 'jax<0.11'.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
python=${PYTHON:-python3.11}
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
"$python" -m venv "$dir/venv"
pip() { "$dir/venv/bin/python" -m pip --disable-pip-version-check "$@"; }
wanted() { # a table of pyproject.toml -> one requirement a line
    "$python" -c '
import sys, tomllib
project = tomllib.load(open("pyproject.toml", "rb"))["project"]
table = project["optional-dependencies"]
print("\n".join(project["dependencies"] if sys.argv[1] == "run" else table[sys.argv[1]]))' "$1"
}
header() { sed -n '/^#/p' "requirements/$1.txt"; }

: >"$dir/before"
printf '%s\n' "$@" >"$dir/held"
for group in build run test docs lint; do
    case $group in
        build) packages=(setuptools wheel cython nanobind) ;;
        *) mapfile -t packages < <(wanted "$group") ;;
    esac
    pip install --quiet --upgrade -c "$dir/held" "${packages[@]}"
    pip freeze --all | { grep -v '^pip==' || true; } | LC_ALL=C sort >"$dir/after"
    { header "$group"; LC_ALL=C comm -13 "$dir/before" "$dir/after" | LC_ALL=C sort -f; } >"$dir/$group.txt"
    mv "$dir/$group.txt" "requirements/$group.txt"
    cp "$dir/after" "$dir/before"
    # The later groups must not move what the earlier ones settled.
    { printf '%s\n' "$@"; cat "$dir/after"; } >"$dir/held"
done
git --no-pager diff --stat -- requirements || true
