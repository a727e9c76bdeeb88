"""The API under 16 clients: reads, and operations that the four proofs are checked for.

Every answer is verified: its status, and a member that only the right answer has. The load is one
process with epoll (`load`), on the machine of the node.

Reads are a mix in equal parts of the node's status, its assets, its leases, a block and an account,
on a node with some content. Writes are `asset.set_state` on 16 assets of 16 owners, so that no
client waits for the nonce of another; each refers to the host's attestation, which the ledger
checks, and is durable when answered. They are signed before the clock starts and counted from the
ledger's blocks afterwards.
"""

from __future__ import annotations

import itertools
import statistics
from collections.abc import Iterator
from pathlib import Path
from typing import Any, TypeAlias

import msgspec
from result import Metric, metric, percentile

from hypermesh.crypto.digest import digest_of
from hypermesh.crypto.keys import QuantumKeys
from hypermesh.crypto.signature import sign
from hypermesh.sdk.location import session_token, socket_path
from hypermesh.wire.api.asset import RegisterAsset
from hypermesh.wire.api.ledger import TransactionBytes
from hypermesh.wire.asset import AssetKind, AssetState, PrivacyLevel
from hypermesh.wire.codec import encode
from hypermesh.wire.tx import (
    WINDOW_MS_MAX,
    AssetSetState,
    Body,
    IdentityOwn,
    SignedTransaction,
    Transaction,
)
from measures.load import Outcome, Place, Request, closed_loop
from measures.network import Network, Running, network
from measures.operation import Signer
from measures.rest import processor_s

CLIENTS = 16
READS_S = 10.0
WARM_S = 2.0
READS_GOAL = 3000.0
WRITES_GOAL = 300.0
ROUNDS = 3
WRITES_A_CLIENT = 100
"""In one round: all are signed within the epoch in which they are sent."""
TRANSFERS = 60
ASSET_SHARE = 100
"""Basis points of the machine's storage for each of the assets that change hands."""

Expected: TypeAlias = "dict[str, Any]"


def measure() -> list[Metric]:
    with network() as nodes:
        founder = nodes.found("alice")
        fill(nodes, founder)
        return [*reads(founder), *writes(founder)]


def fill(nodes: Network, founder: Running) -> None:
    """Give the node something to show: a second node, payments, a few leases that are over."""
    other = nodes.join("bob", founder)
    owner = other.mesh.network.status().owner
    for number in range(TRANSFERS):
        founder.mesh.accounts.transfer(owner, 1, f"payment {number}")
    for _ in range(5):
        with founder.mesh.memory.lease(1 << 16) as region:
            region.write(0, b"content")
    nodes.stop(other)


# Reads


class _Status(msgspec.Struct):
    node: str


class _Owned(msgspec.Struct):
    owner: str


class _Hash(msgspec.Struct):
    hash: str


class _AnAsset(msgspec.Struct):
    asset: str


class _Assets(msgspec.Struct):
    items: list[_AnAsset]


class _ALease(msgspec.Struct):
    lease: str


class _Leases(msgspec.Struct):
    items: list[_ALease]


