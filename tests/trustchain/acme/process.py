"""A server in a process of its own, and the names it resolves, for tests of whole clients."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from .authority import SmallAuthority
from .client import p256
from .zone import Zone

if TYPE_CHECKING:
    from hypermesh.postgresql.place import Place

SERVE = Path(__file__).with_name("serve.py")
END_S = 60


class Names:
    """A name server in a thread. Names that end in `.example` lead to loopback; a file
    `NAME.txt` in the directory holds the TXT records of NAME, a line each."""

    def __init__(self, directory: Path) -> None:
        directory.mkdir(exist_ok=True)
        self.directory = directory
        self._started = threading.Event()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._run()), daemon=True)
        self._thread.start()
        assert self._started.wait(60)

    async def _run(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._stop = asyncio.Event()
        zone = Zone(self._records)
        await zone.start()
        self.port = zone.port
        self._started.set()
        await self._stop.wait()
        zone.stop()

    def _records(self, name: str, kind: str) -> Sequence[str] | None:
        if not name.endswith(".example"):
            return []
        if kind == "TXT":
            file = self.directory / f"{name}.txt"
            return [f'"{each}"' for each in file.read_text().split()] if file.exists() else []
        return ["127.0.0.1"] if kind == "A" else []

    def close(self) -> None:
        self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join(END_S)


class Held:
    """A TCP port that nobody else gets: bound on both IP versions, and not listened on. Who binds
    with SO_REUSEADDR can listen there."""

    def __init__(self) -> None:
        for _ in range(100):
            self._sockets = [
                socket.socket(family, socket.SOCK_STREAM)
                for family in (socket.AF_INET, socket.AF_INET6)
            ]
            for each in self._sockets:
                each.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            self._sockets[1].setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
            self._sockets[0].bind(("0.0.0.0", 0))  # noqa: S104 (a test holds it)
            self.port = self._sockets[0].getsockname()[1]
            try:
                self._sockets[1].bind(("::", self.port))
            except OSError:
                self.close()
            else:
                return
        raise AssertionError("no port is free on both IP versions")

    def close(self) -> None:
        for each in self._sockets:
            each.close()


class Process:
    """The server: `start` and `kill` as often as wanted, at one URL."""

    def __init__(
        self,
        directory: Path,
        names: Names,
        http_port: int,
        place: Place | None,
        *,
        external_account_required: bool,
    ) -> None:
        self.directory = directory
        self.authority = SmallAuthority(directory / "authority")
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        self.url = f"https://localhost:{self.port}/acme"
        self.ca_file = directory / "ca.pem"
        self.ca_file.write_bytes(self.authority.root.public_bytes(Encoding.PEM))
        self._ready = directory / "binding.json"
        key = p256()
        certificate = self.authority.certificate_for(["localhost"], key.public_key())
        from cryptography.x509 import load_der_x509_certificate

        file = directory / "server.pem"
        file.write_bytes(
            load_der_x509_certificate(certificate).public_bytes(Encoding.PEM)
            + key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
        )
        self._told = {
            "directory": str(directory),
            "database": None if place is None else place.url,
            "url": self.url,
            "fd": self._listener.fileno(),
            "dns_port": names.port,
            "http_port": http_port,
            "certificate": str(file),
            "external_account_required": external_account_required,
            "ready": str(self._ready),
        }
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def binding(self) -> tuple[str, str]:
        """The key for an external account that the server made; there once it answers."""
        kid, secret = json.loads(self._ready.read_text())
        return kid, secret

    def start(self) -> None:
        # A client that connects before the server listens waits in the socket's backlog.
        self._process = subprocess.Popen(
            [sys.executable, str(SERVE), json.dumps(self._told)],
            pass_fds=[self._listener.fileno()],
        )

    def kill(self) -> None:
        assert self._process is not None
        os.kill(self._process.pid, signal.SIGKILL)
        self.wait()

    def wait(self) -> int:
        assert self._process is not None
        return self._process.wait(END_S)

    def close(self) -> None:
        if self._process is not None and self._process.poll() is None:
            self._process.terminate()
            self.wait()
        self._listener.close()


@contextlib.contextmanager
def running(
    directory: Path, place: Place | None = None, *, external_account_required: bool = False
) -> Iterator[tuple[Process, Names, Held]]:
    """A server that runs, over a file or the database `place`, its names, and the port that http-01
    asks at."""
    names, held = Names(directory / "names"), Held()
    process = Process(
        directory, names, held.port, place, external_account_required=external_account_required
    )
    try:
        process.start()
        yield process, names, held
    finally:
        process.close()
        held.close()
        names.close()
