"""Level by requester by operation, against the rules and a table that is written out by hand.

Each attempt goes the whole way that a caller goes: the host's decision, its signed offer, the
ledger, the adapter that serves. Letters name what succeeds:

    D  learn that it is there and what it is     O  get an offer            J  run a job in a lease
    I  see its present view                      L  open a lease with it    R  read leased memory
    S  set its terms                             T  give it to another owner
"""

from __future__ import annotations

import functools
from collections.abc import Callable

import msgspec
import pytest

from hypermesh.assets import lease as leases
from hypermesh.assets import privacy, provider, registry
from hypermesh.assets.adapters.adapter import AssetAdapter, NotHeld
from hypermesh.assets.adapters.cpu import CpuAssetAdapter
from hypermesh.assets.adapters.memory import MemoryAssetAdapter
from hypermesh.assets.hosting import Hosted
from hypermesh.assets.preview import Known, access
from hypermesh.assets.privacy import AccessRefused, Caller, Operation
from hypermesh.ledger import identity
from hypermesh.ledger.module import Refusal
from hypermesh.wire.asset import (
    Asset,
    AssetKind,
    Audience,
    Descriptor,
    Lease,
    Offer,
    Price,
    PrivacyLevel,
)
from hypermesh.wire.tx import AssetTransfer, Body, Transaction

from .network import GENESIS_ID, LEASE_FEE, Network, keys
from .samples import cpu, memory
from .test_adapters import RecordedRegions

OWN_NETWORK, NAMED, UNTRUSTED, OTHER = (bytes([each]) * 32 for each in b"ONUX")

LEVELS = ("private", "private_network", "p2p", "public_network", "full_public")

EXPECTED = {
    # requester                  private     private_n.  p2p         public_n.   full_public
    "owner's same node":        ("DIOLJRST", "DIOLJRST", "DIOLJRST", "DIOLJRST", "DIOLJRST"),
    "owner's other node":       ("DIOLJRST", "DIOLJRST", "DIOLJRST", "DIOLJRST", "DIOLJRST"),
    "named node":               ("",         "",         "DIOLJR",   "",         "DIOLJR"),
    "node of a named network":  ("",         "DIOLJR",   "",         "DIOLJR",   "DIOLJR"),
    "node of one not trusted":  ("",         "",         "",         "DIOLJR",   "DIOLJR"),
    "node of another network":  ("",         "",         "",         "",         "DIOLJR"),
    "account alone":            ("",         "",         "",         "",         "DIOLJR"),
    "unknown caller":           ("",         "",         "",         "",         "DI"),
    "revoked named node":       ("",         "",         "",         "",         ""),
}  # fmt: skip

MORE = ("named", "member", "foreign", "stranger", "revoked")


class Scene:
    """Alice hosts CPU and memory at one level. The audience names the nodes `named` and `revoked`
    and two networks, of which her trust holds one."""

    def __init__(self, level: PrivacyLevel) -> None:
        self.network = Network(*MORE)
        audience = Audience(
            nodes=[keys("named").id, keys("revoked").id], networks=[NAMED, UNTRUSTED]
        )
        self.regions = RecordedRegions()
        self.records: dict[AssetKind, Hosted] = {}
        self.adapters: dict[AssetKind, AssetAdapter] = {}
        for number, descriptor in enumerate((cpu(4000), memory(4000))):
            record = provider.hosted(
                self.network.alice_owner,
                descriptor,
                Price(1, 1000, 1000),
                level=level,
                audience=audience,
                concurrent_max=8,
                duration_ms_max=60_000,
                randomness=bytes([number]) * 48,
            )
            self.network.execute(provider.registration(record), self.network.alice)
            self.records[descriptor.kind] = record
            self.adapters[descriptor.kind] = self._adapter(descriptor)
        self.network.revoke(keys("revoked").id)

    def _adapter(self, descriptor: Descriptor) -> AssetAdapter:
        if descriptor.kind is AssetKind.CPU:
            return CpuAssetAdapter(descriptor)
        return MemoryAssetAdapter(descriptor, self.regions)

    def requester(self, name: str) -> Requester:
        network = self.network
        made = {
            "owner's same node": ("alice", {OWN_NETWORK}),
            "owner's other node": ("second", {OWN_NETWORK}),
            "named node": ("named", {OWN_NETWORK}),
            "node of a named network": ("member", {NAMED}),
            "node of one not trusted": ("foreign", {UNTRUSTED}),
            "node of another network": ("stranger", {OTHER}),
            "revoked named node": ("revoked", {NAMED}),
        }
        if name == "account alone":
            return Requester(self, Caller(None, network.carol_owner), network.carol_owner)
        if name == "unknown caller":
            return Requester(self, Caller(), b"?" * 32)
        node = keys(made[name][0]).id
        caller = Caller(node, network.owner_of[node], frozenset(made[name][1]), attested=True)
        return Requester(self, caller, node)


