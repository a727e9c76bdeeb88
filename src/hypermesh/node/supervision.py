"""Telling a service manager how the node is: sd_notify(3) over its datagram socket.

The node is ready when `/readyz` says so; until then it asks for more time, for a follower may have
to wait for its network. The watchdog hears from it as long as its event loop turns and its ledger
has not stopped: one that has stopped for good is better started again.
"""

from __future__ import annotations

import asyncio
import os
import socket
from collections.abc import Mapping

from hypermesh.node.composition import Node

READY_POLL_S = 0.2
BEAT_S = 5.0
"""Between two looks at a node that is ready, where no watchdog asks for more."""
PATIENCE_US = 30_000_000
"""How much longer the manager shall wait, asked for anew while the node comes up."""


class Manager:
    """The service manager that started this process; silent where there is none."""

    def __init__(self, environment: Mapping[str, str], pid: int) -> None:
        self._address = _address(environment.get("NOTIFY_SOCKET", ""))
        self._beat_s = min(BEAT_S, _watchdog_s(environment, pid) / 2)

    @classmethod
    def here(cls) -> Manager:
        return cls(os.environ, os.getpid())

    async def attend(self, node: Node) -> None:
        """Report until cancelled."""
        said = ""
        ready = False
        while True:
            checks = await asyncio.to_thread(node.readiness)
            faults = [f"{name}: {state}" for name, state in checks.items() if state != "ok"]
            status = "; ".join(faults) or f"ready, {node.listening.api}"
            lines = [] if status == said else [f"STATUS={_line(status)}"]
            if not faults and not ready:
                ready = True
                lines.append("READY=1")
            if not ready:
                lines.append(f"EXTEND_TIMEOUT_USEC={PATIENCE_US}")
            if checks["ledger"] == "ok":
                lines.append("WATCHDOG=1")
            self._notify(lines)
            said = status
            await asyncio.sleep(self._beat_s if ready else READY_POLL_S)

    def stopping(self) -> None:
        self._notify(["STOPPING=1", "STATUS=going down"])

    def _notify(self, lines: list[str]) -> None:
        if self._address is None or not lines:
            return
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as sender:
            sender.setblocking(False)
            try:
                sender.sendto("\n".join(lines).encode(), self._address)
            except OSError:
                # A manager that is gone or busy must not end what it supervises.
                return


def _address(path: str) -> str | None:
    """The socket in NOTIFY_SOCKET: a path, or with `@` a name in the abstract namespace."""
    if not path.startswith(("/", "@")):
        return None
    return "\0" + path[1:] if path.startswith("@") else path


def _watchdog_s(environment: Mapping[str, str], pid: int) -> float:
    """How long the watchdog waits; endless where it is not for this process."""
    meant = environment.get("WATCHDOG_PID", str(pid)) == str(pid)
    given = environment.get("WATCHDOG_USEC", "")
    return int(given) / 1_000_000 if meant and given.isdecimal() and int(given) else float("inf")


def _line(text: str) -> str:
    return " ".join(text.split())[:500]