def questions(node: Running, headers: bytes) -> list[Request]:
    """The mix of reads, with what each has to answer."""
    status = node.mesh.network.status()
    height = max(1, status.height // 2)
    block = node.mesh.ledger.block(height).hash
    assets = {each.asset for each in node.mesh.assets.list()}
    leases = {each.lease for each in node.mesh.leases.list()}
    return [
        asked("/v1/network", headers, _Status, lambda found: found.node == status.node),
        asked(
            "/assets?limit=50",
            headers,
            _Assets,
            lambda found: {each.asset for each in found.items} == assets,
        ),
        asked(
            "/v1/leases",
            headers,
            _Leases,
            lambda found: {each.lease for each in found.items} == leases,
        ),
        asked(f"/v1/blocks/{height}", headers, _Hash, lambda found: found.hash == block),
        asked("/v1/accounts/me", headers, _Owned, lambda found: found.owner == status.owner),
    ]


def asked(target: str, headers: bytes, kind: type[Any], holds: Any) -> Request:
    """A read whose answer is a `kind` that `holds`."""
    decoder = msgspec.json.Decoder(kind)

    def check(status: int, body: bytes) -> bool:
        try:
            return status == 200 and bool(holds(decoder.decode(body)))
        except msgspec.DecodeError:
            return False

    return Request(b"GET %b HTTP/1.1\r\n%b\r\n" % (target.encode(), headers), check)


def places(node: Running) -> dict[str, tuple[Place, bytes]]:
    """Where the API answers, with the headers that it wants there."""
    status = node.mesh.network.status()
    port = int(status.api.rpartition(":")[2].rstrip("/"))
    token = session_token(node.data)
    over_tcp = f"host: localhost:{port}\r\nauthorization: Bearer {token}\r\n"
    return {
        "unix": (socket_path(node.data), b"host: localhost\r\n"),
        "tcp": (("127.0.0.1", port), over_tcp.encode()),
    }


def reads(node: Running) -> list[Metric]:
    metrics = []
    for name, (place, headers) in places(node).items():
        mix = questions(node, headers)
        closed_loop(place, rounds(mix), WARM_S)
        before_s = processor_s(node.pid)
        outcome = closed_loop(place, rounds(mix), READS_S)
        spent_s = processor_s(node.pid) - before_s
        require_all_good(outcome)
        metrics += [
            metric(
                f"product.api.reads.{name}",
                outcome.rates(),
                "1/s",
                value=outcome.rate,
                goal=READS_GOAL,
                better="higher",
            ),
            metric(
                f"product.api.reads.{name}.p99",
                [taken * 1000 for taken in outcome.taken_s],
                "ms",
                value=percentile(outcome.taken_s, 0.99) * 1000,
            ),
        ]
        metrics.append(
            metric(f"product.api.reads.{name}.processor", [spent_s * 1e6 / outcome.good], "us")
        )
        for request in mix:
            alone = closed_loop(place, [itertools.repeat(request)] * CLIENTS, WARM_S)
            require_all_good(alone)
            what = request.content.split(b" ")[1].split(b"?")[0].strip(b"/").split(b"/")
            noun = (what[1] if what[0] == b"v1" else what[0]).decode()
            metrics.append(
                metric(
                    f"product.api.reads.{name}.{noun}",
                    alone.rates(),
                    "1/s",
                    value=alone.rate,
                    better="higher",
                )
            )
    return metrics


def rounds(mix: list[Request]) -> list[Iterator[Request]]:
    """One endless client for each of the 16, each beginning at another question."""
    return [itertools.cycle(mix[at % len(mix) :] + mix[: at % len(mix)]) for at in range(CLIENTS)]


def require_all_good(outcome: Outcome) -> None:
    if outcome.wrong or outcome.refused:
        raise SystemExit(f"{outcome.refused} refused, wrong: {outcome.wrong[:3]}")


# Writes


class _Code(msgspec.Struct):
    code: str


_CODE = msgspec.json.Decoder(_Code)


def accepted(status: int, body: bytes) -> bool:
    """Whether a transaction was taken: 201, and `ok`."""
    return status == 201 and _CODE.decode(body).code == "ok"


class Owner:
    """A fresh owner, known to the ledger, with one asset that `node` hosts."""

    def __init__(self, node: Running, genesis: bytes) -> None:
        self._node, self._genesis = node, genesis
        self._keys = QuantumKeys.generate()
        self._nonce = 0
        time_ms = node.mesh.network.status().block_time_ms
        node.mesh.ledger.submit(self._signed(IdentityOwn(self._keys.public), b"", time_ms))
        declared = RegisterAsset(
            kind=AssetKind.STORAGE,
            level=PrivacyLevel.FULL_PUBLIC,
            share_basis_points=ASSET_SHARE,
        )
        asset = node.mesh.assets.register(declared).asset
        node.mesh.assets.transfer(asset, self._keys.id.hex())
        self._asset = bytes.fromhex(asset)
        self._state = AssetState.AVAILABLE

    def next(self, attestation: bytes, time_ms: int) -> bytes:
        """An encoded operation, to be submitted after all those before."""
        out = self._state is AssetState.AVAILABLE
        self._state = AssetState.MAINTENANCE if out else AssetState.AVAILABLE
        return self._signed(AssetSetState(self._asset, self._state), attestation, time_ms)

    def _signed(self, body: Body, attestation: bytes, time_ms: int) -> bytes:
        transaction = Transaction(
            genesis=self._genesis,
            signer=self._keys.id,
            nonce=self._nonce,
            valid_from_ms=time_ms - WINDOW_MS_MAX // 2,
            valid_until_ms=time_ms + WINDOW_MS_MAX // 2,
            attestation=attestation,
            body=body,
        )
        self._nonce += 1
        signature = sign(self._keys, "tx", self._genesis, digest_of("tx", transaction))
        return encode(SignedTransaction(transaction, signature))


class Writers:
    """16 owners and what tells them the node's attestation."""

    def __init__(self, node: Running) -> None:
        self._node = node
        genesis = bytes.fromhex(node.mesh.network.status().genesis)
        self._owners = [Owner(node, genesis) for _ in range(CLIENTS)]
        self._standing = Signer(node)

    def round(self, count: int) -> list[Iterator[Request]]:
        """`count` signed operations for each client."""
        standing = self._standing.standing()
        return [
            iter(
                [
                    submission(each.next(standing.attestation, standing.time_ms))
                    for _ in range(count)
                ]
            )
            for each in self._owners
        ]


def submission(entry: bytes) -> Request:
    content = msgspec.json.encode(TransactionBytes(entry.hex()))
    head = (
        b"POST /v1/transactions HTTP/1.1\r\nhost: localhost\r\n"
        b"content-type: application/json\r\ncontent-length: %d\r\n\r\n" % len(content)
    )
    return Request(head + content, accepted)


def writes(node: Running) -> list[Metric]:
    place: Path = socket_path(node.data)
    writers = Writers(node)
    closed_loop(place, writers.round(5))
    rates, taken, blocks = [], [], []
    for _ in range(ROUNDS):
        clients = writers.round(WRITES_A_CLIENT)
        before = node.mesh.network.status().height
        outcome = closed_loop(place, clients)
        require_all_good(outcome)
        after = node.mesh.network.status().height
        found = on_ledger(node, before, after)
        if found != outcome.good:
            raise SystemExit(f"{outcome.good} were answered ok and the ledger has {found}")
        rates.append(outcome.rate)
        taken += [each * 1000 for each in outcome.taken_s]
        blocks.append(found / (after - before))
    return [
        metric(
            "product.api.writes",
            rates,
            "1/s",
            value=statistics.median(rates),
            goal=WRITES_GOAL,
            better="higher",
        ),
        metric("product.api.writes.p99", taken, "ms", value=percentile(taken, 0.99)),
        metric("product.api.writes.a_block", blocks, "", better="higher"),
    ]


def on_ledger(node: Running, before: int, after: int) -> int:
    """How many operations on assets the blocks after `before` hold that took place."""
    found = 0
    for height in range(before + 1, after + 1):
        block = node.mesh.ledger.block(height)
        for kind, code in zip(block.types, block.codes, strict=True):
            found += kind == "asset.set_state" and code == "ok"
    return found
