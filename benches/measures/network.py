"""Real nodes as processes of their own, in a directory that goes with the measurement."""

from __future__ import annotations

import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from hypermesh.node.background import await_ready, launch, stop
from hypermesh.node.configuration import Configuration
from hypermesh.sdk.location import socket_path
from hypermesh.sdk.mesh import Mesh

START_TIMEOUT_S = 120.0
SHARE = "25%"


@dataclass(frozen=True)
class Running:
    """One node that is ready, and a connection to it."""

    data: Path
    process: subprocess.Popen[bytes]
    mesh: Mesh

    @property
    def pid(self) -> int:
        return self.process.pid


class Network:
    """Nodes on loopback: the first founds, the others join. All stop when the block ends."""

    def __init__(self, directory: Path, stack: ExitStack) -> None:
        self._directory = directory
        self._stack = stack

    def found(self, name: str) -> Running:
        return self._start(name, None)

    def join(self, name: str, founder: Running) -> Running:
        return self._start(name, founder.mesh.network.invite().token)

    def stop(self, node: Running) -> None:
        """End one node before the block does; its data stays until then."""
        end(node.process, node.data)

    def _start(self, name: str, token: str | None) -> Running:
        configuration = settings(self._directory / name)
        process = launch(configuration, token)
        self._stack.callback(end, process, configuration.data)
        await_ready(configuration, process, timeout_s=START_TIMEOUT_S)
        mesh = self._stack.enter_context(Mesh(socket_path(configuration.data)))
        return Running(configuration.data, process, mesh)


@contextmanager
def network() -> Iterator[Network]:
    """An empty network; its nodes and their data go at the end."""
    with scratch() as directory, ExitStack() as stack:
        yield Network(directory, stack)


@contextmanager
def scratch() -> Iterator[Path]:
    """A directory on the disk that holds the temporary files, removed at the end."""
    directory = Path(tempfile.mkdtemp(prefix="hm-bench-"))
    try:
        yield directory
    finally:
        shutil.rmtree(directory, ignore_errors=True)


def settings(data: Path) -> Configuration:
    """A node on loopback that declares a part of the machine to everybody."""
    return Configuration.of(
        data,
        name=data.name,
        share=SHARE,
        level="full_public",
        stoq_host="::1",
        stoq_port=None,
    )


def end(process: subprocess.Popen[bytes], data: Path) -> None:
    """Stop the node in order and collect its process."""
    stop(data)
    process.wait()
