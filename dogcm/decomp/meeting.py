"""Where the processes of several machines meet: an address of the first that all others reach."""

from __future__ import annotations

import fcntl
import os
import socket
import struct
from contextlib import closing, suppress

from dogcm.decomp.layout import LayoutError

# Seconds that a try may take.
_PATIENCE = 3.0
# From <bits/ioctls.h>: address of an interface.
_SIOCGIFADDR = 0x8915


def address(processes) -> str:
    """``host:port`` of the first process; what ``JAX_COORDINATOR_ADDRESS`` says, or a free port at
    the first of its name and addresses that all processes reach.

    Raises:
        LayoutError: there is none.
    """
    told = processes.broadcast(os.environ.get("JAX_COORDINATOR_ADDRESS"))
    if told:
        for wrong in processes.broadcast(processes.gather(_wrong_with(told))):
            if wrong:
                raise LayoutError(f"JAX_COORDINATOR_ADDRESS={told}: {wrong}")
        return told
    hosts = processes.broadcast(processes.gather(socket.gethostname()))
    with closing(socket.socket()) as here:
        here.bind(("", 0))
        here.listen(len(hosts))
        port = processes.broadcast(here.getsockname()[1])
        if len(set(hosts)) == 1:
            return f"localhost:{port}"
        places = processes.broadcast([hosts[0], *_own_addresses()])
        reached = processes.gather([place for place in places if _answers(place, port)])
        for place in places:
            if processes.broadcast(reached and all(place in found for found in reached)):
                return f"{place}:{port}"
    raise LayoutError(
        f"the processes do not all reach that of {hosts[0]} by {', '.join(places)}: set "
        "JAX_COORDINATOR_ADDRESS=HOST:PORT to a free port at an address that they reach"
    )


def _wrong_with(told: str) -> str:
    """Why no process can be met there, if it is plain to see."""
    host, _, port = told.rpartition(":")
    if not host or not port.isdecimal() or not 0 < int(port) < 65536:
        return "give HOST:PORT, the port from 1 to 65535"
    try:
        socket.getaddrinfo(host.strip("[]"), int(port))
    except OSError as error:
        return f"host {host} is not known ({error.strerror or error})"
    return ""


def _own_addresses() -> list[str]:
    """IPv4 addresses of this machine, less its loopback."""
    found = []
    with closing(socket.socket(socket.AF_INET, socket.SOCK_DGRAM)) as asks:
        for _, name in socket.if_nameindex():
            with suppress(OSError):  # an interface without an address
                packed = struct.pack("256s", name.encode()[:15])
                answer = fcntl.ioctl(asks.fileno(), _SIOCGIFADDR, packed)
                found.append(socket.inet_ntoa(answer[20:24]))
    return [one for one in found if not one.startswith("127.")]


def _answers(place: str, port: int) -> bool:
    try:
        socket.create_connection((place, port), _PATIENCE).close()
    except OSError:
        return False
    return True


__all__ = ["address"]
