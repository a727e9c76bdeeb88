"""Where nodes are: signed locator records, the newest sequence of each node.

Kept in one canonical file, replaced atomically, so a restarted node finds its peers. Records of
the sequencer come with the invitation; every node publishes its own to the sequencer, and asks it
for those it lacks.
"""

from __future__ import annotations

import threading
from pathlib import Path

import msgspec

from hypermesh.crypto.files import replace
from hypermesh.crypto.keys import QuantumKeys
from hypermesh.crypto.signature import sign, verify
from hypermesh.node.addresses import dialable
from hypermesh.node.kept import read
from hypermesh.stoq.stack import Stack
from hypermesh.wire.asset import Locator
from hypermesh.wire.codec import encode
from hypermesh.wire.errors import InvalidInput, NotFound, Overloaded
from hypermesh.wire.ids import GenesisId, NodeId
from hypermesh.wire.keys import PublicKeys
from hypermesh.wire.rpc import SignedLocator

RECORDS_MAX = 100_000
FILE_BYTES_MAX = RECORDS_MAX * 2048
"""More than `RECORDS_MAX` of the largest records."""
LIFETIME_MS = 24 * 3600 * 1000


class NoLocator(NotFound):
    """It is not known where a node is."""

    code = "HM-NODE-0004"
    title = "It is not known where that node is"
    remedy = "It publishes its place when it starts; check that it runs with `hm status` there"


class _Book(msgspec.Struct, frozen=True, array_like=True):
    records: list[SignedLocator]


class Locators:
    """The newest record of each node."""

    def __init__(self, file: Path, genesis: GenesisId) -> None:
        self._file = file
        self._genesis = genesis
        self._lock = threading.Lock()
        records: list[SignedLocator] = []
        if file.exists():
            fix = "Remove it: the node asks anew where the others are"
            records = read(_Book, file, fix, size_max=FILE_BYTES_MAX).records
        self._records = {record.locator.node: record for record in records}

    def sign_own(
        self, keys: QuantumKeys, name: str, hosts: list[str], port: int, now_ms: int
    ) -> SignedLocator:
        """A new record of this node, kept; its sequence is above every earlier one."""
        known = self._records.get(keys.id)
        sequence = max(now_ms, known.locator.sequence + 1 if known else 0)
        locator = Locator(keys.id, hosts, port, sequence, now_ms + LIFETIME_MS, name)
        signed = SignedLocator(locator, sign(keys, "locator", self._genesis, encode(locator)))
        self._keep(signed)
        return signed

    def admit(self, record: SignedLocator, public: PublicKeys) -> None:
        """Keep a record whose signature verifies under its node's keys, unless a newer is known.
        Raises `InvalidInput` where it names what nobody should dial."""
        hosts = record.locator.hosts
        # One that this node tells of it may have a dual stack; everyone speaks IPv6.
        if len(dialable(hosts, Stack.DUAL)) != len(hosts) or not dialable(hosts):
            raise InvalidInput(
                f"A locator of node {record.locator.node.hex()[:16]} names no addresses",
                why="each is one machine's, stands there once, and one at least is IPv6",
            )
        verify(public, "locator", self._genesis, encode(record.locator), record.signature)
        known = self._records.get(record.locator.node)
        if known is None or known.locator.sequence < record.locator.sequence:
            self._keep(record)

    def name(self, node: NodeId) -> str:
        """What a node calls itself; the beginning of its id where that is not known."""
        record = self._records.get(node)
        return (record.locator.name if record else "") or node.hex()[:12]

    def nodes(self) -> list[NodeId]:
        """Whose records are kept."""
        return list(self._records)

    def __contains__(self, node: NodeId) -> bool:
        return node in self._records

    def of(self, node: NodeId) -> SignedLocator:
        """The record of a node; raises `NoLocator`."""
        record = self._records.get(node)
        if record is None:
            raise NoLocator(f"It is not known where node {node.hex()[:16]} is")
        return record

    def _keep(self, record: SignedLocator) -> None:
        with self._lock:
            if record.locator.node not in self._records and len(self._records) >= RECORDS_MAX:
                raise Overloaded(f"{RECORDS_MAX} locator records are kept already")
            self._records[record.locator.node] = record
            book = _Book([self._records[node] for node in sorted(self._records)])
            replace(self._file, encode(book))
