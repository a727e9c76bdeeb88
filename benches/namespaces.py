"""Several machines on one: Linux network namespaces, each with a cable to one switch, or two with
one between them.

Needs root, `ip` (iproute2) and `nsenter` (util-linux). Nothing in them reaches any other network.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import threading
from collections.abc import Iterator

PREFIX = "fd00:4d65:7368::"
"""A unique local prefix (RFC 4193) of these namespaces alone."""


def unavailable() -> str:
    """Why namespaces cannot be had here; empty where they can."""
    if shutil.which("ip") is None:
        return "`ip` is not installed (Debian: iproute2)"
    if shutil.which("nsenter") is None:
        return "`nsenter` is not installed (Debian: util-linux)"
    if os.geteuid() != 0:
        return "network namespaces need root"
    name = f"hm-{os.getpid()}-try"
    tried = subprocess.run(["ip", "netns", "add", name], capture_output=True, check=False)
    if tried.returncode:
        return tried.stderr.decode(errors="replace").strip()
    _ip("netns", "delete", name)
    return ""


class Machines:
    """`names` machines at addresses of one prefix; a context manager, which takes them away."""

    def __init__(self, *names: str) -> None:
        self._names = names
        self._tag = f"hm-{os.getpid()}"

    def address(self, name: str) -> str:
        return f"{PREFIX}{self._names.index(name) + 1}"

    def command(self, name: str, *words: str) -> list[str]:
        """`words` as a command line that runs at the machine `name`.

        `ip netns exec` would mount a `/sys` of its own over the control groups.
        """
        return ["nsenter", f"--net=/run/netns/{self._namespace(name)}", *words]

    def unplug(self, name: str) -> None:
        """The switch's end of the cable goes down: the machine loses its carrier, and keeps its
        address."""
        self._at_switch("link", "set", _port(name), "down")

    def plug(self, name: str) -> None:
        self._at_switch("link", "set", _port(name), "up")

    @contextlib.contextmanager
    def flapping(self, name: str, *, up_s: float, down_s: float) -> Iterator[list[int]]:
        """The cable of `name` comes and goes for as long as the context lasts. Yields a list of one
        number: how often it has gone."""
        stop, times = threading.Event(), [0]

        def flap() -> None:
            while not stop.wait(up_s):
                self.unplug(name)
                times[0] += 1
                stop.wait(down_s)
                self.plug(name)

        thread = threading.Thread(target=flap, name=f"flap-{name}")
        thread.start()
        try:
            yield times
        finally:
            stop.set()
            thread.join()

    def __enter__(self) -> Machines:
        try:
            _ip("netns", "add", self._switch)
            self._at_switch("link", "add", "switch", "type", "bridge")
            self._at_switch("link", "set", "switch", "up")
            for name in self._names:
                self._connect(name)
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        for namespace in [*(self._namespace(name) for name in self._names), self._switch]:
            subprocess.run(["ip", "netns", "delete", namespace], capture_output=True, check=False)

    def _connect(self, name: str) -> None:
        namespace = self._namespace(name)
        _ip("netns", "add", namespace)
        cable = ["type", "veth", "peer", "name", "eth0", "netns", namespace]
        self._at_switch("link", "add", _port(name), *cable)
        self._at_switch("link", "set", _port(name), "master", "switch")
        self._at_switch("link", "set", _port(name), "up")
        inside = ["-n", namespace]
        _ip(*inside, "link", "set", "lo", "up")
        _ip(*inside, "link", "set", "eth0", "up")
        _ip(*inside, "address", "add", f"{self.address(name)}/64", "dev", "eth0", "nodad")

    def _at_switch(self, *words: str) -> None:
        _ip("-n", self._switch, *words)

    @property
    def _switch(self) -> str:
        return f"{self._tag}-switch"

    def _namespace(self, name: str) -> str:
        return f"{self._tag}-{name}"


class Cable:
    """Two machines, `near` and `far`, at the two ends of one cable that takes packets of `mtu`
    bytes; a context manager, which takes them away."""

    ENDS = ("near", "far")

    def __init__(self, mtu: int) -> None:
        self._mtu = mtu
        self._tag = f"hm-{os.getpid()}-{mtu}"

    def address(self, end: str) -> str:
        return f"{PREFIX}{self.ENDS.index(end) + 1}"

    def command(self, end: str, *words: str) -> list[str]:
        """`words` as a command line that runs at `end`."""
        return ["nsenter", f"--net=/run/netns/{self._namespace(end)}", *words]

    def __enter__(self) -> Cable:
        try:
            for end in self.ENDS:
                _ip("netns", "add", self._namespace(end))
            near, far = (self._namespace(end) for end in self.ENDS)
            cable = ["type", "veth", "peer", "name", "eth0", "netns", far]
            _ip("-n", near, "link", "add", "eth0", *cable)
            for end in self.ENDS:
                inside = ["-n", self._namespace(end)]
                _ip(*inside, "link", "set", "lo", "up")
                _ip(*inside, "link", "set", "eth0", "mtu", str(self._mtu), "up")
                _ip(*inside, "address", "add", f"{self.address(end)}/64", "dev", "eth0", "nodad")
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        for end in self.ENDS:
            command = ["ip", "netns", "delete", self._namespace(end)]
            subprocess.run(command, capture_output=True, check=False)

    def _namespace(self, end: str) -> str:
        return f"{self._tag}-{end}"


def _port(name: str) -> str:
    return f"to-{name}"


def _ip(*words: str) -> None:
    done = subprocess.run(["ip", *words], capture_output=True, text=True, check=False)
    if done.returncode:
        raise OSError(f"ip {' '.join(words)}: {done.stderr.strip()}")
