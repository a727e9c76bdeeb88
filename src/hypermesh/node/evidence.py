"""What this node can show to others with proofs: the history of an asset, the receipt of a lease.

The proofs are made from the blocks; `assets.history` and `assets.receipt_check` check them offline.
"""

from __future__ import annotations

from hypermesh.assets import registry
from hypermesh.assets.lease import FINAL, LEASES
from hypermesh.assets.receipt import Party, Signed, Step, compose
from hypermesh.ledger import identity
from hypermesh.ledger.shown import RowProof, show_row, show_transaction
from hypermesh.ledger.verify import included, prove_transaction
from hypermesh.node.chain import Chain
from hypermesh.node.explorer import Explorer
from hypermesh.node.index.database import ASSET, LEASE
from hypermesh.node.index.index import Index
from hypermesh.node.leases import Leases
from hypermesh.node.membership import Membership
from hypermesh.node.readings import Readings
from hypermesh.trustchain.description import authority_identifier, key_identifier
from hypermesh.wire.api.ledger import HistoryEntry, HistoryPage
from hypermesh.wire.api.receipt import ReceiptDocument
from hypermesh.wire.asset import LeaseState
from hypermesh.wire.block import Block, TransactionProof
from hypermesh.wire.codec import encode
from hypermesh.wire.errors import Conflict, InvalidInput, NotFound
from hypermesh.wire.ids import AssetId
from hypermesh.wire.tx import LeaseClaim, LeaseSettle

STEPS_MAX = 10
RESULTS_BYTES_MAX = 4 << 20
"""Proofs of one page of a history together, unless the first alone is larger."""
STEPS: dict[str, Step] = {
    "lease.open": "open",
    "lease.activate": "activate",
    "lease.settle": "settle",
    "lease.claim": "claim",
}


class NoReceipt(Conflict):
    """A receipt exists once a lease was settled or claimed."""

    code = "HM-ASSET-0021"
    title = "This lease has no receipt"


class Evidence:
    """Reads, by any thread."""

    def __init__(
        self,
        membership: Membership,
        chain: Chain,
        index: Index,
        explorer: Explorer,
        leases: Leases,
        readings: Readings,
    ) -> None:
        self._genesis = membership.genesis
        self._chain = chain
        self._index = index
        self._explorer = explorer
        self._leases = leases
        self._readings = readings

    def history(self, asset_id: AssetId, cursor: str | None, limit: int) -> HistoryPage:
        """What was done to an asset, oldest first, with proofs. Raises `UnknownAsset`."""
        place = _place(cursor)
        with self._chain.ledger.state() as state:
            registry.existing(state, asset_id)
        row = self._row(registry.ASSETS.key(asset_id))
        height = row.header.header.height
        database = self._index.current()
        items: list[HistoryEntry] = []
        size = 0
        more = False
        for each in database.timeline(ASSET, asset_id, place, limit + 1):
            if each.height > height or each.entry is None:
                break
            if len(items) == limit or size > RESULTS_BYTES_MAX:
                more = True
                break
            proof = show_transaction(self._proof(each.height, each.entry))
            size += len(proof.transaction) + len(proof.results) + len(proof.header)
            operation = self._explorer.operation(each.height, each.entry)
            items.append(HistoryEntry(operation, proof))
        last = items[-1].proof if items else None
        return HistoryPage(
            asset=asset_id.hex(),
            genesis=encode(self._genesis).hex(),
            row=show_row(row),
            items=items,
            next_cursor=f"{last.height}.{last.index}" if more and last is not None else None,
        )

    def receipt(self, text: str) -> ReceiptDocument:
        """The receipt of a lease, by its id or the beginning of it.

        Raises `NoReceipt` for a lease that is not over, or that came to nothing.
        """
        lease_id = self._leases.whole_id(text)
        row = self._leases.row(lease_id)
        if row.state is LeaseState.EXPIRED:
            raise NoReceipt(
                why="nobody settled or claimed it in time, so the whole escrow returned",
                fix=f"See `hm lease show {lease_id.hex()[:16]}`",
            )
        if row.state not in FINAL:
            raise NoReceipt(
                why=f"it is {row.state.value}",
                fix=f"End it first: hm lease release {lease_id.hex()[:16]}",
            )
        steps: list[Signed] = []
        for each in self._index.current().timeline(LEASE, lease_id, (0, 0), STEPS_MAX):
            if each.entry is not None and each.event in STEPS:
                proof = self._proof(each.height, each.entry)
                steps.append(Signed(STEPS[each.event], self._party(proof), proof))
        end = included(steps[-1].proof).signed.transaction.body if steps else None
        reading = None
        if isinstance(end, LeaseSettle | LeaseClaim):
            reading = self._readings.get(lease_id, end.receipt.evidence)
        proven = self._row(LEASES.key(lease_id))
        return compose(self._genesis, steps, reading, None if proven.value is None else proven)

    # The parts

    def _proof(self, height: int, index: int) -> TransactionProof:
        block: Block = self._chain.ledger.block(height)
        return prove_transaction(block, index)

    def _row(self, key: bytes) -> RowProof:
        found = self._chain.ledger.row(key)
        return RowProof(key, found.value, found.proof, found.header)

    def _party(self, proof: TransactionProof) -> Party:
        """Who signed a transaction: a node with the certificate that it had made known before."""
        found = included(proof)
        signer = found.signed.transaction.signer
        certificate = self._index.current().certificate(signer, found.height, found.index)
        if certificate is not None:
            return Party(certificate, issuing=self._issuing(certificate))
        with self._chain.ledger.state() as state:
            owner = identity.owner(state, signer)
        if owner is None:
            raise NotFound(f"The keys of {signer.hex()} are not known")
        return Party(None, owner.keys)

    def _issuing(self, certificate: bytes) -> bytes | None:
        """The issuing certificate above a node's; None where it is that of genesis."""
        named = authority_identifier(certificate)
        with self._chain.ledger.state() as state:
            issuers = list(identity.all_issuers(state))
        above = next((each for each in issuers if key_identifier(each) == named), None)
        return None if above == self._genesis.issuing_certificate else above


def _place(cursor: str | None) -> tuple[int, int]:
    if not cursor:
        return 0, 0
    height, dot, index = cursor.partition(".")
    if not dot or not (height + index).isascii() or not (height + index).isdigit():
        raise InvalidInput(f"{cursor[:80]!r} is no cursor of this list")
    if len(height) > 15 or len(index) > 6:
        raise InvalidInput(f"{cursor[:80]!r} is no cursor of this list")
    return int(height), int(index)
