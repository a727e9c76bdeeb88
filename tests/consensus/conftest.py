"""A network of three nodes with real plots, products and VDF outputs, driven block by block.

The proofs are real and small: k=18 plots, a VDF of a few thousand squarings. Whatever costs a
second is made once a session.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest

from hypermesh.caesar.economics.staking import Staking
from hypermesh.caesar.token.bank import Bank
from hypermesh.consensus.attestation import expected
from hypermesh.consensus.epoch import current_epoch
from hypermesh.consensus.module import Consensus
from hypermesh.consensus.parameters import parameters_of
from hypermesh.consensus.prover.bundle import Attestor
from hypermesh.consensus.prover.time import evaluate, founded
from hypermesh.consensus.verifier.bundle import ConsensusProof
from hypermesh.crypto.digest import digest, digest_of
from hypermesh.ledger import identity
from hypermesh.ledger.module import Call, Context, Event, Refusal
from hypermesh.wire.amount import NANO
from hypermesh.wire.block import EconomyParameters, Genesis, LeaseParameters, NetworkClass
from hypermesh.wire.keys import HYBRID_V1, PublicKeys
from hypermesh.wire.proof import Bundle, VdfOutput
from hypermesh.wire.tx import (
    BankFaucet,
    BlockOpening,
    Body,
    ConsensusAttest,
    IdentityRevoke,
    StakeBond,
    StakeUnbond,
    Transaction,
)

START_MS = 1_800_000_000_000
VDF_ITERATIONS = 2_000
BOND = 2 * NANO
KEYS = PublicKeys(HYBRID_V1, bytes(1793), bytes(32))

PARAMETERS = msgspec.structs.replace(
    parameters_of(NetworkClass.TEST), vdf_iterations=VDF_ITERATIONS
)


def identifier(name: str) -> bytes:
    return digest("test", name.encode())


ALICE, BOB, CAROL = identifier("node alice"), identifier("node bob"), identifier("node carol")
ALICE_OWNER, BOB_OWNER = identifier("owner alice"), identifier("owner bob")
OWNERS = {ALICE: ALICE_OWNER, BOB: BOB_OWNER, CAROL: ALICE_OWNER}
"""Carol is Alice's second machine."""


def genesis_named(name: str) -> Genesis:
    return Genesis(
        version=1,
        name=name,
        network_class=NetworkClass.TEST,
        created_ms=START_MS,
        root_certificate=b"root",
        issuing_certificate=b"issuing",
        founder=KEYS,
        sequencer=KEYS,
        proofs=PARAMETERS,
        economy=EconomyParameters("none", 100 * NANO, 10 * NANO, 0, 60_000),
        leases=LeaseParameters(5_000, 60_000, 3_600_000),
        vdf=None,
    )


class MemoryState:
    """`ledger.module.State` over a dict."""

    def __init__(self, rows: dict[bytes, bytes]) -> None:
        self.rows = rows

    def get(self, key: bytes) -> bytes | None:
        return self.rows.get(key)

    def put(self, key: bytes, value: bytes) -> None:
        self.rows[key] = value

    def delete(self, key: bytes) -> None:
        self.rows.pop(key, None)

    def scan(self, prefix: bytes) -> Iterator[tuple[bytes, bytes]]:
        yield from sorted(item for item in self.rows.items() if item[0].startswith(prefix))


