"""Nodes as processes of their own, what a test needs to drive and to disturb them, and a peer
that speaks STOQ with a node's keys and says what it likes."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import msgspec

from hypermesh.crypto.digest import digest_of
from hypermesh.crypto.keys import QuantumKeys
from hypermesh.crypto.keystore import KeyStore
from hypermesh.crypto.signature import sign
from hypermesh.ledger.kernel import NonceNotNext
from hypermesh.node.background import await_ready, command, launch
from hypermesh.node.configuration import Configuration
from hypermesh.node.membership import Membership
from hypermesh.sdk.location import socket_path
from hypermesh.sdk.mesh import Mesh
from hypermesh.sdk.region import LeasedRegion
from hypermesh.stoq.connection import Connection
from hypermesh.stoq.endpoint import Endpoint
from hypermesh.stoq.trust import Identity, TrustPolicy
from hypermesh.trustchain.verify import fingerprint
from hypermesh.wire.api.asset import AssetView
from hypermesh.wire.api.lease import SessionView
from hypermesh.wire.api.ledger import TransactionView
from hypermesh.wire.asset import AssetKind
from hypermesh.wire.codec import decode, encode
from hypermesh.wire.errors import HyperMeshError
from hypermesh.wire.rpc import ALPN_ENROL, ALPN_NODE, SERVICE_CONTROL, Call
from hypermesh.wire.tx import Body, SignedTransaction, Transaction

START_S = 60.0
STOP_S = 15.0
DEADLINE_S = 30.0
POLL_S = 0.05
WINDOW_MS = 120_000
NONCE_TRIES = 8

T = TypeVar("T")


def eventually(look: Callable[[], T | None], what: str, within_s: float = DEADLINE_S) -> T:
    """The first true value of `look`, before the deadline."""
    deadline = time.monotonic() + within_s
    while not (value := look()):
        if time.monotonic() > deadline:
            raise AssertionError(f"not within {within_s:g} s: {what}")
        time.sleep(POLL_S)
    return value


def hm(
    *words: str, data: Path | None = None, stdin: bytes = b"", timeout_s: float = 90.0
) -> subprocess.CompletedProcess[bytes]:
    """`hm` as a user types it."""
    command = [sys.executable, "-m", "hypermesh.cli.main", *words]
    if data is not None:
        command += ["--data", str(data)]
    return subprocess.run(command, input=stdin, capture_output=True, timeout=timeout_s, check=False)


@dataclass
class Node:
    """One node with its data directory; running or not."""

    name: str
    data: Path
    level: str = "full_public"
    share: str = "20%"
    carry: str = "own"
    stoq_host: str = "::1"
    stack: str = "ipv6"
    dns_listen: str = "[::1]:5353"
    dns_upstream: str = ""
    dns_tls: str = "[::1]:0"
    dns_quic: str = "[::1]:0"
    process: subprocess.Popen[bytes] | None = None

    @property
    def configuration(self) -> Configuration:
        return self.configured()

    def configured(self, stoq_port: int | None = None) -> Configuration:
        """With the STOQ port that it had before, unless told."""
        return Configuration.of(
            self.data,
            name=self.name,
            share=self.share,
            level=self.level,
            stoq_host=self.stoq_host,
            stoq_port=stoq_port,
            carry=self.carry,
            stoq_stack=self.stack,
            dns_listen=self.dns_listen,
            dns_upstream=self.dns_upstream,
            dns_tls=self.dns_tls,
            dns_quic=self.dns_quic,
        )

    def begin(
        self,
        token: str | None = None,
        stoq_port: int | None = None,
        *,
        clock_is_right: bool = False,
    ) -> None:
        """Start the process without waiting for it."""
        self.process = launch(self.configured(stoq_port), token, clock_is_right=clock_is_right)

    def ready(self, timeout_s: float = START_S) -> None:
        """Wait until the node is ready."""
        assert self.process is not None
        await_ready(self.configuration, self.process, timeout_s=timeout_s)

    def start(
        self,
        token: str | None = None,
        timeout_s: float = START_S,
        stoq_port: int | None = None,
    ) -> None:
        self.begin(token, stoq_port)
        self.ready(timeout_s)

    @property
    def running(self) -> bool:
        return self.process is not None and self.process.poll() is None

    @property
    def pid(self) -> int:
        assert self.process is not None
        return self.process.pid

    def signal(self, number: signal.Signals) -> None:
        os.kill(self.pid, number)

    def kill(self) -> None:
        """`kill -9`, and gone."""
        assert self.process is not None
        self.process.kill()
        self.process.wait(STOP_S)

    def stop(self) -> int:
        """SIGTERM; the exit status."""
        assert self.process is not None
        self.process.terminate()
        return self.process.wait(STOP_S)

    def end(self) -> None:
        """Whatever state it is in: gone."""
        if self.running:
            self.signal(signal.SIGCONT)
            try:
                self.stop()
            except subprocess.TimeoutExpired:
                self.kill()

    @contextmanager
    def mesh(self) -> Iterator[Mesh]:
        with Mesh(socket_path(self.data)) as mesh:
            yield mesh

    @contextmanager
    def holding(self, session: SessionView, *, keep: bool = True) -> Iterator[LeasedRegion]:
        """The region of a lease of this node, open; settled at the end unless kept."""
        with self.mesh() as mesh, LeasedRegion(mesh.rest, session, keep=keep) as region:
            yield region

    def ask(self, question: Callable[[Mesh], T]) -> T:
        with self.mesh() as mesh:
            return question(mesh)

    @property
    def id(self) -> bytes:
        return self.membership.keys.id

    @property
    def membership(self) -> Membership:
        membership = Membership.open(self.data)
        assert membership is not None
        return membership

    @property
    def owner_keys(self) -> QuantumKeys:
        return QuantumKeys.from_secret_bytes(KeyStore(self.data / "keys").get("owner"))

    @property
    def log(self) -> str:
        return (self.data / "node.log").read_text(errors="replace")

    def asset(self, kind: AssetKind) -> AssetView:
        """Its own asset of a kind, as it sees it itself."""
        return next(each for each in self.ask(lambda m: list(m.assets.list(kind))) if each.mine)

    @property
    def asset_address(self) -> str:
        """The address of its memory."""
        return self.asset(AssetKind.MEMORY).address

    def submit(
        self, body: Body, keys: QuantumKeys | None = None, attestation: bytes = b""
    ) -> TransactionView:
        """Sign `body` with `keys` (else the node's own) and submit it through this node. The node
        signs with its keys as well, so a nonce may be spent meanwhile: then with the next."""
        keys = keys or self.membership.keys
        for _ in range(NONCE_TRIES):
            try:
                return self.ask(lambda m: m.ledger.submit(self.signed(m, body, keys, attestation)))
            except NonceNotNext:
                continue
        raise AssertionError(f"no nonce of {self.name} was free {NONCE_TRIES} times")

    def signed(
        self, mesh: Mesh, body: Body, keys: QuantumKeys, attestation: bytes = b"", nonce: int = -1
    ) -> bytes:
        """`body` in a transaction under `keys`, encoded, with the next nonce unless told."""
        genesis = self.membership.genesis_id
        now_ms = mesh.network.status().block_time_ms
        if nonce < 0:
            nonce = _nonce(mesh, keys.id)
        transaction = Transaction(
            genesis=genesis,
            signer=keys.id,
            nonce=nonce,
            valid_from_ms=now_ms - WINDOW_MS,
            valid_until_ms=now_ms + WINDOW_MS,
            attestation=attestation,
            body=body,
        )
        signature = sign(keys, "tx", genesis, digest_of("tx", transaction))
        return encode(SignedTransaction(transaction, signature))


def _nonce(mesh: Mesh, signer: bytes) -> int:
    """How many transactions of `signer` the ledger has executed: from the blocks themselves, so it
    holds for owners as well."""
    spent = 0
    for height in range(1, mesh.network.status().height + 1):
        block = mesh.ledger.block(height)
        for entry, kind in zip(block.entries, block.types, strict=True):
            if kind != "system.block":
                signed = decode(SignedTransaction, bytes.fromhex(entry))
                if signed.transaction.signer == signer:
                    spent = max(spent, signed.transaction.nonce + 1)
    return spent


@dataclass
class Network:
    """Nodes by name; the first is the founder and sequencer."""

    directory: Path
    nodes: dict[str, Node] = field(default_factory=dict)

    def __getitem__(self, name: str) -> Node:
        return self.nodes[name]

    @property
    def alice(self) -> Node:
        return self.nodes["alice"]

    @property
    def bob(self) -> Node:
        return self.nodes["bob"]

    @property
    def carol(self) -> Node:
        return self.nodes["carol"]

    def add(self, name: str, **settings: str) -> Node:
        node = Node(name, self.directory / name, **settings)
        self.nodes[name] = node
        return node

    def found(self, *joining: str, **settings: str) -> None:
        """Alice founds; the others join, all at once."""
        self.add("alice", **settings).start()
        for name in joining:
            self.add(name, **settings).begin(self.invite())
        for name in joining:
            self[name].ready()
        self.await_acquainted()

    def invite(self, *, mine: bool = False) -> str:
        return self.alice.ask(lambda m: m.network.invite(mine=mine)).token

    def await_acquainted(self) -> None:
        """Until every node sees the memory of every other, attested, and the logs of the authority
        are anchored as far as they go, so that the founder signs nothing more by itself."""
        everyone = {node.id.hex() for node in self.nodes.values()}

        def acquainted() -> bool:
            for node in self.nodes.values():
                with node.mesh() as mesh:
                    hosts = {asset.host for asset in mesh.assets.list(AssetKind.MEMORY)}
                    attested = {each.node for each in mesh.network.nodes() if each.attested}
                    if not (everyone <= hosts and everyone <= attested):
                        return False
            return True

        eventually(acquainted, "all nodes see one another's assets", START_S)

        def anchored() -> bool:
            logs = next(iter(self.nodes.values())).ask(lambda m: m.ct.get()).logs
            here = [each.anchored.size == each.here.size for each in logs if each.here is not None]
            return len(here) == len(logs) > 0 and all(here)

        eventually(anchored, "the founder's logs are anchored", START_S)

    def revive(self) -> None:
        """Every node up and ready, whatever an earlier test did to it."""
        for node in self.nodes.values():
            if node.running:
                node.signal(signal.SIGCONT)
            else:
                node.begin()
        for node in self.nodes.values():
            node.ready()

    def await_agreed(self, within_s: float = DEADLINE_S) -> tuple[int, str]:
        """Height and app hash, once all running nodes have the same."""

        def agreed() -> tuple[int, str] | None:
            running = [node for node in self.nodes.values() if node.running]
            seen = {
                node.ask(lambda m: (m.network.status().height, m.network.status().app_hash))
                for node in running
            }
            return seen.pop() if len(seen) == 1 else None

        return eventually(agreed, "one height and one app hash everywhere", within_s)

    def end(self) -> None:
        for node in reversed(list(self.nodes.values())):
            node.end()


def ready(node: Node) -> bool:
    """What `/readyz` says."""
    with node.mesh() as mesh:
        checks = mesh.network.readiness()
    return all(state == "ok" for state in checks.values())


@contextmanager
def stoq(
    membership: Membership, *, certified: bool = True, keys: QuantumKeys | None = None
) -> Iterator[Endpoint]:
    """An endpoint of a member of the network, or of keys alone."""
    policy: TrustPolicy = membership.policy(frozenset())
    keys = keys or membership.keys
    identity = Identity(membership.chain, keys) if certified else Identity.of_keys(keys)
    with Endpoint.bind("::1", policy=policy, identity=identity) as endpoint:
        yield endpoint


def dial(endpoint: Endpoint, node: Node, alpn: str = ALPN_NODE) -> Connection:
    """A connection to `node` where it says that it listens."""
    port = node.configuration.settings.stoq_port
    root = None
    if alpn == ALPN_ENROL:
        root = fingerprint(node.membership.genesis.root_certificate)
    return endpoint.connect("::1", port, peer=node.id, alpn=alpn, root_sha256=root)


def call(
    connection: Connection, method: str, argument: object, service: int = SERVICE_CONTROL
) -> bytes:
    """One call, its argument encoded here; bytes are sent as they are."""
    encoded = argument if isinstance(argument, bytes) else encode(argument)
    return connection.request(service, encode(Call(method, encoded)), timeout_ms=20_000)


def foreground(
    node: Node, *more: str, timeout_s: float = 30.0
) -> subprocess.CompletedProcess[bytes]:
    """`hm up --foreground` for a node that must not come up: what it said, and its exit code."""
    words = command(node.configuration, None)
    return hm(*words[words.index("up") :], *more, timeout_s=timeout_s)


def problem(done: subprocess.CompletedProcess[bytes]) -> str:
    """What a failed `hm` said."""
    return done.stderr.decode()


def output(done: subprocess.CompletedProcess[bytes]) -> dict[str, Any]:
    """The JSON that a successful `hm --output json` printed."""
    assert done.returncode == 0, done.stderr.decode()
    read: dict[str, Any] = json.loads(done.stdout)
    return read


def code_of(error: HyperMeshError) -> str:
    return error.code


def replaced(value: Any, /, **fields: Any) -> Any:
    return msgspec.structs.replace(value, **fields)
