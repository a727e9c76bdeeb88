"""The authority is killed with SIGKILL between any two of its steps: no certificate is handed out
without its entry, no log shows two histories, and no change of a name is missing or there twice."""

from __future__ import annotations

import hashlib
import subprocess
import sys
from pathlib import Path

import pytest

from hypermesh.node import authority_logs
from hypermesh.node.authority_logs import AuthorityLogs, NameAct, NameDropAct
from hypermesh.node.membership import Membership
from hypermesh.trustchain.ca.authority import CertificateAuthority
from hypermesh.trustchain.ct.entry import read_act
from hypermesh.wire.codec import decode

from .authority_process import LAST, NAMINGS

INSTANTS = [
    ("founding", "authority._certified", "after"),
    ("founding", "store.append", "after"),
    ("founding", "logs.logged", "after"),
    ("issuing", "authority._certified", "after"),
    ("issuing", "store.append", "before"),
    ("issuing", "store.append", "after"),
    ("issuing", "recorder.record", "after"),
    ("issuing", "authority._record", "after"),
    ("issuing", "store.publish", "before"),
    ("issuing", "store.publish", "after"),
    ("issuing", "logs.logged", "after"),
    ("naming", "acts.record", "before"),
    ("naming", "acts.record", "after"),
    ("naming", "store.append", "after"),
]
USUAL = {
    ("founding", "logs.logged", "after"),
    ("issuing", "authority._certified", "after"),
    ("issuing", "store.append", "after"),
    ("naming", "store.append", "after"),
}
"""The others run with the long ones: each takes seconds."""
ROOT = Path(__file__).resolve().parents[2]


def live(data: Path, part: str, place: str = "-", when: str = "-") -> tuple[int, list[list[str]]]:
    """One life: how it ended, and what it said."""
    done = subprocess.run(
        [sys.executable, "-m", "tests.node.authority_process", str(data), part, place, when],
        cwd=ROOT,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        timeout=120,
        check=False,
    )
    return done.returncode, [line.split() for line in done.stdout.decode().splitlines()]


def contradictions(data: Path, said: list[list[str]]) -> list[str]:
    """What was handed out or shown and is not in the logs of `data`."""
    membership = Membership.open(data)
    assert membership is not None
    authority = CertificateAuthority.open(data, membership.store)
    logs = AuthorityLogs(data, membership.store, membership.keys, membership.genesis_id)
    try:
        view = logs.present.certificates
        entries = [view.entry(index).signed for index in range(view.head.size)]
        logged = {hashlib.sha256(each).hexdigest() for each in entries}
        found = []
        if len(logged) != len(entries):
            found.append("one certificate twice")
        for kind, *words in said:
            if kind == "handed" and words[0] not in logged:
                found.append(f"{words[0]} is in no log")
            if kind == "checkpoint":
                shown = logs.view(words[0])
                if int(words[1]) > shown.head.size or shown.root(int(words[1])).hex() != words[2]:
                    found.append(f"another history of {words[0]} at {words[1]}")
        if recorded(logs) != NAMINGS:
            found.append("a change of a name is missing or there twice")
        logs.serve(authority)
        stored = {
            hashlib.sha256(each.certificate).hexdigest() for _, each in authority.issued(None, 500)
        }
        if not {words[0] for kind, *words in said if kind == "handed"} <= stored:
            found.append("the authority does not know a certificate that it handed out")
        return found
    finally:
        logs.close()
        authority.close()


def recorded(logs: AuthorityLogs) -> list[NameAct | NameDropAct]:
    """The changes of names in the log of acts, in its order."""
    view = logs.present.acts
    kinds: dict[str, type[NameAct | NameDropAct]] = {
        each.kind: each for each in (NameAct, NameDropAct)
    }
    leaves = [read_act(leaf) for leaf in view.leaves(0, view.head.size)]
    return [decode(kinds[leaf.kind], leaf.document) for leaf in leaves if leaf.kind in kinds]


@pytest.mark.parametrize(
    ("part", "place", "when"),
    [
        pytest.param(*each, id="-".join(each), marks=() if each in USUAL else pytest.mark.long)
        for each in INSTANTS
    ],
)
def test_a_kill_leaves_no_certificate_without_its_entry(
    tmp_path: Path, part: str, place: str, when: str
) -> None:
    data = tmp_path / "alice"
    status, first = live(data, part, place, when)
    assert status == -9
    assert ["whole"] not in first
    assert part == "founding" or any(kind == "handed" for kind, *_ in first)
    status, second = live(data, "living")
    assert status == 0
    assert ["whole"] in second
    assert contradictions(data, first + second) == []


def test_the_check_finds_a_certificate_in_no_log_and_a_fork(tmp_path: Path) -> None:
    data = tmp_path / "alice"
    status, said = live(data, "living")
    assert status == 0
    assert contradictions(data, said) == []
    shown = next(line for line in said if line[0] == "checkpoint")
    planted = [["handed", "00" * 32], [*shown[:3], "00" * 32]]
    assert len(contradictions(data, planted)) == 3


def test_the_check_finds_a_change_of_a_name_there_twice_or_missing(tmp_path: Path) -> None:
    data = tmp_path / "alice"
    status, said = live(data, "living")
    assert status == 0
    membership = Membership.open(data)
    assert membership is not None
    logs = AuthorityLogs(data, membership.store, membership.keys, membership.genesis_id)
    assert logs.names_from == NAMINGS[-1].height
    assert logs.named(NAMINGS, LAST) == 0
    assert logs.names_from == LAST + 1
    logs._recorded().there.clear()
    assert logs.named(NAMINGS, LAST) == len([each for each in NAMINGS if each.height == 9])
    logs.close()
    assert contradictions(data, said) == ["a change of a name is missing or there twice"]


def test_what_was_read_without_a_change_is_not_read_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = tmp_path / "alice"
    assert live(data, "living")[0] == 0
    membership = Membership.open(data)
    assert membership is not None

    def opened() -> AuthorityLogs:
        return AuthorityLogs(data, membership.store, membership.keys, membership.genesis_id)

    monkeypatch.setattr(authority_logs, "NAMES_READ_STRIDE", 100)
    for through, expected in ((108, NAMINGS[-1].height), (109, 110), (150, 110), (209, 210)):
        logs = opened()
        logs.named([], through)
        assert logs.names_from == through + 1
        logs.close()
        again = opened()
        assert again.names_from == expected
        again.close()
