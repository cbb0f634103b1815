"""Rank-to-core and rank-to-GPU binding, told from the environment of each launcher."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from dogcm.decomp import binding

OPEN_MPI = {
    "OMPI_COMM_WORLD_SIZE": "8",
    "OMPI_COMM_WORLD_RANK": "6",
    "OMPI_COMM_WORLD_LOCAL_SIZE": "4",
    "OMPI_COMM_WORLD_LOCAL_RANK": "2",
}
HYDRA = {"PMI_SIZE": "8", "PMI_RANK": "6", "MPI_LOCALNRANKS": "4", "MPI_LOCALRANKID": "2"}
MVAPICH = {
    "MV2_COMM_WORLD_SIZE": "8",
    "MV2_COMM_WORLD_RANK": "6",
    "MV2_COMM_WORLD_LOCAL_SIZE": "4",
    "MV2_COMM_WORLD_LOCAL_RANK": "2",
}
PALS = {"PMI_SIZE": "8", "PMI_RANK": "6", "PALS_LOCAL_SIZE": "4", "PALS_LOCAL_RANKID": "2"}
SRUN = {
    "SLURM_STEP_ID": "0",
    "SLURM_STEP_NUM_TASKS": "8",
    "SLURM_STEP_TASKS_PER_NODE": "4(x2)",
    "SLURM_PROCID": "6",
    "SLURM_LOCALID": "2",
    "SLURM_NODEID": "1",
    "SLURM_NTASKS": "8",
}
# What a batch script itself sees: a job of 8 tasks, but one process.
BATCH = {
    "SLURM_NTASKS": "8",
    "SLURM_PROCID": "0",
    "SLURM_LOCALID": "0",
    "SLURM_NODEID": "0",
    "SLURM_TASKS_PER_NODE": "4(x2)",
}
# mpirun on two nodes starts one daemon a node through srun, and the ranks inherit the variables of
# that step.
MPIRUN_IN_SLURM = (
    SRUN | {"SLURM_STEP_NUM_TASKS": "2", "SLURM_PROCID": "1", "SLURM_LOCALID": "0"} | OPEN_MPI
)

GPU_VARIABLES = (
    "CUDA_VISIBLE_DEVICES",
    "XLA_PYTHON_CLIENT_PREALLOCATE",
    "XLA_PYTHON_CLIENT_MEM_FRACTION",
    "DOGCM_SHARE_GPU",
    "DOGCM_GPU_DEALT",
    "JAX_PLATFORMS",
)


@pytest.fixture
def machine(monkeypatch):
    """Pretend: a launcher's environment, GPUs in the machine, and a jax that can use them."""

    def pretend(
        env: dict[str, str], gpus: int = 0, cuda_jax: bool = True, cores=(0, 1, 2, 3)
    ) -> None:
        clean = binding.environment_without_launch()
        for name in set(os.environ) - set(clean):
            monkeypatch.delenv(name)
        for name in GPU_VARIABLES:
            # Set before it is deleted, so that what bind_device sets is undone as well.
            monkeypatch.setenv(name, "")
            monkeypatch.delenv(name)
        for name, value in env.items():
            monkeypatch.setenv(name, value)
        monkeypatch.setattr(binding, "installed_gpus", lambda: [str(i) for i in range(gpus)])
        monkeypatch.setattr(binding, "_jax_has_cuda", lambda: cuda_jax)
        monkeypatch.setattr(binding, "_jax_devices_are_open", lambda: False)
        monkeypatch.setattr(binding, "cpu_affinity", lambda: tuple(cores))

    return pretend


@pytest.mark.parametrize(
    "env", [OPEN_MPI, HYDRA, MVAPICH, PALS, SRUN, MPIRUN_IN_SLURM], ids=lambda e: next(iter(e))
)
def test_ranks_as_each_launcher_tells_them(env):
    assert binding.looks_like_mpi_launch(env)
    assert binding.launch_size(env) == 8
    assert binding.launch_rank(env) == 6
    assert binding.local_rank(env) == 2
    assert binding.local_size(env) == 4


@pytest.mark.parametrize(
    "env",
    [
        {},
        BATCH,
        {"OMPI_COMM_WORLD_SIZE": "1", "OMPI_COMM_WORLD_LOCAL_RANK": "0"},
        {"PMI_SIZE": "1"},
        SRUN | {"SLURM_STEP_NUM_TASKS": "1", "SLURM_PROCID": "0"},
    ],
    ids=["bare", "batch script", "mpirun -n 1", "mpiexec -n 1", "srun -n 1"],
)
def test_one_process_is_no_mpi_launch(env):
    assert not binding.looks_like_mpi_launch(env)
    assert (binding.launch_size(env), binding.launch_rank(env)) == (1, 0)
    assert (binding.local_size(env), binding.local_rank(env)) == (1, 0)


