"""A page of the documents as somebody reads it: top to bottom, on machines of its own.

What a fenced block is, its first line says:

    ```console [MACHINE]   commands after `$ ` (a `\\` at the end goes on), and what they print
    ```python              a program, run where the last command ran
    ```LANGUAGE FILE       a file, written into the working directory
    ```LANGUAGE skip=WHY   not run here; `test_pages.py` knows each WHY
    ```text                nothing to run

Ports 18400 to 18499 stand for free ones of the machine that reads (`with_free_ports`).

Each MACHINE has a home directory of its own, and `hm` on its path; files are shared. A command must
end with 0, and print each line that the page shows, in whatever order, apart from what differs from
run to run: ids, addresses, tokens, paths, times, sizes, amounts. `...` stands for anything. Of ids,
addresses and tokens the reader remembers which of this run stands for which of the page.
"""

from __future__ import annotations

import os
import re
import socket
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import psutil

TIMEOUT_S = 150
LEAVE_S = 20
"""`hm down` answers when the node has let go of its data; the process ends a little later."""
FENCE = re.compile(r"^```(\S*)[ \t]*(.*)\n((?:.*\n)*?)```[ \t]*$", re.MULTILINE)
COMMAND = re.compile(r"^\$ ((?:.*\\\n)*.*)\n((?:(?!\$ ).*\n)*)", re.MULTILINE)
ELIDED = "..."

NAMED = {
    "token": r"hm1-[a-z0-9]+",
    "secret": r"hm_[A-Za-z0-9_-]{8,}",
    "address": r"hm://[0-9a-f.:]+",
    "id": r"\b(?=[0-9a-f]*[0-9])[0-9a-f]{8,}\b",
}
"""What stands for something: learnt from what is printed, put into later commands."""
CHANGING = {
    **NAMED,
    "path": r"(?<![\w:/])[~/][\w./-]*",
    "cgroup": r"cgroup[12]",
    "number": r"\d[\d,]*(?:[.:-]\d+)*(?:e-?\d+)?"
    r"(?: ?(?:[KMGT]i)?B\b| ?(?:ns|µs|ms|s|min|h|days?|%)(?!\w)| cores?\b)?",
}
WORD = re.compile("|".join(f"(?P<{kind}>{pattern})" for kind, pattern in CHANGING.items()))
REFERENCE = re.compile("|".join([*NAMED.values(), r"\b[0-9a-f]{6,}\b"]))


class Wrong(AssertionError):
    """The page does not do what it says."""


PORT = re.compile(r"\b184[0-9]{2}\b")
PORTS_FROM, PORTS_TO = 10_000, 32_000
"""Below those that Linux gives to connections that go out (32768 and up): a port that is free now
is not taken by one of them before the page gets to it."""


def with_free_ports(text: str, begin: int | None = None) -> str:
    """The page with ports that are free here, for those that it shows. The search begins at
    `begin`; else each process begins somewhere else, for pages are read side by side."""
    at = PORTS_FROM + os.getpid() * 16 % (PORTS_TO - PORTS_FROM) if begin is None else begin
    found = _free_ports(at)
    real = {port: next(found) for port in sorted(set(PORT.findall(text)))}
    return PORT.sub(lambda match: str(real[match[0]]), text)


def _free_ports(begin: int) -> Iterator[int]:
    for port in [*range(begin, PORTS_TO), *range(PORTS_FROM, begin)]:
        if all(_is_free(port, kind) for kind in (socket.SOCK_STREAM, socket.SOCK_DGRAM)):
            yield port
    raise Wrong("there is no free port")


def _is_free(port: int, kind: socket.SocketKind) -> bool:
    """Whether no address of this machine, of either family, has it."""
    with socket.socket(socket.AF_INET6, kind) as asked:
        asked.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
        try:
            asked.bind(("::", port))
        except OSError:
            return False
        return True


@dataclass(frozen=True)
class Block:
    language: str
    words: str
    text: str

    @property
    def skip(self) -> str | None:
        return self.words.removeprefix("skip=") if self.words.startswith("skip=") else None


def blocks(text: str) -> Iterator[Block]:
    for language, words, content in FENCE.findall(text):
        yield Block(language, words.strip(), content)


def commands(block: Block) -> list[tuple[str, str]]:
    """(command, what the page shows of its output)."""
    return [(line.replace("\\\n", " "), shown) for line, shown in COMMAND.findall(block.text)]


