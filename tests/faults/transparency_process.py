"""The life of the transparency logs under the recorder.

    python -m tests.faults.transparency_process ORDER DIRECTORY LOG

Certificates and acts are recorded one after the other, and checkpoints shown; each is marked as
begun and as done.
"""

from __future__ import annotations

import hashlib
import sqlite3
from pathlib import Path

import msgspec

from hypermesh.crypto.files import make_directory
from hypermesh.crypto.keystore import KeyStore
from hypermesh.trustchain.ct import store as store_module
from hypermesh.trustchain.ct.log import TransparencyLogs
from hypermesh.trustchain.ct.recorder import ActRecorder, CertificateRecorder
from hypermesh.trustchain.ct.store import SqliteLogStore
from hypermesh.trustchain.evidence import Act, FinalCertificate

from .promises import ANY
from .workloads import Death, Scribe, under_the_recorder

WAIT_S = 60.0
ORIGIN = "log.example"
UNSYNCED = "synchronous=OFF"
INDEXED_LATER = 4
"""So few that rows of the indexes move within a short life."""


class Order(msgspec.Struct, frozen=True):
    """What to do in one life: rounds `first` to `last`."""

    first: int
    last: int
    plant: str
    death: Death | None


class Unsynced(SqliteLogStore):
    """SQLite is told not to sync."""

    def _connect(self) -> sqlite3.Connection:
        connection = super()._connect()
        connection.execute("PRAGMA synchronous = OFF")
        return connection


def opened(data: Path, plant: str = "") -> TransparencyLogs:
    """The logs of `data`."""
    make_directory(data)
    store = Unsynced if plant == UNSYNCED else SqliteLogStore
    return TransparencyLogs(data / "ct", KeyStore(data / "keys"), ORIGIN, store=store)


def submission(number: int) -> FinalCertificate:
    return FinalCertificate(number.to_bytes(4, "big") * 100, (b"issuer %d" % (number % 3),))


def answered(index: int, sct: bytes) -> str:
    return f"{index} {hashlib.sha256(sct).hexdigest()[:16]}"


def live(order: Order, data: Path, scribe: Scribe) -> None:
    store_module.INDEXED_LATER = INDEXED_LATER  # type: ignore[misc]
    logs = opened(data, order.plant)
    certificates, acts = CertificateRecorder(logs, WAIT_S), ActRecorder(logs, WAIT_S)
    for number in range(order.first, order.last):
        scribe.begin(f"certificate {number}", ANY)
        (recorded,) = certificates.record([submission(number)])
        scribe.done(f"certificate {number}", answered(recorded.index, recorded.sct))
        scribe.begin(f"act {number}", ANY)
        (index,) = acts.record([Act("test.act", b"%d" % number)])
        scribe.done(f"act {number}", str(index))
        view = logs.certificates
        size = view.head.size
        scribe.begin(f"checkpoint {size}", ANY)
        shown = view.identity.opened(view.checkpoint(size))
        scribe.done(f"checkpoint {size}", shown.root.hex())
    logs.close()


if __name__ == "__main__":
    under_the_recorder(Order, live)