def test_a_platform_that_was_asked_for_is_not_given_up_in_silence(machine):
    machine({"JAX_PLATFORMS": "cuda"}, gpus=0)
    found = binding.bind_device()
    assert found.platform == "cuda"
    assert "no device file of a GPU is seen" in found.warnings[0]
    machine({}, gpus=0)
    assert binding.bind_device().platform == "cpu"


@pytest.mark.parametrize(
    "text, counts",
    [
        ("4", [4]),
        ("4(x2)", [4, 4]),
        ("4(x2),1", [4, 4, 1]),
        ("2,3", [2, 3]),
        ("", []),
        ("nonsense", []),
    ],
)
def test_slurm_task_counts(text, counts):
    assert binding._slurm_counts(text) == counts


def test_local_size_falls_back_to_all_ranks_here():
    env = {name: value for name, value in SRUN.items() if name != "SLURM_STEP_TASKS_PER_NODE"}
    assert binding.local_size(env) == 8


def test_environment_without_launch_keeps_the_rest():
    env = {
        "PATH": "/bin",
        "OMPI_MCA_mpi_yield_when_idle": "1",
        "OMPI_ALLOW_RUN_AS_ROOT": "1",
        "SLURM_JOB_ID": "7",
    }
    for launch in (OPEN_MPI, HYDRA, MVAPICH, PALS, SRUN, MPIRUN_IN_SLURM):
        left = binding.environment_without_launch(env | launch | {"PMIX_RANK": "3"})
        assert binding.launch_size(left) == 1
        assert env.items() <= left.items()
        assert "PMIX_RANK" not in left


@pytest.mark.parametrize(
    "env, words", [(SRUN, ("srun", "--mpi=pmix")), (OPEN_MPI, ("mpirun", "launch/mpirun.sh"))]
)
def test_launcher_and_library_that_do_not_fit_are_refused(env, words):
    binding.require_world_size(8, env)
    with pytest.raises(RuntimeError, match="MPI sees 1") as error:
        binding.require_world_size(1, env)
    assert all(word in str(error.value) for word in words)


def test_no_gpu(machine):
    machine({}, gpus=0, cores=(4, 5, 6, 9))
    bound = binding.bind_device()
    assert (bound.platform, bound.device, bound.threads) == ("cpu", None, 4)
    assert bound.describe() == "cpu, cores 4-6,9"
    assert "CUDA_VISIBLE_DEVICES" not in os.environ


@pytest.mark.parametrize("local, gpu", [("0", "0"), ("1", "1"), ("3", "3")])
def test_a_gpu_for_each_local_rank(machine, local, gpu):
    machine(OPEN_MPI | {"OMPI_COMM_WORLD_LOCAL_RANK": local}, gpus=4)
    bound = binding.bind_device()
    assert (bound.platform, bound.device, bound.ranks_per_device, bound.warnings) == (
        "cuda",
        gpu,
        1,
        (),
    )
    assert os.environ["CUDA_VISIBLE_DEVICES"] == gpu
    assert "XLA_PYTHON_CLIENT_PREALLOCATE" not in os.environ
    assert bound.describe() == f"cuda:{gpu}"


def test_a_list_of_gpus_is_dealt_out(machine):
    machine(SRUN | {"CUDA_VISIBLE_DEVICES": "GPU-a,GPU-b,GPU-c,GPU-d"}, gpus=8)
    assert binding.bind_device().device == "GPU-c"
    assert os.environ["CUDA_VISIBLE_DEVICES"] == "GPU-c"


@pytest.mark.parametrize(
    "local, gpus, given, sharers",
    [("0", 8, "0,1", 1), ("3", 8, "6,7", 1), ("2", 4, "0,1", 2), ("1", 1, "0", 4)],
)
def test_several_gpus_for_each_local_rank(machine, local, gpus, given, sharers):
    machine(OPEN_MPI | {"OMPI_COMM_WORLD_LOCAL_RANK": local, "DOGCM_SHARE_GPU": "1"}, gpus=gpus)
    for _ in range(2):  # what was dealt is not dealt again
        bound = binding.bind_device(devices=2)
        assert (bound.device, bound.ranks_per_device) == (given, sharers)
        assert os.environ["CUDA_VISIBLE_DEVICES"] == given


def test_one_rank_leaves_the_list_alone(machine):
    machine({"CUDA_VISIBLE_DEVICES": "2,3"}, gpus=4)
    assert binding.bind_device().device == "2"
    assert os.environ["CUDA_VISIBLE_DEVICES"] == "2,3"


@pytest.mark.parametrize("hidden", ["", "-1"])
def test_hidden_gpus_are_not_used(machine, hidden):
    machine(OPEN_MPI | {"CUDA_VISIBLE_DEVICES": hidden}, gpus=4)
    assert binding.bind_device().platform == "cpu"
    assert os.environ["CUDA_VISIBLE_DEVICES"] == hidden


