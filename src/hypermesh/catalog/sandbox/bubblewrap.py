"""The sandbox of processes: bubblewrap (bwrap(1)), its command line and whether it works here.

What is inside: `/usr` read-only (with `/bin`, `/lib` as the host has them), a `/proc` of its own
process namespace, a minimal `/dev`, and one writable directory `/work` in memory. There is no
`/etc`, no home, no data of the host; no network but a loopback of its own; no capabilities, no
environment, no terminal; one user, who is not root inside and, where the node may choose, not
outside either. Children die with the node.
"""

from __future__ import annotations

import os
import platform
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from hypermesh.catalog.errors import SandboxMissing, SandboxUnusable
from hypermesh.catalog.sandbox.seccomp import filter_for

PROGRAM = "bwrap"
NOBODY = 65534
"""User and group inside every sandbox (the kernel's overflow id); outside, too, where the node is
root, so that a process that breaks out owns nothing."""
PROBE_S_MAX = 5.0
"""Seconds one probe of the sandbox may take."""
PYTHON_MIN = (3, 11)

_INTERPRETERS = ("/usr/bin/python3", "/usr/local/bin/python3")
_FOREIGN_PREFIX = Path("/opt/python")
_SYSTEM_DIRECTORIES = ("bin", "lib", "lib32", "lib64", "libx32", "sbin")
_ELF = b"\x7fELF"


@dataclass(frozen=True, slots=True)
class Interpreter:
    """A real CPython: the program inside the sandbox, and what to bind for it."""

    program: Path
    binds: tuple[tuple[Path, Path], ...] = ()


@dataclass(frozen=True, slots=True)
class Bind:
    """A file or directory of the host, shown read-only."""

    source: Path
    target: Path


@dataclass(frozen=True, slots=True)
class Text:
    """Bytes shown as a read-only file."""

    content: bytes
    target: Path


@dataclass(frozen=True, slots=True)
class Bubblewrap:
    """A sandbox that was seen to work on this machine, with the interpreter inside."""

    program: Path
    interpreter: Interpreter
    drop: tuple[str, ...]
    """What stands in front of bwrap to give up root; empty where the node is not root."""
    system_calls: bytes | None
    version: str = ""
    """That of the interpreter, as it told in the probe."""

    @property
    def isolation(self) -> str:
        """Its isolation class. A machine without a known filter says so by the shorter name."""
        return "bubblewrap+seccomp" if self.system_calls else "bubblewrap"

    @contextmanager
    def command(
        self,
        arguments: Sequence[str],
        *,
        shown: Sequence[Bind | Text] = (),
        work_bytes: int,
        environment: Mapping[str, str] | None = None,
    ) -> Iterator[tuple[list[str], list[int]]]:
        """The command line that runs `arguments` inside, and the descriptors it needs, which are
        open until the block ends. `work_bytes` bounds `/work`; `environment` is all there is of
        one."""
        descriptors: list[int] = []
        try:
            line = [*self.drop, str(self.program), *_namespaces(), *_files(self.interpreter)]
            for item in shown:
                if isinstance(item, Text):
                    descriptors.append(_memory_file(item.content))
                    line += ["--ro-bind-data", str(descriptors[-1]), str(item.target)]
                else:
                    line += ["--ro-bind", str(item.source), str(item.target)]
            for name, value in (environment or {}).items():
                line += ["--setenv", name, value]
            line += ["--size", str(work_bytes), "--tmpfs", "/work", "--chdir", "/work"]
            line += ["--remount-ro", "/", "--remount-ro", "/dev"]
            if self.system_calls is not None:
                descriptors.append(_memory_file(self.system_calls))
                line += ["--seccomp", str(descriptors[-1])]
            yield [*line, "--", str(self.interpreter.program), *arguments], descriptors
        finally:
            for descriptor in descriptors:
                os.close(descriptor)


def find() -> Bubblewrap:
    """The sandbox of this machine, shown to work by running an interpreter in it.

    Raises `SandboxMissing` where there is no bwrap, `SandboxUnusable` where it or every interpreter
    fails. Each attempt takes at most `PROBE_S_MAX` seconds.
    """
    found = shutil.which(PROGRAM)
    if found is None:
        raise SandboxMissing
    candidates = interpreters()
    if not candidates:
        raise SandboxUnusable(
            "No CPython interpreter for jobs was found",
            why=f"looked for an ELF program at {', '.join(_INTERPRETERS)} and this node's own",
            fix="Install python3 and restart the node",
        )
    refusals = []
    for drop in _drops():
        for interpreter in candidates:
            sandbox = Bubblewrap(Path(found), interpreter, drop, filter_for(platform.machine()))
            try:
                return replace(sandbox, version=_probed(sandbox))
            except SandboxUnusable as refusal:
                refusals.append(refusal.why)
    raise SandboxUnusable(why="; ".join(dict.fromkeys(refusals))[:1000])