def skeleton(line: str) -> tuple[str, tuple[tuple[str, str], ...]]:
    """A line without what changes from run to run, and what did."""
    if not re.search(r"[A-Za-z]", line):
        return line.strip(), ()  # Nothing but figures: those of a program, which are the same.
    found = tuple((str(each.lastgroup), each[0]) for each in WORD.finditer(line))
    return " ".join(WORD.sub(lambda each: f"<{each.lastgroup}>", line).split()), found


@dataclass
class Reader:
    """Somebody who follows a page."""

    directory: Path
    meant: dict[str, str] = field(default_factory=dict)
    """What of this run stands for what of the page."""
    machines: list[str] = field(default_factory=list)
    ran: int = 0

    def follow(self, text: str) -> None:
        (self.directory / "work").mkdir(exist_ok=True)
        for block in blocks(text):
            self._block(block)

    def leave(self) -> None:
        """End what runs on every machine. Raises `Wrong` where something still does."""
        for machine in list(self.machines):
            self._run(machine, "hm down")
        deadline = time.monotonic() + LEAVE_S
        while left := self._processes():
            if time.monotonic() > deadline:
                raise Wrong(f"processes {left} still run")
            time.sleep(0.1)

    def _processes(self) -> list[int]:
        return [
            each.pid
            for each in psutil.process_iter(["cmdline"])
            if any(str(self.directory) in word for word in each.info["cmdline"] or ())
        ]

    def _block(self, block: Block) -> None:
        if block.skip is not None or block.language == "text":
            return
        if block.language == "console":
            machine = block.words or "here"
            for line, shown in commands(block):
                self._command(machine, line, shown)
        elif block.words:
            if not re.fullmatch(r"[\w.-]+", block.words):
                raise Wrong(f"{block.words!r} is no name of a file")
            (self.directory / "work" / block.words).write_text(block.text)
        elif block.language == "python":
            self.ran += 1
            name = f"example_{self.ran}.py"
            (self.directory / "work" / name).write_text(block.text)
            self._command(self.machines[-1] if self.machines else "here", f"python {name}", "")
        else:
            raise Wrong(f"a block of {block.language!r} is neither run nor marked")

    def _command(self, machine: str, line: str, shown: str) -> None:
        done = self._run(machine, self._real(line))
        if done.returncode != 0:
            raise Wrong(f"{machine}$ {line}\nended with {done.returncode}:\n{done.stdout}")
        self._compare(f"{machine}$ {line}", shown, done.stdout)

    def _run(self, machine: str, line: str) -> subprocess.CompletedProcess[str]:
        home = self.directory / machine
        if machine in self.machines:
            self.machines.remove(machine)
        self.machines.append(machine)
        home.mkdir(exist_ok=True)
        tools = Path(sys.executable).parent
        kept = {name: os.environ[name] for name in ("LANG", "LC_ALL") if name in os.environ}
        environment = {
            **kept,
            "HOME": str(home),
            "PATH": f"{tools}{os.pathsep}{os.environ['PATH']}",
            "TZ": "UTC",
            "COLUMNS": "240",
        }
        return subprocess.run(
            ["bash", "-c", line],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            cwd=self.directory / "work",
            env=environment,
            timeout=TIMEOUT_S,
            check=False,
        )

    def _real(self, line: str) -> str:
        """The command with the ids, addresses and tokens of this run."""

        def replaced(match: re.Match[str]) -> str:
            word = match[0]
            if word in self.meant:
                return self.meant[word]
            longer = {real for page, real in self.meant.items() if page.startswith(word)}
            return longer.pop()[: len(word)] if len(longer) == 1 else word

        return REFERENCE.sub(replaced, line)

    def _compare(self, command: str, shown: str, printed: str) -> None:
        there = [skeleton(line) for line in printed.splitlines()]
        used: Counter[int] = Counter()
        for line in shown.splitlines():
            if not line.strip() or line.strip() == ELIDED:
                continue
            wanted, values = skeleton(line)
            at = next(
                (n for n, (said, _) in enumerate(there) if said == wanted and not used[n]), None
            )
            if at is None:
                raise Wrong(f"{command}\ndid not print:\n{line}\n({wanted})\nbut:\n{printed}")
            used[at] += 1
            for (kind, page), (_, real) in zip(values, there[at][1], strict=True):
                if kind in NAMED:
                    self.meant[page] = real
                if kind == "address":  # The ids in it, too.
                    self.meant |= zip(
                        re.findall("[0-9a-f]{16,}", page),
                        re.findall("[0-9a-f]{16,}", real),
                        strict=True,
                    )
