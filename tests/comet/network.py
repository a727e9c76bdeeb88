"""A small real network: a CA, owners and nodes with certificates, all modules, signed transactions.

Its parameters are small, its rules are those of a node.
"""

from __future__ import annotations

from pathlib import Path

import msgspec

from hypermesh.consensus.parameters import parameters_of
from hypermesh.consensus.prover.time import founded
from hypermesh.crypto.digest import digest, digest_of
from hypermesh.crypto.keys import QuantumKeys
from hypermesh.crypto.keystore import KeyStore
from hypermesh.crypto.signature import sign
from hypermesh.ledger import identity
from hypermesh.ledger.kernel import Kernel
from hypermesh.ledger.state import MemoryBase, Overlay
from hypermesh.ledger.store import Store
from hypermesh.node.rules import kernel as rules
from hypermesh.trustchain.ca.authority import (
    CertificateAuthority,
    CertificateOrder,
    root_authority,
)
from hypermesh.trustchain.certificate import Validity, cross_certificate, serial_number
from hypermesh.trustchain.federation import policies_of, zone
from hypermesh.wire.amount import NANO
from hypermesh.wire.block import (
    BlockInput,
    EconomyParameters,
    Genesis,
    LeaseParameters,
    NetworkClass,
)
from hypermesh.wire.codec import encode
from hypermesh.wire.proof import VdfOutput
from hypermesh.wire.tx import (
    BankFaucet,
    BlockOpening,
    Body,
    FederationAdd,
    IdentityEnrol,
    IdentityOwn,
    PartnerService,
    SignedTransaction,
    Transaction,
)

START_MS = 1_800_000_000_000
WINDOW_MS = 9 * 60 * 1000
EPOCH_MS = 5_000
ECONOMY = EconomyParameters("none", 1_000 * NANO, 100 * NANO, 1_000, 500)
LEASES = LeaseParameters(reservation_ms=5_000, claim_ms=5_000, duration_ms_max=3_600_000)


class Network:
    """Who there is, and what they sign. The founder is an owner; `alice` is its node."""

    def __init__(self, directory: Path, created_ms: int = START_MS) -> None:
        self.created_ms = created_ms
        self._keys: dict[str, QuantumKeys] = {}
        self._next: bytes | None = None
        self._secrets = KeyStore(directory / "keys")
        self._authority = _authority(directory, "comet", created_ms)
        self._partner = _authority(directory / "partner", "partner", created_ms)
        proofs = msgspec.structs.replace(
            parameters_of(NetworkClass.TEST),
            epoch_ms=EPOCH_MS,
            vdf_iterations=2_000,
            matrix_size=64,
            bond_min=NANO,
        )
        self.genesis = founded(
            Genesis(
                version=1,
                name="comet",
                network_class=NetworkClass.TEST,
                created_ms=created_ms,
                root_certificate=self._authority.root,
                issuing_certificate=self._authority.issuing,
                founder=self.keys("founder").public,
                sequencer=self.keys("alice").public,
                proofs=proofs,
                economy=ECONOMY,
                leases=LEASES,
                vdf=None,
            )
        )
        self.genesis_id = digest_of("genesis", self.genesis)
        self.partner = msgspec.structs.replace(
            self.genesis,
            name="partner",
            root_certificate=self._partner.root,
            issuing_certificate=self._partner.issuing,
        )

    def close(self) -> None:
        self._authority.close()
        self._partner.close()

    def kernel(self) -> Kernel:
        return rules(self.genesis)

    def store(self, directory: Path) -> Store:
        """A store with the rows of genesis."""
        store = Store(directory, self.genesis)
        if not store.founded:
            store.found(self.kernel().begin(store))
        return store

    def base(self) -> MemoryBase:
        """The rows of genesis in memory."""
        base = MemoryBase()
        base.take(self.kernel().begin(base))
        return base

    def keys(self, name: str) -> QuantumKeys:
        """One key pair for each name."""
        if name not in self._keys:
            self._keys[name] = QuantumKeys.generate()
        return self._keys[name]

    def id(self, name: str) -> bytes:
        return self.keys(name).id

    def certificate(self, node: str, owner: str, serial: int = 0) -> bytes:
        """A certificate; a later `serial` ends a second later."""
        request = digest("test-request", f"{node} {serial}".encode())
        order = CertificateOrder(
            request, self.genesis_id, self.keys(node).public, self.keys(owner).id
        )
        return self._authority.certify(order, self.created_ms // 1000 + serial).certificate

    def signed(
        self, name: str, nonce: int, body: Body, *, signing: str | None = None, **changes: object
    ) -> bytes:
        """An encoded transaction of `name`, valid for minutes from the network's beginning."""
        transaction = Transaction(
            genesis=self.genesis_id,
            signer=self.keys(name).id,
            nonce=nonce,
            valid_from_ms=self.created_ms,
            valid_until_ms=self.created_ms + WINDOW_MS,
            attestation=b"",
            body=body,
        )
        transaction = msgspec.structs.replace(transaction, **changes)
        signature = sign(
            self.keys(signing or name), "tx", transaction.genesis, digest_of("tx", transaction)
        )
        return encode(SignedTransaction(transaction, signature))

    def next_issuing(self) -> bytes:
        """The certificate of another issuing CA of the network, the same each time."""
        if self._next is None:
            now_s = self.created_ms // 1000
            self._next = self._authority.prepare_issuing("comet", now_s)
            self._authority.use_issuing(self._next)
        return self._next

    def partnership(self) -> FederationAdd:
        """Terms with another network, whose genesis is this one's but for name and CA."""
        now_s = self.created_ms // 1000
        validity = Validity(now_s - 300, now_s + 86_400)
        cross = cross_certificate(
            self._partner.issuing,
            root_authority(self._secrets, self._authority.root),
            [zone(digest_of("genesis", self.partner))],
            [],
            policies_of([PartnerService.ASSETS]),
            validity,
            serial_number(b"c" * 19),
        )
        return FederationAdd(
            encode(self.partner),
            self._partner.issuing,
            cross,
            [PartnerService.ASSETS],
            self.created_ms + 3_600_000,
            [],
        )

    def own(self, name: str) -> bytes:
        return self.signed(name, 0, IdentityOwn(self.keys(name).public))

    def enrol(self, node: str, owner: str, nonce: int = 0, serial: int = 0) -> bytes:
        return self.signed(node, nonce, IdentityEnrol(self.certificate(node, owner, serial)))

    def faucet(self, node: str, nonce: int) -> bytes:
        return self.signed(node, nonce, BankFaucet())


class Chain:
    """A kernel driven block by block in memory, as `solo` drives it."""

    def __init__(self, network: Network) -> None:
        self.kernel = network.kernel()
        self.base = network.base()
        self.state = Overlay(self.base)

    @property
    def height(self) -> int:
        return self.kernel.head(self.base).height

    def block(self, *entries: bytes, time_ms: int, vdf: VdfOutput | None = None) -> list[str]:
        """Execute one block; the codes of its results, that of the opening left out."""
        opening = encode(BlockOpening(time_ms, vdf))
        given = BlockInput(self.height + 1, time_ms, [opening, *entries], [])
        execution = self.kernel.execute(given, self.base)
        self.base.take(execution.changes)
        return [result.code for result in execution.results[1:]]

    def nonce(self, signer: bytes) -> int:
        return identity.nonce(self.state, signer)


def _authority(directory: Path, name: str, created_ms: int) -> CertificateAuthority:
    directory.mkdir(exist_ok=True)
    keys = KeyStore(directory / "keys")
    return CertificateAuthority.found(directory, keys, name, created_ms // 1000)
