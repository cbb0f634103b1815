#!/usr/bin/env bash
# A Slurm of one node, this machine, for as long as one command runs: to test that dogcm runs under srun and sbatch.
#
#   tests/slurm/run_single_node_slurm.sh [-n N] [--mpi PLUGIN] command [arguments]      srun -n N --mpi=PLUGIN command
#   tests/slurm/run_single_node_slurm.sh --shell 'command line'                         with srun, sbatch, squeue at hand
#
#   -n N           tasks (2); more than there are cores are allowed
#   --mpi PLUGIN   pmix (default), pmi2, none; launch/README.md says which MPI wants which
#
# It installs nothing. Needs root (munged, slurmctld and slurmd start here) and, on Debian or Ubuntu,
#   apt-get install slurm-wlm munge libpmix-dev
# libpmix-dev because Slurm's pmix plug-in opens the name libpmix.so, which only the -dev package has.
# All of it lives in one temporary folder, also its own munge socket and ports: a Slurm that the machine may have is not touched.
set -euo pipefail

die() { printf 'single-node slurm: error: %s\n' "$*" >&2; exit 2; }

tasks=2
plugin=pmix
shell_line=
while (($#)); do
    case $1 in
        -n) tasks=${2:?-n wants a number}; shift 2 ;;
        --mpi) plugin=${2:?--mpi wants a name}; shift 2 ;;
        --mpi=*) plugin=${1#*=}; shift ;;
        --shell) shell_line=${2:?--shell wants a command line}; shift 2 ;;
        --) shift; break ;;
        -*) die "unknown option $1" ;;
        *) break ;;
    esac
done
[[ -n $shell_line || $# -gt 0 ]] || die "no command (see the head of this file)"
[[ $(id -u) == 0 ]] || die "must be root to start munged and slurmd"
export PATH=$PATH:/usr/sbin:/sbin
for program in munged slurmctld slurmd srun sinfo; do
    command -v "$program" >/dev/null || die "$program is not installed (apt-get install slurm-wlm munge libpmix-dev)"
done

dir=$(mktemp -d /tmp/slurm.XXXXXX)
# Ranks may run as other users, and munged wants no folder above its socket that others can write to.
chmod 755 "$dir"
mkdir -m 755 "$dir"/{munge,state,spool,log}
pids=()

# Ends what was started here, by process number, the last first; slurmd's job steps end with their job.
tear_down() {
    local status=$? index pid waited
    trap - EXIT INT TERM
    if ((${#pids[@]} > 1)); then
        SLURM_CONF=$dir/slurm.conf scancel --user=root >/dev/null 2>&1 || true
    fi
    for ((index = ${#pids[@]} - 1; index >= 0; index--)); do
        pid=${pids[index]}
        kill -TERM "$pid" 2>/dev/null || continue
        for ((waited = 0; waited < 100; waited++)); do
            kill -0 "$pid" 2>/dev/null || break
            sleep 0.1
        done
        kill -KILL "$pid" 2>/dev/null || true
    done
    wait 2>/dev/null || true
    if [[ -n ${KEEP_SLURM_LOGS:-} ]]; then
        printf 'single-node slurm: logs kept in %s\n' "$dir" >&2
    else
        rm -rf "$dir"
    fi
    exit "$status"
}
trap tear_down EXIT
trap 'exit 130' INT
trap 'exit 143' TERM

start() { # name, command: in the background, its number noted
    local name=$1
    shift
    "$@" >>"$dir/log/$name.out" 2>&1 </dev/null &
    pids+=($!)
}

show_logs() {
    local log
    for log in "$dir"/log/*; do
        printf -- '--- %s\n' "${log##*/}" >&2
        tail -15 "$log" >&2
    done
}

wait_for() { # seconds, what, command
    local seconds=$1 what=$2 tries
    shift 2
    for ((tries = 0; tries < seconds * 5; tries++)); do
        if "$@" >/dev/null 2>&1; then return; fi
        sleep 0.2
    done
    show_logs
    die "$what did not come up within $seconds s (logs above)"
}

free_port() {
    local port
    for ((port = 20000 + RANDOM % 20000; ; port++)); do
        # Nobody answers there: the port can be had.
        (exec 3<>"/dev/tcp/127.0.0.1/$port") 2>/dev/null || { echo "$port"; return; }
    done
}

host=$(hostname -s)
cpus=$(nproc)
# Slurm binds overcommitted tasks to one core, all to the same: rather leave those where the kernel puts them.
task_plugin=task/affinity
((tasks <= cpus)) || task_plugin=task/none
controller_port=$(free_port)
node_port=$((controller_port + 1))

dd if=/dev/urandom of="$dir/munge/key" bs=128 count=1 2>/dev/null
chmod 400 "$dir/munge/key"
start munged munged --foreground --force --num-threads=2 --socket="$dir/munge/socket" --key-file="$dir/munge/key" \
    --pid-file="$dir/munge/pid" --log-file="$dir/log/munged.log" --seed-file="$dir/munge/seed"
wait_for 20 munged test -S "$dir/munge/socket"

cat >"$dir/slurm.conf" <<CONF
ClusterName=onenode
SlurmctldHost=$host(127.0.0.1)
SlurmUser=root
SlurmdUser=root
AuthType=auth/munge
AuthInfo=socket=$dir/munge/socket
CredType=cred/munge
SlurmctldPort=$controller_port
SlurmdPort=$node_port
StateSaveLocation=$dir/state
SlurmdSpoolDir=$dir/spool
SlurmctldPidFile=$dir/slurmctld.pid
SlurmdPidFile=$dir/slurmd.pid
SlurmctldLogFile=$dir/log/slurmctld.log
SlurmdLogFile=$dir/log/slurmd.log
# No control groups: containers seldom let go of theirs.
ProctrackType=proctrack/linuxproc
TaskPlugin=$task_plugin
JobAcctGatherType=jobacct_gather/none
SwitchType=switch/none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core
MpiDefault=none
ReturnToService=2
KillWait=5
SlurmctldTimeout=30
SlurmdTimeout=30
NodeName=$host NodeAddr=127.0.0.1 CPUs=$cpus Sockets=1 CoresPerSocket=$cpus ThreadsPerCore=1 State=UNKNOWN
PartitionName=all Nodes=$host Default=YES MaxTime=INFINITE State=UP
CONF
export SLURM_CONF=$dir/slurm.conf

start slurmctld slurmctld -D
wait_for 30 slurmctld scontrol ping
start slurmd slurmd -D
idle() { [[ $(sinfo --noheader --format=%t) == idle* ]]; }
wait_for 40 slurmd idle

if [[ -n $shell_line ]]; then
    bash -c "$shell_line" || { status=$?; [[ -z ${SHOW_SLURM_LOGS:-} ]] || show_logs; exit "$status"; }
else
    # Root may be refused by Open MPI on the ranks too.
    export OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1
    share=(--cpu-bind=cores)
    if ((tasks > cpus)); then
        share=(--overcommit)
        export OMPI_MCA_mpi_yield_when_idle=1 OMP_NUM_THREADS=${OMP_NUM_THREADS:-1}
    fi
    srun --ntasks="$tasks" "${share[@]}" --mpi="$plugin" --label --kill-on-bad-exit=1 "$@" ||
        { status=$?; [[ -z ${SHOW_SLURM_LOGS:-} ]] || show_logs; exit "$status"; }
fi
