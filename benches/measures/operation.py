"""An asset operation: sent over the UNIX socket, four proofs checked, durable when answered.

The owner of an asset takes it out of service and back (`asset.set_state`), each time in a
transaction signed beforehand, one in flight. After each operation the same bytes go into a bare
SQLite database (WAL, `synchronous=FULL`) on the same disk as one row in one commit: what the disk
and SQLite take by themselves. Signing is the client's work and is reported beside it.
"""

from __future__ import annotations

import re
import socket
import sqlite3
import statistics
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import msgspec
from result import Metric, metric, percentile

from hypermesh.crypto.digest import digest_of
from hypermesh.crypto.keys import QuantumKeys
from hypermesh.crypto.keystore import KeyStore
from hypermesh.crypto.signature import sign
from hypermesh.sdk.location import socket_path
from hypermesh.wire.api.ledger import TransactionBytes
from hypermesh.wire.asset import AssetKind, AssetState
from hypermesh.wire.codec import decode, encode
from hypermesh.wire.tx import (
    WINDOW_MS_MAX,
    AssetSetState,
    ConsensusAttest,
    SignedTransaction,
    Transaction,
)
from measures.network import Network, Running, network

OPERATIONS = 1_000
SDK_OPERATIONS = 200
WARM = 50
BATCH = 100
"""Signed at a time: a bundle gives rights in two epochs, so the reference must not be older."""
GOAL_MS = 1.6
REQUEST = (
    b"POST /v1/transactions HTTP/1.1\r\nhost: localhost\r\n"
    b"content-type: application/json\r\ncontent-length: %d\r\n\r\n"
)
CONTENT_LENGTH = re.compile(rb"content-length: (\d+)")
ANSWER_BYTES = 1 << 16
FIRST_NONCE = 0
"""Genesis names the founder's owner, who has signed nothing since."""


def measure(operations: int = OPERATIONS) -> list[Metric]:
    with network() as nodes:
        return _measured(nodes, operations)


def _measured(nodes: Network, operations: int) -> list[Metric]:
    founder = nodes.found("alice")
    client = Client(socket_path(founder.data))
    bare = Bare(founder.data.parent / "bare.sqlite")
    signer = Signer(founder)
    answered: list[float] = []
    committed: list[float] = []
    for entry in signer.entries(WARM):
        client.submit(entry)
        bare.commit(entry)
    signer.signing_ms.clear()
    for entry in signer.entries(operations):
        answered.append(client.submit(entry))
        committed.append(bare.commit(entry))
    client.close()
    bare.close()
    through_sdk = [sdk(founder, entry) for entry in signer.entries(SDK_OPERATIONS)]
    over = statistics.median(answered) - statistics.median(committed)
    differences = [mine - theirs for mine, theirs in zip(answered, committed, strict=True)]
    baseline = "core.operation.bare_commit"
    return [
        metric("core.operation.p50", answered, "ms", baseline=baseline),
        metric(
            "core.operation.p99",
            answered,
            "ms",
            value=percentile(answered, 0.99),
            baseline=baseline,
        ),
        metric(baseline, committed, "ms"),
        metric(
            "core.operation.p50_over_bare",
            differences,
            "ms",
            value=over,
            goal=GOAL_MS,
            baseline=baseline,
        ),
        metric("core.operation.sdk", through_sdk, "ms", baseline=baseline),
        metric("core.operation.signing", signer.signing_ms, "ms"),
    ]


def sdk(node: Running, entry: bytes) -> float:
    """Milliseconds of the same by `Mesh.submit`, with its HTTP client."""
    started = time.perf_counter()
    answer = node.mesh.ledger.submit(entry)
    elapsed_ms = (time.perf_counter() - started) * 1000
    if answer.code != "ok":
        raise SystemExit(f"the operation was not accepted: {answer}")
    return elapsed_ms


