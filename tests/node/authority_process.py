"""The authority of a network with its logs, which kills itself with SIGKILL at one instant.

    python -m tests.node.authority_process DATA founding|issuing|naming|living OBJECT.METHOD WHEN

It founds the network in DATA where there is none, hands out certificates, and says on its standard
output what it has handed out and which checkpoints it has shown. WHEN is before or after; `naming`
dies while changes of names are recorded, `living` nowhere.
"""

from __future__ import annotations

import hashlib
import os
import signal
import sys
from pathlib import Path
from typing import Any

from hypermesh.crypto.keys import QuantumKeys
from hypermesh.node import authority_logs
from hypermesh.node.authority_logs import AuthorityLogs, InvitationAct, NameAct, NameDropAct
from hypermesh.node.configuration import prepare
from hypermesh.node.founding import found
from hypermesh.node.membership import Membership
from hypermesh.trustchain.ca.authority import CertificateAuthority, CertificateOrder
from hypermesh.trustchain.ct.log import LogView
from hypermesh.trustchain.ct.recorder import ActRecorder, CertificateRecorder
from hypermesh.trustchain.ct.store import SqliteLogStore

OBJECTS = {
    "authority": CertificateAuthority,
    "recorder": CertificateRecorder,
    "acts": ActRecorder,
    "store": SqliteLogStore,
    "logs": AuthorityLogs,
}
NOW_MS = 1_800_000_000_000
ROUNDS = 3
DEADLY_CALL = 2
"""So that something was handed out before."""
OWNER, DESK = b"o" * 32, b"d" * 32
NAMINGS = [
    kind(label, OWNER, DESK, None, height, entry)
    for height in (3, 4, 9)
    for entry, (kind, label) in enumerate(
        [(NameAct, "desk"), (NameDropAct, "desk"), (NameAct, "desk"), (NameAct, "lamp")], start=1
    )
]
"""What became of names on a ledger of ten blocks; the same label again and again."""
LAST = 10


def doom(place: str, when: str, call: int) -> None:
    """Die before or after the method's work, at that call of it."""
    name, _, method = place.partition(".")
    kind: Any = OBJECTS[name]
    original, calls = getattr(kind, method), 0

    def deadly(self: Any, *arguments: Any) -> Any:
        nonlocal calls
        calls += 1
        if calls == call and when == "before":
            os.kill(os.getpid(), signal.SIGKILL)
        result = original(self, *arguments)
        if calls == call:
            os.kill(os.getpid(), signal.SIGKILL)
        return result

    setattr(kind, method, deadly)


def say(*words: object) -> None:
    print(*words, flush=True)  # noqa: T201


def show(view: LogView) -> None:
    checkpoint = view.identity.opened(view.checkpoint())
    say("checkpoint", checkpoint.origin, checkpoint.size, checkpoint.root.hex())


def live(data: Path, part: str, place: str, when: str) -> None:
    prepare(data)
    if part == "founding":
        doom(place, when, 1)
    membership = Membership.open(data) or found(data, "alice-net", NOW_MS)
    say("handed", hashlib.sha256(membership.chain[0]).hexdigest())
    authority = CertificateAuthority.open(data, membership.store)
    logs = AuthorityLogs(data, membership.store, membership.keys, membership.genesis_id)
    logs.serve(authority)
    if part == "issuing":
        doom(place, when, DEADLY_CALL)
    for number in range(ROUNDS):
        logs.invited(InvitationAct(bytes([number]) * 32, None, number))
        keys = QuantumKeys.generate()
        order = CertificateOrder(keys.id, membership.genesis_id, keys.public, keys.id)
        issued = authority.certify(order, NOW_MS // 1000 + number)
        assert logs.logged(authority, issued) is not None
        say("handed", hashlib.sha256(issued.certificate).hexdigest())
        show(logs.present.certificates)
        show(logs.present.acts)
    if part == "naming":
        doom(place, when, DEADLY_CALL)
    # So small that a kill comes within a block's changes.
    authority_logs.LEAVES_AT_ONCE = 3
    logs.named([each for each in NAMINGS if each.height >= logs.names_from], LAST)
    say("named", logs.present.acts.head.size)
    logs.close()
    authority.close()
    say("whole")


if __name__ == "__main__":
    live(Path(sys.argv[1]), sys.argv[2], sys.argv[3], sys.argv[4])
