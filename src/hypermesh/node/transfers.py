"""A file on its way from this node, as a record: its states, and how it is shown. Pure.

QUEUED -> SENDING <-> WAITING        any of them -> DONE | FAILED | CANCELLED
"""

from __future__ import annotations

import msgspec

from hypermesh.stoq.errors import StreamReset, Unanswered
from hypermesh.stoq.transfer.errors import AlreadyComing
from hypermesh.stoq.transfer.progress import Progress
from hypermesh.wire.api.problem import ProblemDetails
from hypermesh.wire.api.transfer import FINAL, TransferState, TransferView
from hypermesh.wire.delivery import DeliveryProof, TransferId
from hypermesh.wire.errors import HyperMeshError, NotFound, Overloaded, Unreachable
from hypermesh.wire.ids import NodeId

LIFETIME_MS = 7 * 24 * 3600 * 1000
"""After which no new attempt is made."""
WAIT_MS_MAX = 30_000
WAIT_MS_MIN = 1_000
ATTEMPTS_DOUBLED_MAX = 6

_PASSING = (Unreachable, StreamReset, Unanswered, Overloaded, AlreadyComing)
"""What may be otherwise in a while: an attempt that ends so is followed by another."""


class Record(msgspec.Struct, frozen=True):
    """What a node keeps of a transfer. Sizes in bytes."""

    transfer: TransferId
    state: TransferState
    name: str
    path: str
    to: NodeId
    size: int
    submitted_ms: int
    attempts: int = 0
    next_ms: int = 0
    """When the next attempt is due, while it waits."""
    done: int = 0
    moved: int = 0
    ended_ms: int | None = None
    problem: ProblemDetails | None = None
    proof: DeliveryProof | None = None

    @property
    def is_final(self) -> bool:
        return self.state in FINAL


def begun(record: Record) -> Record:
    """Another attempt."""
    state = TransferState.SENDING
    return msgspec.structs.replace(record, state=state, attempts=record.attempts + 1, moved=0)


def advanced(record: Record, progress: Progress) -> Record:
    return msgspec.structs.replace(record, done=progress.done, moved=progress.moved)


def delivered(record: Record, proof: DeliveryProof, now_ms: int) -> Record:
    return msgspec.structs.replace(
        record,
        state=TransferState.DONE,
        done=record.size,
        ended_ms=now_ms,
        problem=None,
        proof=proof,
    )


def failed(record: Record, error: HyperMeshError, now_ms: int) -> Record:
    """After an attempt that failed: to be tried again where that may help, else over."""
    problem = ProblemDetails.of(error)
    is_passing = isinstance(error, _PASSING) and not isinstance(error, NotFound)
    if is_passing and now_ms - record.submitted_ms < LIFETIME_MS:
        doubled = min(record.attempts, ATTEMPTS_DOUBLED_MAX)
        wait_ms = min(WAIT_MS_MAX, WAIT_MS_MIN << doubled)
        return msgspec.structs.replace(
            record, state=TransferState.WAITING, next_ms=now_ms + wait_ms, problem=problem
        )
    return msgspec.structs.replace(
        record, state=TransferState.FAILED, ended_ms=now_ms, problem=problem
    )


def cancelled(record: Record, now_ms: int) -> Record:
    return msgspec.structs.replace(record, state=TransferState.CANCELLED, ended_ms=now_ms)


def resumed(record: Record, now_ms: int) -> Record:
    """After the node was down: due at once."""
    return msgspec.structs.replace(record, state=TransferState.WAITING, next_ms=now_ms)


def view(record: Record, name: str) -> TransferView:
    """`record` as the API shows it; `name` is the receiver's."""
    return TransferView(
        transfer=record.transfer.hex(),
        state=record.state,
        name=record.name,
        path=record.path,
        to=record.to.hex(),
        to_name=name,
        size=record.size,
        done=record.done,
        moved=record.moved,
        attempts=record.attempts,
        submitted_ms=record.submitted_ms,
        ended_ms=record.ended_ms,
        root=None if record.proof is None else record.proof.delivery.root.hex(),
        problem=record.problem,
    )
