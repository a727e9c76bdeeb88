"""The power goes at the instants of the transparency logs: no answer is lost, no history forks."""

from __future__ import annotations

from pathlib import Path

import pytest

from hypermesh.trustchain.ct.entry import read_act
from hypermesh.trustchain.ct.errors import LogDamaged
from hypermesh.trustchain.ct.log import TransparencyLogs
from hypermesh.trustchain.ct.recorder import CertificateRecorder

from .killpoints import campaign
from .promises import Promises, Verdict
from .transparency_process import UNSYNCED, WAIT_S, Order, answered, opened, submission
from .workloads import Recording

ROUNDS = 5


@pytest.fixture(scope="module")
def lives(library: Path, tmp_path_factory: pytest.TempPathFactory) -> Recording:
    """Two lives, the second going on where the first ended."""
    recording = Recording.begin(library, tmp_path_factory.mktemp("transparency"))
    for first in (0, ROUNDS):
        recording.live("transparency_process", Order(first, first + ROUNDS, "", None))
    return recording


def check(point: Path, promises: Promises) -> Verdict:
    try:
        logs = opened(point / "node")
    except LogDamaged as error:
        return Verdict(lost=(str(error),))
    found = held(logs, promises)
    logs.close()
    return promises.check(found)


def held(logs: TransparencyLogs, promises: Promises) -> dict[str, str]:
    """What the logs hold, in the words of the workload; a certificate's answer is had by asking
    again, and must be what its entry says."""
    found = {}
    certificates, acts = logs.certificates, logs.acts
    numbers = {submission(number).certificate: number for number in range(2 * ROUNDS)}
    size = certificates.head.size
    for index in range(size):
        number = numbers[certificates.entry(index).submitted]
        (recorded,) = CertificateRecorder(logs, WAIT_S).record([submission(number)])
        found[f"certificate {number}"] = answered(recorded.index, recorded.sct)
        assert recorded.index == index
    assert certificates.head.size == size
    for index in range(acts.head.size):
        found[f"act {read_act(acts.leaf(index)).document.decode()}"] = str(index)
    for key in promises.kept:
        kind, _, number = key.partition(" ")
        if kind == "checkpoint" and int(number) <= size:
            found[key] = certificates.root(int(number)).hex()
    return found


def test_nothing_answered_is_lost(lives: Recording) -> None:
    outcome = campaign(lives.records(), check, every=6)
    assert outcome.lost == []
    assert outcome.invented == []
    assert outcome.kill_points > 60


def test_a_log_that_does_not_sync_is_found(library: Path, tmp_path: Path) -> None:
    recording = Recording.begin(library, tmp_path)
    recording.live("transparency_process", Order(0, 3, UNSYNCED, None))
    outcome = campaign(recording.records(), check, every=10_000, enough=3)
    assert len(outcome.lost) == 3
