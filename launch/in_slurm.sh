#!/usr/bin/env bash
# The part that the Slurm job scripts share: run dogcm on all tasks of the job, go on after the time limit. Called by them as
#
#   launch/in_slurm.sh EXPERIMENT DAYS OUTPUT [more arguments of dogcm run]
#
#   DOGCM_SRUN_MPI   Slurm's MPI plug-in (pmix; pmi2 for MPICH): see launch/README.md
#   DOGCM            the command (dogcm of the repository's .venv, else the one on PATH)
#   MAX_REQUEUES     how often one job may go on after its time limit (100)
#
# Shortly before the time limit Slurm sends SIGUSR1 to all ranks (--signal in the job scripts). dogcm then writes a restart
# and ends with status 75; the job goes back into the queue, and --resume takes up the restart.
set -euo pipefail

(($# >= 3)) || { echo "usage: in_slurm.sh EXPERIMENT DAYS OUTPUT [arguments]" >&2; exit 2; }
[[ -n ${SLURM_JOB_ID:-} ]] || { echo "in_slurm.sh: no Slurm job; use launch/mpirun.sh" >&2; exit 2; }
experiment=$1 days=$2 output=$3
shift 3

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
venv=${VENV:-$root/.venv}
[[ ! -d $venv/bin ]] || export PATH=$venv/bin:$PATH
dogcm=${DOGCM:-dogcm}
interrupted=75

mkdir -p "$output"
echo "dogcm: job $SLURM_JOB_ID, start $((${SLURM_RESTART_COUNT:-0} + 1)), $SLURM_NTASKS ranks on $SLURM_JOB_NODELIST"
status=0
# srun does not take --cpus-per-task over from the job script since Slurm 22.05.
# --kill-on-bad-exit: one rank that fails ends the others.
srun --mpi="${DOGCM_SRUN_MPI:-pmix}" --cpus-per-task="${SLURM_CPUS_PER_TASK:-1}" --cpu-bind=cores --kill-on-bad-exit=1 \
    "$dogcm" run "$experiment" --days "$days" --output "$output" --resume "$@" || status=$?

if [[ $status == "$interrupted" ]]; then
    if ((${SLURM_RESTART_COUNT:-0} >= ${MAX_REQUEUES:-100})); then
        echo "dogcm: requeued ${SLURM_RESTART_COUNT} times already, that is enough" >&2
        exit "$status"
    fi
    echo "dogcm: the time limit is near, a restart is written; back into the queue"
    scontrol requeue "$SLURM_JOB_ID"
    # Slurm ends this script now; anything it did further would race with that.
    sleep 60
fi
exit "$status"
