"""Two hosts on this machine: network namespaces with names and addresses of their own, and a wire
between them."""

from __future__ import annotations

import os
import signal
import subprocess
from pathlib import Path

ADDRESSES = ("10.77.0.1", "10.77.0.2")
NAMES = ("ocean-1", "ocean-2")
_SEPARATE = ("--net", "--uts", "--mount")


class NoHosts(RuntimeError):
    """The system does not let us have any."""


class TwoHosts:
    """Two namespaces, and ``mpirun`` between them; a context.

    Args:
        folder: for what it writes. repository: where ``launch/mpirun.sh`` is.

    Raises:
        NoHosts: on entering, with the reason.
    """

    def __init__(self, folder: Path, repository: Path):
        self.folder, self.repository = folder, repository
        self._held: list[subprocess.Popen] = []

    def __enter__(self) -> TwoHosts:
        try:
            self._start()
        except (OSError, subprocess.CalledProcessError) as error:
            self.__exit__()
            said = getattr(error, "stderr", "") or str(error)
            raise NoHosts(f"no network namespaces here: {said.strip()}") from None
        return self

    def __exit__(self, *_) -> None:
        for host in (0, 1)[: len(self._held)]:
            self.vanish(host)
            self._held[host].kill()
            self._held[host].communicate()

    def launch(self, *words: str, env: dict, **options) -> subprocess.Popen:
        """``mpirun`` of a command, one process on each host."""
        self.restore()
        (self.folder / "agent").write_text(
            "#!/bin/sh\nhost=$1; shift\ncase $host in\n"
            + "".join(f"{a}) pid={p.pid};;\n" for a, p in zip(ADDRESSES, self._held))
            + f'esac\nexec nsenter -t $pid {" ".join(_SEPARATE)} -- sh -c "$*"\n'
        )
        (self.folder / "agent").chmod(0o755)
        agent = str(self.folder / "agent")
        hosts = ",".join(f"{address}:1" for address in ADDRESSES)
        env = env | {
            "MPIRUN_ARGS": f"--host {hosts} --bind-to none",
            "PRTE_MCA_plm": "ssh",
            "PRTE_MCA_plm_ssh_agent": agent,
            "OMPI_MCA_plm_rsh_agent": agent,
        }
        enter = ["nsenter", "-t", str(self._held[0].pid), *_SEPARATE, f"--wd={self.folder}", "--"]
        script = str(self.repository / "launch/mpirun.sh")
        return subprocess.Popen(
            [*enter, script, "-n", "2", "-t", "600", *words],
            env=env,
            stdin=subprocess.DEVNULL,
            **{"text": True, **options},
        )

    def vanish(self, host: int) -> None:
        """End all that runs on a host at once, as when it is switched off."""
        keeper = self._held[host].pid
        for process in self.processes(host):
            if process != keeper:
                os.kill(process, signal.SIGKILL)

    def silence(self, host: int) -> None:
        """Take a host off the wire: what it is sent goes nowhere, and nobody is told."""
        self._in(host, "ip", "link", "set", "eth0", "down")

    def restore(self) -> None:
        """Both hosts on the wire."""
        for host in range(2):
            self._in(host, "ip", "link", "set", "eth0", "up")

    def processes(self, host: int) -> list[int]:
        """Numbers of what runs on a host."""
        network = lambda pid: os.readlink(f"/proc/{pid}/ns/net")
        own, found = network(self._held[host].pid), []
        for pid in filter(str.isdigit, os.listdir("/proc")):
            try:
                if network(pid) == own:
                    found.append(int(pid))
            except OSError:  # it has ended meanwhile
                continue
        return found

    def _start(self) -> None:
        names = self.folder / "hosts"
        lines = ["127.0.0.1 localhost", *(f"{a} {n}" for a, n in zip(ADDRESSES, NAMES))]
        names.write_text("\n".join(lines) + "\n")
        for name in NAMES:
            own = f"hostname {name} && mount --bind '{names}' /etc/hosts"
            hold = f"{own} && echo up && exec sleep 3000"
            keeper = subprocess.Popen(
                ["unshare", *_SEPARATE, "--", "sh", "-c", hold],
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                text=True,
            )
            self._held.append(keeper)
            if keeper.stdout.readline().strip() != "up":
                raise OSError(keeper.communicate()[1])
        ends = [["eth0", "netns", str(p.pid)] for p in self._held]
        _run("ip", "link", "add", *ends[0], "type", "veth", "peer", "name", *ends[1])
        for host, address in enumerate(ADDRESSES):
            self._in(host, "ip", "address", "add", f"{address}/24", "dev", "eth0")
            self._in(host, "ip", "link", "set", "lo", "up")
        self.restore()

    def _in(self, host: int, *words: str) -> None:
        _run("nsenter", "-t", str(self._held[host].pid), "--net", "--", *words)


def _run(*words: str) -> None:
    subprocess.run(words, check=True, capture_output=True, text=True)
