"""Killed at each named instant, over and over: no fork, and no SCT without its entry."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from hypermesh.trustchain.ct.entry import read_act
from hypermesh.trustchain.ct.errors import LogDamaged, NotInLog
from hypermesh.trustchain.ct.log import LogView
from hypermesh.trustchain.ct.postgresql_store import HEAD_FILE
from hypermesh.trustchain.ct.recorder import CertificateRecorder
from hypermesh.trustchain.ct.sct import read_sct, verify_sct
from hypermesh.trustchain.ct.tree import consistent

from .killed import EARLY, INSTANTS
from .samples import WAIT_S, opened, place_in, plain

ROOT = Path(__file__).resolve().parents[3]
LIFE_S = 120
KILLED = -9
COUNTS = (1, 6)
"""How often the instant comes before the death: at once, and in the middle of a life."""


@dataclass
class Promised:
    """What all lives of a log said before they ended."""

    scts: dict[int, tuple[int, str]] = field(default_factory=dict)
    acts: dict[int, int] = field(default_factory=dict)
    checkpoints: list[tuple[str, bytes]] = field(default_factory=list)

    def hear(self, said: str) -> None:
        for line in said.splitlines(keepends=True):
            if not line.endswith("\n"):
                continue
            match line.split():
                case ["sct", number, index, sct]:
                    self.scts[int(number)] = (int(index), sct)
                case ["act", number, index]:
                    self.acts[int(number)] = int(index)
                case ["checkpoint", name, note]:
                    self.checkpoints.append((name, bytes.fromhex(note)))

    def broken(self, directory: Path) -> list[str]:
        """The promises that the log left in `directory` does not keep."""
        logs = opened(directory)
        views: dict[str, LogView] = {"certificates": logs.certificates, "acts": logs.acts}
        broken = []
        key = logs.certificates.identity.p256
        assert key is not None
        for number, (index, sct) in self.scts.items():
            leaf = verify_sct(read_sct(bytes.fromhex(sct)), plain(number), key)
            try:
                if logs.certificates.leaf(index) != leaf:
                    broken.append(f"the SCT of {number} has another entry")
            except NotInLog:
                broken.append(f"the SCT of {number} has no entry")
        for number, index in self.acts.items():
            try:
                if read_act(logs.acts.leaf(index)).document != b"%d" % number:
                    broken.append(f"act {number} is another")
            except NotInLog:
                broken.append(f"act {number} is not there")
        for name, note in self.checkpoints:
            view = views[name]
            shown = view.identity.opened(note)
            if shown.size > view.head.size:
                broken.append(f"{name} showed {shown.size} entries")
                continue
            path = view.consistency(shown.size, view.head.size)
            head = view.head
            if not consistent(shown.size, shown.root, head.size, head.root, path):
                broken.append(f"{name} forked at {shown.size}")
        logs.close()
        return broken


def life(directory: Path, instant: str, count: int, plant: str, first: int) -> tuple[bool, str]:
    """(whether it was killed, what it said)."""
    done = subprocess.run(
        [
            sys.executable,
            "-m",
            f"{__package__}.killed",
            *map(str, (directory, instant, count, plant, first)),
        ],
        cwd=ROOT,
        capture_output=True,
        check=False,
        timeout=LIFE_S,
    )
    assert done.returncode in (0, KILLED), done.stderr.decode()
    return done.returncode == KILLED, done.stdout.decode()


@pytest.mark.parametrize("instant", INSTANTS)
def test_a_log_killed_at_an_instant(kept: Path, instant: str) -> None:
    promised = Promised()
    for number, count in enumerate(COUNTS):
        first = number * 1000
        killed, said = life(kept, instant, count, "", first)
        assert killed
        promised.hear(said)
        assert promised.broken(kept) == []
        # Who had no answer asks again, and has one that fits what was kept.
        logs = opened(kept)
        asked = range(first, first + 12)
        answers = CertificateRecorder(logs, WAIT_S).record([plain(each) for each in asked])
        for each, recorded in zip(asked, answers, strict=True):
            answered = (recorded.index, recorded.sct.hex())
            assert promised.scts.setdefault(each, answered) == answered
        assert {index for index, _ in promised.scts.values()} <= set(
            range(logs.certificates.head.size)
        )
        logs.close()
    assert len(promised.scts) >= 12
    assert promised.broken(kept) == []


def test_an_answer_before_the_commit_is_found(kept: Path) -> None:
    killed, said = life(kept, "after answer", 6, EARLY, 0)
    assert killed
    promised = Promised()
    promised.hear(said)
    if place_in(kept) is not None:
        with pytest.raises(LogDamaged, match="gone back"):
            opened(kept)
        # What it had answered from stands in this file; without it, clients find out.
        (kept / "ct" / HEAD_FILE).unlink()
    # Three certificates and three acts in turn; the last act was in a batch of its own.
    assert promised.broken(kept) == ["act 4 is not there"]


def test_a_fork_is_found(tmp_path: Path) -> None:
    promised = Promised()
    logs = opened(tmp_path)
    view = logs.certificates
    recorder = CertificateRecorder(logs, WAIT_S)
    recorder.record([plain(0), plain(1)])
    note = view.checkpoint()
    root = view.root(1)
    logs.close()
    promised.checkpoints.append(("certificates", note))
    assert promised.broken(tmp_path) == []
    other = view._signer.sign(type(view.identity.opened(note))(view.identity.origin, 2, root), 0)
    promised.checkpoints.append(("certificates", other.encoded()))
    assert promised.broken(tmp_path) == ["certificates forked at 2"]