class Client:
    """One keep-alive HTTP/1.1 connection over the node's UNIX socket. Requests are built before the
    clock starts and answers read after it stopped: that is the client's work, like signing."""

    def __init__(self, path: Path) -> None:
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self._socket.connect(str(path))

    def submit(self, entry: bytes) -> float:
        """Milliseconds from the request's first byte to the last of an answer that accepts it."""
        content = msgspec.json.encode(TransactionBytes(entry.hex()))
        request = REQUEST % len(content) + content
        started = time.perf_counter()
        self._socket.sendall(request)
        answer = b""
        body: bytes | None = None
        while body is None:
            received = self._socket.recv(ANSWER_BYTES)
            if not received:
                raise SystemExit("the node closed the connection")
            answer += received
            body = body_of(answer)
        elapsed_ms = (time.perf_counter() - started) * 1000
        if msgspec.json.decode(body).get("code") != "ok":
            raise SystemExit(f"the operation was not accepted: {answer.decode()}")
        return elapsed_ms

    def close(self) -> None:
        self._socket.close()


def body_of(answer: bytes) -> bytes | None:
    """The body of an HTTP answer once all of it is there."""
    head, separator, body = answer.partition(b"\r\n\r\n")
    length = CONTENT_LENGTH.search(head)
    if not separator or length is None or len(body) < int(length[1]):
        return None
    return body


class Bare:
    """SQLite by itself, as durable as the ledger."""

    def __init__(self, file: Path) -> None:
        self._connection = sqlite3.connect(file, isolation_level=None)
        self._connection.execute("PRAGMA journal_mode = WAL")
        self._connection.execute("PRAGMA synchronous = FULL")
        self._connection.execute("CREATE TABLE rows (id INTEGER PRIMARY KEY, value BLOB)")

    def commit(self, value: bytes) -> float:
        """Milliseconds of one insert and its commit."""
        started = time.perf_counter()
        self._connection.execute("INSERT INTO rows (value) VALUES (?)", (value,))
        return (time.perf_counter() - started) * 1000

    def close(self) -> None:
        self._connection.close()


@dataclass(frozen=True)
class Standing:
    """What a transaction has to refer to now."""

    attestation: bytes
    time_ms: int


class Signer:
    """Signs operations on an asset of `node` with the keys of the node's owner."""

    def __init__(self, node: Running) -> None:
        self._node = node
        self._keys = QuantumKeys.from_secret_bytes(KeyStore(node.data / "keys").get("owner"))
        self._genesis = bytes.fromhex(node.mesh.network.status().genesis)
        (asset, *_) = node.mesh.assets.list(AssetKind.STORAGE)
        self._asset = bytes.fromhex(asset.asset)
        self._nonce = FIRST_NONCE
        self._height = 0
        self._bundle = b""
        self.signing_ms: list[float] = []

    def entries(self, count: int) -> Iterator[bytes]:
        """`count` encoded transactions, to be submitted in order as they come."""
        for first in range(0, count, BATCH):
            standing = self.standing()
            batch = range(min(BATCH, count - first))
            yield from [self.sign(self._nonce + index, standing) for index in batch]
            self._nonce += len(batch)

    def sign(self, nonce: int, standing: Standing) -> bytes:
        """An encoded operation; signing it again gives another signature."""
        # Even nonces take the asset out of service, odd ones bring it back.
        state = AssetState.AVAILABLE if nonce % 2 else AssetState.MAINTENANCE
        started = time.perf_counter()
        transaction = Transaction(
            genesis=self._genesis,
            signer=self._keys.id,
            nonce=nonce,
            valid_from_ms=standing.time_ms - WINDOW_MS_MAX // 2,
            valid_until_ms=standing.time_ms + WINDOW_MS_MAX // 2,
            attestation=standing.attestation,
            body=AssetSetState(self._asset, state),
        )
        signature = sign(self._keys, "tx", self._genesis, digest_of("tx", transaction))
        entry = encode(SignedTransaction(transaction, signature))
        self.signing_ms.append((time.perf_counter() - started) * 1000)
        return entry

    def standing(self) -> Standing:
        """The node's own last accepted bundle, and block time, by now."""
        status = self._node.mesh.network.status()
        for height in range(self._height + 1, status.height + 1):
            block = self._node.mesh.ledger.block(height)
            for entry, kind, code in zip(block.entries, block.types, block.codes, strict=True):
                if kind == "consensus.attest" and code == "ok":
                    body = decode(SignedTransaction, bytes.fromhex(entry)).transaction.body
                    if not isinstance(body, ConsensusAttest):
                        continue
                    if body.bundle.node.hex() == status.node:
                        self._bundle = digest_of("bundle", body.bundle)
        self._height = status.height
        return Standing(self._bundle, status.block_time_ms)