def test_shared_gpu_splits_the_memory_and_warns(machine):
    machine(OPEN_MPI, gpus=2)
    bound = binding.bind_device()
    assert (bound.device, bound.ranks_per_device) == ("0", 2)
    assert os.environ["XLA_PYTHON_CLIENT_PREALLOCATE"] == "false"
    assert float(os.environ["XLA_PYTHON_CLIENT_MEM_FRACTION"]) == pytest.approx(0.45)
    assert any("share GPU 0" in warning for warning in bound.warnings)
    assert "shared by 2 ranks" in bound.describe()


def test_shared_gpu_on_purpose(machine):
    machine(OPEN_MPI | {"DOGCM_SHARE_GPU": "1", "XLA_PYTHON_CLIENT_MEM_FRACTION": "0.2"}, gpus=1)
    bound = binding.bind_device()
    assert (bound.ranks_per_device, bound.warnings) == (4, ())
    assert os.environ["XLA_PYTHON_CLIENT_MEM_FRACTION"] == "0.2"


@pytest.mark.parametrize("ranks, gpus", [(4, 3), (5, 2), (3, 4)])
def test_every_rank_counts_its_sharers_alike(ranks, gpus):
    names = [str(i) for i in range(gpus)]
    dealt = [binding._deal(names, rank, ranks, {}) for rank in range(ranks)]
    devices = [device for device, _ in dealt]
    assert [count for _, count in dealt] == [devices.count(device) for device in devices]


def test_gpu_bound_by_slurm_is_not_shared(machine):
    machine(SRUN | {"CUDA_VISIBLE_DEVICES": "0", "SLURM_GPUS_PER_TASK": "1"}, gpus=4)
    bound = binding.bind_device()
    assert (bound.device, bound.ranks_per_device, bound.warnings) == ("0", 1, ())


def test_cpu_by_request(machine):
    machine(OPEN_MPI | {"JAX_PLATFORMS": "cpu"}, gpus=4)
    assert binding.bind_device().platform == "cpu"
    assert "CUDA_VISIBLE_DEVICES" not in os.environ


def test_gpu_without_cuda_jax_warns(machine):
    machine({}, gpus=1, cuda_jax=False)
    bound = binding.bind_device()
    assert bound.platform == "cpu"
    assert "jax[cuda12]" in bound.warnings[0]


def test_too_late_warns(machine, monkeypatch):
    machine(OPEN_MPI, gpus=4)
    monkeypatch.setattr(binding, "_jax_devices_are_open", lambda: True)
    assert "bind_device()" in binding.bind_device().warnings[0]


@pytest.mark.parametrize(
    "cores, machine_cores, words",
    [
        ((0,), 4, None),
        ((0, 1, 2, 3), 4, "not bound"),
        ((0, 1), 2, "share 2 cores"),
    ],
)
def test_unbound_ranks_are_told(machine, monkeypatch, cores, machine_cores, words):
    machine(OPEN_MPI, cores=cores)
    monkeypatch.setattr(os, "cpu_count", lambda: machine_cores)
    warnings = binding.bind_device().warnings
    assert (words is None and not warnings) or words in warnings[0]


def test_affinity_is_ours():
    assert set(binding.cpu_affinity()) <= set(range(os.cpu_count()))
    assert binding.thread_count() == len(binding.cpu_affinity()) > 0


def test_nothing_heavy_is_imported(alone):
    code = (
        "import sys, dogcm.decomp.binding as b; b.bind_device(); print([m for m in ('jax', "
        "'mpi4py') if m in sys.modules])"
    )
    result = subprocess.run(
        [sys.executable, "-c", code], env=alone, capture_output=True, text=True, check=True
    )
    assert result.stdout.strip() == "[]"


def test_errors_pass_on_one_rank(machine):
    machine({})
    with pytest.raises(ValueError, match="as it was"), binding.abort_all_ranks_on_error():
        raise ValueError("as it was")
    with pytest.raises(SystemExit), binding.abort_all_ranks_on_error():
        raise SystemExit(3)


@pytest.mark.layouts
@pytest.mark.mpi(min_size=2)
def test_launcher_and_mpi_agree():
    from mpi4py import MPI

    world = MPI.COMM_WORLD
    binding.require_world_size(world.Get_size())
    assert binding.launch_rank() == world.Get_rank()
    on_this_machine = world.Split_type(MPI.COMM_TYPE_SHARED)
    assert binding.local_size() == on_this_machine.Get_size()
    assert sorted(on_this_machine.allgather(binding.local_rank())) == list(
        range(on_this_machine.Get_size())
    )


@pytest.mark.layouts
@pytest.mark.mpi(min_size=2)
def test_bound_ranks_have_cores_of_their_own():
    from mpi4py import MPI

    everyone = MPI.COMM_WORLD.allgather(binding.cpu_affinity())
    if any(len(cpus) > 1 for cpus in everyone):
        return  # more ranks than cores: they share
    assert len(set(everyone)) == len(everyone)
