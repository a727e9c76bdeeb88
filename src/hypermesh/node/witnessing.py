"""This node as a witness of its network's logs.

It cosigns a checkpoint that continues what it cosigned last, or else what the ledger has anchored,
and holds that durably before it signs. Where the authority shows it another history it refuses, and
keeps what it was shown. What a node cosigned is in no backup: one that was restored has forgotten
it, and cosigns no more.
"""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Iterator
from pathlib import Path

import msgspec

from hypermesh.crypto.files import make_directory, replace
from hypermesh.crypto.keys import key_id
from hypermesh.ledger import transparency
from hypermesh.node.chain import Chain
from hypermesh.node.kept import read
from hypermesh.node.membership import Membership
from hypermesh.node.service import Peer
from hypermesh.trustchain.certificate import server_name
from hypermesh.trustchain.cosigner import cosigning_keys
from hypermesh.trustchain.ct.checkpoint import Checkpoint, LogIdentity, read_checkpoint
from hypermesh.trustchain.ct.errors import (
    LogContradicted,
    NotInLog,
    ProofInvalid,
    WitnessConflict,
    WitnessEnded,
)
from hypermesh.trustchain.ct.note import read_note
from hypermesh.trustchain.ct.witness import AddCheckpoint, Witness
from hypermesh.trustchain.logged import log_identity
from hypermesh.wire.api.ct import WitnessedView
from hypermesh.wire.codec import encode
from hypermesh.wire.errors import NotAvailable
from hypermesh.wire.rpc import CosignRequest, CosignResponse
from hypermesh.wire.transparency import PublicLog

DIRECTORY = "witness"
ENDED = "ended"
"""In the directory: why this node cosigns no more."""
_REFUSED = "refused"


class Refused(msgspec.Struct, frozen=True, array_like=True):
    """What a log showed that contradicts what this node cosigned or the ledger anchored: the
    checkpoint as a signed note, why it was refused, and whether two notes under the log's keys
    prove it, which stays so whatever the log shows later."""

    origin: str
    note: bytes
    why: str
    is_proven: bool


def end(data: Path, why: str) -> None:
    """Have the node in `data` cosign no more; durable when this returns."""
    make_directory(data / DIRECTORY, 0o700)
    replace(data / DIRECTORY / ENDED, why.encode())