class Requester:
    """One who asks, and signs where the ledger is asked."""

    def __init__(self, scene: Scene, caller: Caller, signer: bytes) -> None:
        self._scene = scene
        self._network = scene.network
        self._caller = caller
        self._signer = signer
        self._session = signer[::-1]

    # The steps; each raises where it is refused.

    def discover(self) -> None:
        self._admitted()
        terms = self._terms(AssetKind.CPU)
        privacy.decide(Operation.DISCOVER, terms, self._caller).require()

    def inspect(self) -> None:
        self._admitted()
        record = self._scene.records[AssetKind.CPU]
        provider.view(
            record.asset, self._row(record), record, self._caller, frozenset({NAMED}),
            free=1, in_use=False,
        )  # fmt: skip

    def offer(self, kind: AssetKind = AssetKind.CPU) -> Offer:
        self._admitted()
        record = self._scene.records[kind]
        return provider.offer(
            GENESIS_ID, record.asset, self._row(record), record, self._caller, frozenset({NAMED}),
            free=1000, now_ms=self._network.now_ms,
        )  # fmt: skip

    def lease(self, kind: AssetKind = AssetKind.CPU) -> tuple[bytes, Lease]:
        """Where no offer is made, an honest host's signature is not had either: what is tried then
        is an offer that was made to the owner."""
        try:
            offer = self.offer(kind)
        except AccessRefused:
            offer = self._scene.requester("owner's same node").offer(kind)
        self._signs()
        lease_id = self._network.open(
            offer, self._signer, amount=10, duration_ms=1_000, escrow=10 + LEASE_FEE
        )
        row = leases.existing(self._network.state, lease_id)
        return lease_id, msgspec.structs.replace(row, session=self._session)

    def job(self) -> None:
        adapter = self._scene.adapters[AssetKind.CPU]
        assert isinstance(adapter, CpuAssetAdapter)
        lease_id, row = self._served(AssetKind.CPU)
        assert adapter.allowance(lease_id, row.epoch, self._network.now_ms) == 10

    def read(self) -> None:
        """By the grant that the transport was given, which is what lets bytes move."""
        lease_id, _ = self._served(AssetKind.MEMORY)
        granted = [each for each in self._scene.regions.log if each[0] == "grant"]
        assert any(each[1] == lease_id[:16] and each[2] == self._session for each in granted)

    def set_terms(self) -> None:
        self._admitted()
        privacy.decide(Operation.CHANGE, self._terms(AssetKind.CPU), self._caller).require()
        record = self._scene.records[AssetKind.CPU]
        self._say(
            provider.terms_change(record.asset, record.sharing, record.descriptor, record.salt)
        )

    def set_terms_uninvited(self) -> None:
        """Past the host, straight to the ledger."""
        record = self._scene.records[AssetKind.CPU]
        self._say(
            provider.terms_change(record.asset, record.sharing, record.descriptor, record.salt)
        )

    def transfer(self) -> None:
        record = self._scene.records[AssetKind.CPU]
        self._say(AssetTransfer(record.asset, self._network.carol_owner))

    def _served(self, kind: AssetKind) -> tuple[bytes, Lease]:
        adapter = self._scene.adapters[kind]
        lease_id, row = self.lease(kind)
        adapter.reserve(lease_id, row)
        self._network.activate(lease_id)
        active = leases.existing(self._network.state, lease_id)
        active = msgspec.structs.replace(active, session=self._session)
        adapter.activate(lease_id, active)
        return lease_id, active

    def _terms(self, kind: AssetKind) -> privacy.Terms:
        record = self._scene.records[kind]
        return provider.terms(self._row(record), record, frozenset({NAMED}))

    def _row(self, record: Hosted) -> Asset:
        return registry.existing(self._network.state, record.asset)

    def _admitted(self) -> None:
        """What the transport does before any call: a revoked node is not spoken with. The rule is
        the preview's; that the transport keeps it is tested with real nodes."""
        node, owner = self._caller.node, self._caller.owner
        row = None if node is None else identity.node(self._network.state, node)
        if node is not None and owner is not None and row is not None:
            known = Known(node, owner, row.revoked, True, 0)
            if row.revoked:
                access(self._terms(AssetKind.CPU), known, self._caller.networks).discover.require()

    def _signs(self) -> None:
        """What the kernel does before any rule: the signer is known and not revoked."""
        if self._caller.owner is None:
            raise identity.SignerUnknown
        if self._caller.node is not None:
            transaction = Transaction(
                GENESIS_ID, self._signer, 0, 0, 2**53, b"",
                AssetTransfer(b"a" * 16, b"o" * 32),
            )  # fmt: skip
            identity.Identity().signer(self._network.state, transaction, self._network.now_ms)

    def _say(self, body: Body) -> None:
        self._signs()
        self._network.execute(body, self._signer)


