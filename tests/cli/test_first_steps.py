"""docs/how-to/first-steps.md: every command on the page runs and prints what the page shows."""

from __future__ import annotations

import re
import shlex
import sys
from pathlib import Path

import pytest

from .shell import HM, Done, Machine

PAGE = Path(__file__).resolve().parents[2] / "docs" / "how-to" / "first-steps.md"
BLOCK = re.compile(r"^```(\w+) (\S+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
COMMAND = re.compile(r"^\$ (.+)\n((?:(?!\$ ).*\n)*)", re.MULTILINE)
CHANGING = re.compile(r"hm1-\S+|[~/]\S+|hm://\S+|[0-9a-f]{8,}|[0-9][0-9.:-]*")


class Reader:
    """Somebody who follows the page on two machines."""

    def __init__(self, directory: Path) -> None:
        self._machines = {name: Machine(directory, name) for name in ("desktop", "laptop")}
        self._directory = directory
        self._token = ""
        self._lease = ""

    def follow(self, kind: str, where: str, text: str) -> None:
        if kind == "python":
            (self._directory / where).write_text(text)
            return
        assert kind == "console"
        for line, shown in COMMAND.findall(text):
            done = self._type(self._machines[where], line)
            said = (done.stdout + done.stderr).decode()
            assert done.returncode == 0, (line, said)
            missing = first_words(shown) - first_words(said)
            assert not missing, (line, missing, said)

    def _type(self, machine: Machine, line: str) -> Done:
        words = [self._real(word) for word in shlex.split(line)]
        assert words[0] == "hm"
        done = machine.run(str(HM), *words[1:])
        if found := re.search(rb"hm1-[a-z0-9]+", done.stdout):
            self._token = found[0].decode()
        if found := re.search(rb"\blease ([0-9a-f]{16})", done.stdout):
            self._lease = found[1].decode()
        return done

    def _real(self, word: str) -> str:
        """The value of this run in place of the page's."""
        if word.startswith("hm1-"):
            return self._token
        if word.startswith("hm://"):
            items = self._machines["laptop"].json("asset", "ls", "--kind", "memory")["items"]
            return next(str(each["address"]) for each in items if each["host_name"] == "desktop")
        if re.fullmatch(r"[0-9a-f]{16}", word):
            return self._lease
        return word

    def run_program(self, name: str, on: str) -> bytes:
        done = self._machines[on].run(sys.executable, name)
        assert done.returncode == 0, done.stderr
        return done.stdout

    def leave(self) -> None:
        for machine in self._machines.values():
            machine.hm("down")


def first_words(text: str) -> set[str]:
    """What begins the lines, apart from what differs from run to run."""
    words = {line.split()[0] for line in text.splitlines() if line.strip()}
    return {word for word in words if not CHANGING.fullmatch(word)}


def test_every_command_of_the_page(tmp_path: Path) -> None:
    reader = Reader(tmp_path)
    blocks = BLOCK.findall(PAGE.read_text())
    assert sum(text.count("\n$ ") + text.startswith("$ ") for _, _, text in blocks) >= 10
    stops = [index for index, block in enumerate(blocks) if block[2].startswith("$ hm down")]
    try:
        for block in blocks[: stops[0]]:
            reader.follow(*block)
        assert (tmp_path / "back.py").read_bytes() == (tmp_path / "primes.py").read_bytes()
        assert reader.run_program("region.py", "laptop").startswith(b"b'hello' on ")
        for block in blocks[stops[0] :]:
            reader.follow(*block)
    finally:
        reader.leave()


def test_the_page_shows_no_command_that_is_not_run() -> None:
    text = PAGE.read_text()
    shown = re.findall(r"^\$ .+$", text, re.MULTILINE)
    run = [f"$ {line}" for _, _, block in BLOCK.findall(text) for line, _ in COMMAND.findall(block)]
    assert shown == run
    with pytest.raises(ValueError, match="not in list"):
        run.index("$ hm frob")