class Witnessing:
    """Any thread asks. The node with the authority is no witness of its own logs."""

    def __init__(self, membership: Membership, chain: Chain, data: Path) -> None:
        self._genesis_id = membership.genesis_id
        self._authority = key_id(membership.genesis.sequencer)
        self._chain = chain
        self._directory = data / DIRECTORY
        self._known: dict[str, tuple[PublicLog, LogIdentity]] = {}
        self._turn = threading.Lock()
        """Held from looking at what was cosigned last until the answer is made."""
        self._refused: dict[str, Refused] = {}
        self._ended: str | None = None
        self._witness: Witness | None = None
        if membership.keys.id == self._authority:
            return
        make_directory(self._directory, 0o700)
        if (self._directory / ENDED).exists():
            self._ended = (self._directory / ENDED).read_text(errors="replace")
            return
        ed25519, falcon = cosigning_keys(membership.keys)
        name = server_name(membership.keys.id, self._genesis_id)
        self._witness = Witness(
            self._directory / "logs", ed25519, name, (), falcon=falcon, floor=self._anchored
        )
        make_directory(self._directory / _REFUSED, 0o700)
        for file in sorted((self._directory / _REFUSED).iterdir()):
            if file.suffix != ".new":
                found = read(Refused, file, "Remove it; what it says is said again when it happens")
                self._refused[found.origin] = found

    def close(self) -> None:
        if self._witness is not None:
            self._witness.close()

    def cosign(self, peer: Peer, request: CosignRequest) -> CosignResponse:
        """`log.cosign`: this node's lines under a checkpoint of a log of its network.

        Raises `NotInLog`, `SubmissionRefused`, `ProofInvalid`, `LogContradicted`, `WitnessEnded`.
        """
        witness = self._require()
        offered = read_checkpoint(read_note(request.note).text)
        asked = AddCheckpoint(request.old, tuple(request.proof), request.note)
        with self._turn:
            self._know(offered.origin)
            standing = witness.standing(offered.origin)
            is_authority = peer.id == self._authority
            try:
                lines = witness.add_checkpoint(asked)
            except WitnessConflict as conflict:
                is_forked = offered.size == standing.size and offered.root != standing.root
                # An old checkpoint, which anybody may have kept, is no rewind; the authority's is.
                if is_forked or (offered.size < standing.size and is_authority):
                    raise self._contradicted(request.note, offered, standing) from conflict
                return CosignResponse(b"", conflict.size)
            except ProofInvalid as error:
                # Anybody can send a proof that does not hold; of the authority it says something.
                if is_authority and request.old == standing.size:
                    raise self._contradicted(request.note, offered, standing) from error
                raise
            self._continued(offered.origin)
            return CosignResponse(lines, offered.size)

    def view(self, origin: str) -> WitnessedView | None:
        """How far this node has cosigned a log; None where it is no witness of it."""
        witness = self._witness
        if witness is None:
            return None
        with self._turn:
            try:
                self._know(origin)
            except NotInLog:
                return None
            latest = witness.latest(origin)
            refused = self._refused.get(origin)
        if latest is None and refused is None:
            return None
        return WitnessedView(
            0 if latest is None else latest.size,
            None if latest is None else latest.root.hex(),
            None if refused is None else refused.why,
        )

    def contradictions(self) -> Iterator[str]:
        """Why logs that still take entries are not to be believed."""
        if not self._refused:
            return
        with self._chain.ledger.state() as state:
            for origin, refused in sorted(self._refused.items()):
                log = transparency.log(state, origin)
                if log is not None and log.ended is None:
                    yield refused.why

    def _require(self) -> Witness:
        if self._ended is not None:
            raise WitnessEnded(why=self._ended)
        if self._witness is None:
            raise NotAvailable("The node with the authority is no witness of its own logs")
        return self._witness

    def _know(self, origin: str) -> None:
        """Have the witness know the log by the ledger's word. Raises `NotInLog`."""
        with self._chain.ledger.state() as state:
            row = transparency.log(state, origin)
        if row is None or row.ended is not None or self._witness is None:
            raise NotInLog("The ledger knows no such log that takes entries", why=origin[:200])
        known = self._known.get(origin)
        if known is None or known[0] != row.log:
            self._known[origin] = (row.log, log_identity(row.log))
            self._witness.know(identity for _, identity in self._known.values())

    def _anchored(self, origin: str) -> Checkpoint | None:
        with self._chain.ledger.state() as state:
            row = transparency.log(state, origin)
        if row is None or not row.newest.size:
            return None
        return Checkpoint(origin, row.newest.size, row.newest.root)

    def _contradicted(
        self, note: bytes, offered: Checkpoint, standing: Checkpoint
    ) -> LogContradicted:
        origin = offered.origin
        if offered.size < standing.size:
            why = f"it has {offered.size} entries, and had {standing.size}"
        else:
            why = f"its {offered.size} entries do not begin with the {standing.size} that it had"
        why = f"{origin}: {why}"
        # Two roots of one size under the log's keys, or one of them anchored by its node.
        is_proven = offered.size == standing.size
        kept = self._refused.get(origin)
        if kept is None or (is_proven and not kept.is_proven):
            refused = Refused(origin, note, why, is_proven)
            replace(self._file(origin), encode(refused))
            self._refused[origin] = refused
        return LogContradicted(why=why)

    def _continued(self, origin: str) -> None:
        """A log that shows the history again that was cosigned had been put back and forth."""
        refused = self._refused.get(origin)
        if refused is not None and not refused.is_proven:
            self._file(origin).unlink(missing_ok=True)
            del self._refused[origin]

    def _file(self, origin: str) -> Path:
        return self._directory / _REFUSED / hashlib.sha256(origin.encode()).hexdigest()
