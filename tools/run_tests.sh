#!/usr/bin/env bash
# The suite in stages: all tests on one rank, then those marked mpi under mpirun (on more than 4 ranks only those marked
# layouts as well, on 2 ranks these and what does not run on 4), and those marked as_users on 2 ranks, compiled as for
# users. Every stage runs even if one before it failed; the exit status is non-zero if any did. Arguments go to pytest on
# one rank.
#
#   TEST_NP      ranks of the MPI stages      (2 4 6)
#   TEST_WORKERS processes of the one-rank stage, which share its files (as many as cores, at most 4)
#   TEST_SLOW    not empty: tests marked slow as well, on every number of ranks
#   TEST_LIMIT   seconds a stage may take     (3000); a hang is a failure
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
venv=${VENV:-.venv}
read -r -a rank_counts <<<"${TEST_NP-2 4 6}"
limit=${TEST_LIMIT:-3000}
[[ -n ${TEST_SLOW:-} ]] && chosen="" || chosen="not slow"
cores=$(nproc 2>/dev/null || getconf _NPROCESSORS_ONLN)
workers=${TEST_WORKERS:-$((cores < 4 ? cores : 4))}

# Many tests compile the same program.
if [[ -z ${JAX_COMPILATION_CACHE_DIR:-} ]]; then
    JAX_COMPILATION_CACHE_DIR=$(mktemp -d "${TMPDIR:-/tmp}/dogcm-tests.XXXXXX")
    export JAX_COMPILATION_CACHE_DIR JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS=0.1
    trap 'rm -rf "$JAX_COMPILATION_CACHE_DIR"' EXIT
fi

summary=()
failed=0
stage() { # name, command
    local name=$1 start=$SECONDS status=0 word
    shift
    printf '\n=== %s: %s\n' "$name" "$*"
    "$@" </dev/null || status=$?
    case $status in
        0) word=passed ;;
        5) word="FAILED (no test was selected)" ;;
        124 | 137) word="FAILED (ended after $limit s: a hang?)" ;;
        *) word="FAILED (status $status)" ;;
    esac
    [[ $status == 0 ]] || failed=$((failed + 1))
    summary+=("$(printf '%-10s %s, %d s' "$name" "$word" $((SECONDS - start)))")
}

# By files, since the tests of one file share a compiled model. One process needs no helpers.
share=()
((workers > 1)) && share=(-n "$workers" --dist loadfile)
# Most of the time goes into compiling. Without the newer emitters of loops the suite takes a third less, and at a low level
# still less; the bits are the same. No process splits its programs among threads, since all cores are busy. Only tests with
# the mark optimised (tests/conftest.py: mostly of many steps) are compiled at level 1. What the compiler makes of the global
# ocean for users is seen in a stage of its own.
flags="--xla_backend_optimization_level=1 --xla_cpu_use_fusion_emitters=false --xla_cpu_parallel_codegen_split_count=1"
quick=("XLA_FLAGS=${XLA_FLAGS:-} $flags" JAX_DISABLE_MOST_OPTIMIZATIONS=1)
mpi_stage() { # name, ranks, marks, environment
    stage "$1" env "${@:4}" launch/mpirun.sh -n "$2" -t "$limit" \
        python -m pytest --with-mpi -m "$3${chosen:+ and $chosen}" -p no:cacheprovider -q --no-header --color=no
}
stage "1 rank" env "${quick[@]}" timeout --kill-after=20 "$limit" "$venv/bin/python" -m pytest ${share[@]+"${share[@]}"} -m "$chosen" "$@"
for ranks in ${rank_counts[@]+"${rank_counts[@]}"}; do
    if [[ ! -f $venv/.dogcm-mpi ]]; then
        summary+=("$ranks ranks    not run: the environment was made without MPI")
        continue
    fi
    # Ranks would write one cache of pytest's at the same time, and mpirun gives each a terminal, so colours have to
    # be refused.
    case $ranks in
        2)
            mpi_stage "2 ranks" 2 "mpi and not as_users" "${quick[@]}"
            mpi_stage "as users" 2 "mpi and as_users"
            ;;
        # What works on 2 and on 4 ranks can fail on more only where tiles meet.
        *) mpi_stage "$ranks ranks" "$ranks" "$( ((ranks > 4)) && echo "mpi and layouts" || echo mpi)" "${quick[@]}" ;;
    esac
done

printf '\n=== summary\n'
printf '  %s\n' "${summary[@]}"
if ((failed)); then
    printf '=== %d of %d stages FAILED\n' "$failed" "${#summary[@]}"
    exit 1
fi
printf '=== all %d stages passed\n' "${#summary[@]}"