class Network:
    """Identity, bank, staking and consensus over one state, driven like the kernel drives them: a
    refused transaction leaves no writes, and a block is checked."""

    ALICE, BOB, CAROL = ALICE, BOB, CAROL
    ALICE_OWNER, BOB_OWNER = ALICE_OWNER, BOB_OWNER
    BOND = BOND

    def __init__(self, genesis: Genesis, rows: dict[bytes, bytes] | None = None) -> None:
        self.genesis = genesis
        self.genesis_id = digest_of("genesis", genesis)
        self.state = MemoryState(dict(rows or {}))
        self.consensus = Consensus()
        self.modules = (
            identity.Identity(),
            Bank(lambda _state, owner: owner in OWNERS.values()),
            Staking(lambda state, node: identity.node(state, node) is not None),
            self.consensus,
        )
        self.height = 0
        self.time_ms = START_MS
        self.events: list[Event] = []

    @classmethod
    def begun(cls, genesis: Genesis) -> Network:
        """At height 0, with three enrolled nodes, of which Alice and Bob are bonded."""
        network = cls(genesis)
        for module in network.modules:
            module.begin(network.context())
        for node, owner in OWNERS.items():
            enrolled = identity.Node(KEYS, owner, bytes(32), START_MS + 10**9, revoked=False)
            identity._nodes.put(network.state, node, enrolled)
        for node, owner in ((ALICE, ALICE_OWNER), (BOB, BOB_OWNER)):
            network.execute(BankFaucet(), node)
            network.execute(StakeBond(node, BOND), owner)
        network.execute(StakeBond(CAROL, BOND), ALICE_OWNER)
        return network

    def copy(self) -> Network:
        twin = Network(self.genesis, self.state.rows)
        twin.height, twin.time_ms = self.height, self.time_ms
        return twin

    def context(self) -> Context:
        previous = digest("test", f"block {self.height - 1}".encode())
        return Context(
            self.state,
            self.genesis_id,
            self.genesis,
            self.height,
            self.time_ms,
            self.genesis_id if self.height < 2 else previous,
            self.events,
        )

    def block(self, after_ms: int = 1, vdf: VdfOutput | None = None) -> Context:
        """Open the next block; a refusal leaves everything as it was."""
        before, height, time_ms = dict(self.state.rows), self.height, self.time_ms
        self.height, self.time_ms = height + 1, time_ms + after_ms
        context = self.context()
        try:
            self.consensus.open_block(context, BlockOpening(self.time_ms, vdf))
        except Refusal:
            self.state.rows, self.height, self.time_ms = before, height, time_ms
            raise
        self.consensus.check(context)
        return context

    def turn(self) -> None:
        """Turn the epoch as the sequencer does."""
        self.block(PARAMETERS.epoch_ms, evaluate(current_epoch(self.state).seed, PARAMETERS))

    def execute(self, body: Body, signer: bytes) -> None:
        """One transaction; a refused one leaves no writes."""
        transaction = Transaction(self.genesis_id, signer, 0, 0, 0, b"", body)
        call = Call(
            digest_of("tx", [transaction, len(self.events)]),
            transaction,
            OWNERS.get(signer, signer),
            signer in OWNERS,
        )
        before = dict(self.state.rows)
        try:
            for module in self.modules:
                if isinstance(body, module.bodies):
                    module.execute(self.context(), call)
        except Refusal:
            self.state.rows = before
            raise

    def attest(self, bundle: Bundle, signer: bytes = ALICE) -> None:
        self.execute(ConsensusAttest(bundle), signer)

    def unbond(self, node: bytes, amount: int) -> None:
        self.execute(StakeUnbond(node, amount), OWNERS[node])

    def revoke(self, node: bytes) -> None:
        self.execute(IdentityRevoke(node, "lost"), OWNERS[node])

    def expected(self, node: bytes = ALICE) -> ConsensusProof:
        """What `node` has to prove now."""
        return expected(self.state, self.genesis_id, self.genesis, node)


@pytest.fixture(scope="session")
def genesis() -> Genesis:
    return founded(genesis_named("home"))


@pytest.fixture(scope="session")
def plots(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("plots")


@pytest.fixture(scope="session")
def attestor(genesis: Genesis, plots: Path) -> Attestor:
    """Alice's prover; its plot is made once a session."""
    made = Attestor(plots, digest_of("genesis", genesis), ALICE, PARAMETERS)
    made.prepare()
    return made


class History:
    """Epoch 0 with Alice's first bundle on the ledger, then epoch 1 with her second still to be
    submitted. `first` is her first bundle, `honest` her second."""

    def __init__(self, genesis: Genesis, attestor: Attestor) -> None:
        self.attestor = attestor
        self.start = Network.begun(genesis)
        network = self.start.copy()
        network.block()
        self.first = attestor.bundle(network.expected())
        network.attest(self.first)
        self.attested = network.copy()
        network.turn()
        self.honest = attestor.bundle(network.expected())
        self._network = network

    def network(self) -> Network:
        """A copy that a test may change."""
        return self._network.copy()


@pytest.fixture(scope="session")
def history(genesis: Genesis, attestor: Attestor) -> History:
    return History(genesis, attestor)


@pytest.fixture(scope="session")
def elsewhere() -> Network:
    """Another network with the same people and machines, in epoch 1 too."""
    network = Network.begun(founded(genesis_named("elsewhere")))
    network.turn()
    return network
