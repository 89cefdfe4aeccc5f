"""Hosts with addresses of their own on one machine: network namespaces, joined by a bridge in one more.

Nothing is added to the network of the machine itself. A host shares files and processors with the others; its loopback,
its addresses and its line are its own, and the line can be cut. Programs of hosts are killed with the process of the
test, and namespaces that one has left behind are removed by the next.
"""

import os
import shutil
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import psutil

from tests.support.processes import process

_PREFIX = "klinehost"
# For benchmarks of networks, and so nobody's own (RFC 2544).
_NET = "198.18.0"


@dataclass(frozen=True)
class Host:
    """One host of a network."""

    name: str
    address: str
    namespace: str
    switch: str
    """Namespace of the bridge."""

    @property
    def port(self) -> str:
        """The bridge's end of its cable."""
        return f"to-{self.name}"

    @contextmanager
    def program(self, *command: str, log: Path, env: dict[str, str]) -> Iterator[subprocess.Popen[bytes]]:
        """A program on this host for the time of the block; its process is that of the program itself."""
        with process(*self.command(*command), log=log, env=env, cwd=log.parent) as running:
            yield running

    def command(self, *command: str) -> list[str]:
        """A command as it is started here: without further processes, and killed if the one that started it dies."""
        return ["setpriv", "--pdeathsig", "KILL", "ip", "netns", "exec", self.namespace, *command]

    def cut(self) -> None:
        """Pull the cable: the host keeps its address, and nothing reaches or leaves it."""
        _ip("-n", self.switch, "link", "set", self.port, "down")

    def mend(self) -> None:
        """Put the cable back."""
        _ip("-n", self.switch, "link", "set", self.port, "up")


def why_none() -> str | None:
    """Why no hosts can be made on this machine; None if they can."""
    if os.geteuid() != 0:
        return "network namespaces need root"
    for program in ("ip", "setpriv"):
        if shutil.which(program) is None:
            return f"there is no program {program} here"
    try:
        with network("host"):
            return None
    except subprocess.CalledProcessError as error:
        return f"no network namespace can be made here: {error.stderr.strip()}"


@contextmanager
def network(*names: str) -> Iterator[dict[str, Host]]:
    """Hosts by name that reach each other, for the time of the block."""
    _remove_abandoned()
    prefix = f"{_PREFIX}-{os.getpid()}"
    switch = f"{prefix}-switch"
    with ExitStack() as stack:
        stack.enter_context(_namespace(switch))
        _ip("-n", switch, "link", "add", "bridge", "type", "bridge")
        _ip("-n", switch, "link", "set", "bridge", "up")
        hosts = {}
        for number, name in enumerate(names, start=1):
            host = Host(name, f"{_NET}.{number}", f"{prefix}-{name}", switch)
            stack.enter_context(_namespace(host.namespace))
            cable = ("type", "veth", "peer", "name", "line", "netns", host.namespace)
            _ip("-n", switch, "link", "add", "name", host.port, *cable)
            _ip("-n", switch, "link", "set", host.port, "master", "bridge", "up")
            _ip("-n", host.namespace, "address", "add", f"{host.address}/24", "dev", "line")
            for device in ("lo", "line"):
                _ip("-n", host.namespace, "link", "set", device, "up")
            hosts[name] = host
        yield hosts


@contextmanager
def _namespace(name: str) -> Iterator[None]:
    _ip("netns", "add", name)
    try:
        yield
    finally:
        _ip("netns", "delete", name)


def _remove_abandoned() -> None:
    """Remove the namespaces of processes that are gone."""
    for name in _ip("netns", "list").split():
        prefix, _, rest = name.partition("-")
        if prefix == _PREFIX and not psutil.pid_exists(int(rest.partition("-")[0])):
            with suppress(subprocess.CalledProcessError):
                _ip("netns", "delete", name)


def _ip(*words: str) -> str:
    said: Sequence[str] = ["ip", *words]
    return subprocess.run(said, capture_output=True, text=True, check=True).stdout
