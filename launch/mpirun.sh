#!/usr/bin/env bash
# Run a command on N MPI ranks, with the options that the mpirun at hand needs for it:
#
#   launch/mpirun.sh [-n N] [-t SECONDS] command [arguments]
#
#   -n N         ranks (else NP of the environment, else 2)
#   -t SECONDS   stop the job after that long; the exit status is then 124
#
# One core per rank if there are enough of them, else ranks that share cores and yield while they wait. Works as root, in
# containers, and inside a Slurm allocation; with Open MPI 4 and 5, MPICH and Intel MPI. The environment goes to all ranks.
# On several hosts a job ends some 15 s after one of them has fallen silent, with an exit status that is not 0.
#
#   MPIRUN       the mpirun to take (else the one in the repository's .venv, else the one on PATH)
#   MPIRUN_ARGS  more options for it, e.g. MPIRUN_ARGS='--hostfile hosts'; then no binding is chosen here
set -euo pipefail

usage() { sed -n '2,/^set /{/^set /d;s/^# \{0,1\}//;p}' "${BASH_SOURCE[0]}"; }
die() { printf 'mpirun.sh: error: %s\n' "$*" >&2; exit 2; }

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
venv=${VENV:-.venv}
[[ $venv == /* ]] || venv=$root/$venv

ranks=${NP:-2}
limit=
while (($#)); do
    case $1 in
        -n | -np) ranks=${2:?mpirun.sh: -n wants a number}; shift 2 ;;
        -t) limit=${2:?mpirun.sh: -t wants seconds}; shift 2 ;;
        -h | --help) usage; exit 0 ;;
        --) shift; break ;;
        -*) die "unknown option $1 (mpirun's own options go into MPIRUN_ARGS)" ;;
        *) break ;;
    esac
done
(($#)) || { usage >&2; exit 2; }
[[ $ranks =~ ^[1-9][0-9]*$ ]] || die "'$ranks' is not a number of ranks"

# The commands of the environment (dogcm, pytest, python) come first, also on the ranks.
[[ ! -d $venv/bin ]] || export PATH=$venv/bin:$PATH
mpirun=${MPIRUN:-$(command -v mpirun || true)}
[[ -n $mpirun ]] || die "no mpirun on PATH and none in $venv: run 'make env', or load your MPI module"

# Physical cores this process may use (hardware threads of one core share its arithmetic units and gain nothing here).
count_cores() {
    local cores allowed
    allowed=$(nproc)
    cores=$(lscpu -p=CORE,SOCKET 2>/dev/null | grep -v '^#' | sort -u | wc -l) || cores=0
    ((cores > 0 && cores < allowed)) && echo "$cores" || echo "$allowed"
}
cores=$(count_cores)
nodes=${SLURM_JOB_NUM_NODES:-${SLURM_NNODES:-1}}
several=
if ((nodes > 1)) || [[ ${MPIRUN_ARGS:-} == *-host* || ${MPIRUN_ARGS:-} == *machinefile* ]]; then
    several=yes
fi

version=$("$mpirun" --version 2>&1 | head -3) || true
arguments=(-n "$ranks")
case $version in
    *"Open MPI"* | *OpenRTE* | *PRRTE* | *prterun*)
        if [[ $(id -u) == 0 ]]; then
            # Open MPI refuses root unless told twice; containers have nobody else.
            export OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1
            export PRTE_ALLOW_RUN_AS_ROOT=1 PRTE_ALLOW_RUN_AS_ROOT_CONFIRM=1
        fi
        if [[ -z ${MPIRUN_ARGS:-} ]]; then
            if ((nodes > 1 || ranks <= cores)); then
                arguments+=(--map-by core --bind-to core)
            else
                arguments+=(--map-by :OVERSUBSCRIBE --bind-to none)
                # A rank that waits must give its core to the one it waits for.
                export OMPI_MCA_mpi_yield_when_idle=1
            fi
        fi
        if [[ -n $several ]]; then
            # The daemons of Open MPI (ORTE in 4, PRRTE in 5) would notice a host without power after eight minutes.
            for daemon in OMPI PRTE; do
                for setting in time=5 intvl=2 probes=5; do
                    name=${daemon}_MCA_oob_tcp_keepalive_${setting%=*}
                    [[ -n ${!name:-} ]] || export "$name=${setting#*=}"
                done
            done
            # Open MPI hands on only its own variables; on one host all are inherited anyway.
            wanted='^(DOGCM_|JAX_|XLA_|MPI4JAX_|OMP_|NCCL_|CUDA_VISIBLE_DEVICES$|PATH$|PYTHONPATH$|LD_LIBRARY_PATH$)'
            for name in $(compgen -e | grep -E "$wanted"); do
                arguments+=(-x "$name")
            done
        fi
        ;;
    *HYDRA* | *MPICH* | *Intel*)
        # MPICH and Intel MPI share cores without being told, and hand on the whole environment.
        if [[ -z ${MPIRUN_ARGS:-} ]] && ((nodes > 1 || ranks <= cores)); then
            case $version in
                *Intel*) export I_MPI_PIN=1 I_MPI_PIN_DOMAIN=core ;;
                *) arguments+=(-bind-to core) ;;
            esac
        fi
        ;;
    *) printf 'mpirun.sh: unknown mpirun (%s), no binding chosen\n' "${version%%$'\n'*}" >&2 ;;
esac
if ((nodes == 1 && ranks > cores)); then
    export OMP_NUM_THREADS=${OMP_NUM_THREADS:-1}
fi
# shellcheck disable=SC2206  # a list of options, to be split
arguments+=(${MPIRUN_ARGS:-})

start=("$mpirun" "${arguments[@]}" "$@")
# TERM lets mpirun end its ranks; KILL is for an mpirun that hangs itself.
[[ -z $limit ]] || start=(timeout --kill-after=20 "$limit" "${start[@]}")

# mpirun kills ranks a moment after it is told to end. Asked by USR1, which it passes on, a run of dogcm writes a restart and
# ends; other programs end at once. Who asks twice does not want to wait. Under a limit (-t) it is timeout that is told, which
# passes on only what ends a job. A terminal tells a whole group of processes: with a group of its own (-m) mpirun is told
# from here only.
said=$(mktemp -d)
trap 'rm -rf "$said"' EXIT
asked=
ask() { # signal
    [[ -z $asked$limit && $1 =~ ^(TERM|INT|HUP)$ ]] && asked=yes && set -- USR1
    kill -s "$1" "$job" 2>/dev/null || true
}
set -m
if [[ -n $several ]]; then
    mkfifo "$said/out" "$said/err"
    tee "$said/1" <"$said/out" &
    tee "$said/2" <"$said/err" >&2 &
    "${start[@]}" <&0 >"$said/out" 2>"$said/err" &
else
    "${start[@]}" <&0 &
fi
job=$!
for signal in TERM INT HUP USR1 USR2; do
    # shellcheck disable=SC2064  # the signal of this turn
    trap "ask $signal" "$signal"
done
status=0
wait "$job" || status=$?
# A signal ends a wait, not the job.
while kill -0 "$job" 2>/dev/null; do
    status=0
    wait "$job" || status=$?
done
wait || true
# Open MPI 5 ends with status 0 when it has lost a host, and only says so.
gone='lost communication with a remote daemon|daemon failed to report back'
if [[ $status == 0 && -n $several ]] && grep -q -E "$gone" "$said/1" "$said/2"; then
    status=1
fi
exit "$status"