OPERATIONS: dict[str, Callable[[Requester], object]] = {
    "D": Requester.discover,
    "I": Requester.inspect,
    "O": Requester.offer,
    "L": Requester.lease,
    "J": Requester.job,
    "R": Requester.read,
    "S": Requester.set_terms,
    "T": Requester.transfer,
}


@functools.cache
def found(level: str, requester: str, operation: str) -> bool:
    """Whether the attempt succeeds, on a scene of its own."""
    try:
        OPERATIONS[operation](Scene(PrivacyLevel(level)).requester(requester))
    except (Refusal, AccessRefused, NotHeld):
        return False
    return True


@pytest.mark.parametrize("operation", OPERATIONS)
@pytest.mark.parametrize("requester", EXPECTED)
@pytest.mark.parametrize("level", LEVELS)
def test_level_by_requester_by_operation(level: str, requester: str, operation: str) -> None:
    expected = operation in EXPECTED[requester][LEVELS.index(level)]
    assert found(level, requester, operation) is expected


def test_the_table_names_every_level_and_every_cell_is_an_operation() -> None:
    assert set(LEVELS) == {level.value for level in PrivacyLevel}
    for cells in EXPECTED.values():
        assert len(cells) == len(LEVELS)
        assert all(set(cell) <= set(OPERATIONS) for cell in cells)


@pytest.mark.parametrize("requester", [each for each in EXPECTED if "owner's" not in each])
def test_nobody_but_the_owner_sets_terms_past_the_host(requester: str) -> None:
    with pytest.raises(Refusal):
        Scene(PrivacyLevel.FULL_PUBLIC).requester(requester).set_terms_uninvited()


def test_a_rule_that_lets_one_more_in_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    """Planted: P2P lets in the named networks as well."""
    real = privacy._admits

    def lax(terms: privacy.Terms, caller: Caller) -> privacy.Decision:
        if terms.level is PrivacyLevel.P2P and caller.networks & set(terms.audience.networks):
            return privacy.Decision(True, "planted")
        return real(terms, caller)

    monkeypatch.setattr(privacy, "_admits", lax)
    found.cache_clear()
    try:
        assert found("p2p", "node of a named network", "D")
        assert found("p2p", "node of a named network", "R")
        assert "D" not in EXPECTED["node of a named network"][LEVELS.index("p2p")]
    finally:
        found.cache_clear()