def _drops() -> list[tuple[str, ...]]:
    """Ways to start bwrap, the best first. Root gives up its identity in a program of its own:
    doing it between fork and exec would keep Python from using vfork, and copying the page tables
    of a node that serves gigabytes of memory takes longer than the whole sandbox. chroot(1) into
    `/` changes only the identity, as setpriv(1) does, and starts 0.8 ms sooner; busybox has one
    without these options, which the probe finds out."""
    if os.geteuid() != 0:
        return [()]
    ways = [
        ("chroot", f"--userspec=+{NOBODY}:+{NOBODY}", "--groups=", "/"),
        ("setpriv", f"--reuid={NOBODY}", f"--regid={NOBODY}", "--clear-groups", "--"),
    ]
    found = [(shutil.which(name), arguments) for name, *arguments in ways]
    return [(program, *arguments) for program, arguments in found if program] + [()]


def interpreters() -> list[Interpreter]:
    """Real interpreters of this machine, the system's first.

    The system's lies in `/usr`, which is shown anyway; the node's own is shown under a neutral
    path, which tells nothing about the host. A shim (a script that looks for the real one) is no
    interpreter: it needs files that are not inside, and takes ten times as long to start.
    """
    found = [
        Interpreter(path.resolve())
        for path in map(Path, _INTERPRETERS)
        if _is_program(path) and path.resolve().is_relative_to("/usr")
    ]
    own, prefix = own_interpreter(), Path(sys.base_prefix).resolve()
    if own is not None and own.is_relative_to(prefix) and not own.is_relative_to("/usr"):
        inside = _FOREIGN_PREFIX / own.relative_to(prefix)
        found.append(Interpreter(inside, ((prefix, _FOREIGN_PREFIX),)))
    return list(dict.fromkeys(found))


def own_interpreter() -> Path | None:
    """The program that runs this process, behind any virtual environment."""
    base = getattr(sys, "_base_executable", sys.executable)
    path = Path(base).resolve() if base else None
    return path if path is not None and _is_program(path) else None


def _is_program(path: Path) -> bool:
    try:
        with path.open("rb") as file:
            return file.read(len(_ELF)) == _ELF
    except OSError:
        return False


def _namespaces() -> list[str]:
    return [
        "--unshare-user",
        "--unshare-ipc",
        "--unshare-pid",
        "--unshare-net",
        "--unshare-uts",
        "--unshare-cgroup-try",
        *("--uid", str(NOBODY), "--gid", str(NOBODY)),
        *("--hostname", "job"),
        *("--cap-drop", "ALL"),
        "--die-with-parent",
        "--new-session",
        "--clearenv",
    ]


def _files(interpreter: Interpreter) -> list[str]:
    line = ["--ro-bind", "/usr", "/usr"]
    for name in _SYSTEM_DIRECTORIES:
        path = Path("/", name)
        if path.is_symlink():
            line += ["--symlink", str(path.readlink()), str(path)]
        elif path.is_dir():
            line += ["--ro-bind", str(path), str(path)]
    line += ["--ro-bind-try", "/etc/ld.so.cache", "/etc/ld.so.cache"]
    for source, target in interpreter.binds:
        line += ["--ro-bind", str(source), str(target)]
    return [*line, "--proc", "/proc", "--dev", "/dev"]


def _memory_file(content: bytes) -> int:
    descriptor = os.memfd_create("hm-sandbox", os.MFD_CLOEXEC)
    os.write(descriptor, content)
    os.lseek(descriptor, 0, os.SEEK_SET)
    return descriptor


def _probed(sandbox: Bubblewrap) -> str:
    """The version of the interpreter, told from inside. Raises `SandboxUnusable` with why."""
    program = (
        "import sys; print('.'.join(map(str, sys.version_info[:3]))); "
        f"sys.exit(sys.version_info < {PYTHON_MIN})"
    )
    with sandbox.command(["-I", "-S", "-c", program], work_bytes=1 << 20) as (line, descriptors):
        try:
            ran = subprocess.run(
                line,
                stdin=subprocess.DEVNULL,
                capture_output=True,
                check=False,
                cwd="/",
                env={},
                pass_fds=descriptors,
                timeout=PROBE_S_MAX,
            )
        except subprocess.TimeoutExpired as error:
            why = f"{sandbox.program} gave no answer within {PROBE_S_MAX:g} s"
            raise SandboxUnusable(why=why) from error
        except OSError as error:
            raise SandboxUnusable(why=f"{sandbox.program} cannot be run: {error}") from error
    if ran.returncode == 0:
        return ran.stdout.decode(errors="replace").strip()
    said = ran.stderr.decode(errors="replace").strip().splitlines()
    why = said[-1] if said else f"its probe ended with exit code {ran.returncode}"
    raise SandboxUnusable(why=why)
