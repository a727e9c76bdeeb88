"""Files sent to other nodes and received from them, as the API shows them."""

from __future__ import annotations

import enum
from typing import Annotated, Final, Literal

import msgspec
from msgspec import Meta

from hypermesh.wire.api.body import Body, Hex16, Hex32
from hypermesh.wire.api.ledger import HexBytes
from hypermesh.wire.api.problem import ProblemDetails
from hypermesh.wire.errors import Conflict, HyperMeshError, NotFound, Problem, error_from

PATH_BYTES_MAX = 4096
PROOF_BYTES_MAX = 64 * 1024
"""A longer document of a delivery is refused unread."""
SENDER_BYTES_DEFAULT = 1 << 30


class TransferState(enum.StrEnum):
    """Where a transfer is. `waiting` is between two attempts."""

    QUEUED = "queued"
    SENDING = "sending"
    WAITING = "waiting"
    DONE = "done"
    FAILED = "failed"
    CANCELLED = "cancelled"


FINAL: Final = frozenset({TransferState.DONE, TransferState.FAILED, TransferState.CANCELLED})


class UnknownTransfer(NotFound):
    """This node keeps no such transfer."""

    code = "HM-SEND-0008"
    title = "There is no such transfer here"
    remedy = "See `hm transfer ls`"


class TransferCancelled(Conflict):
    """Somebody asked for the end of the transfer."""

    code = "HM-SEND-0009"
    title = "The transfer was cancelled"


class SendRequest(Body, frozen=True):
    """`POST /v1/transfers`: send the file at the absolute `path` on the node's machine to `to`: a
    node's name, its id or the beginning of it, or an address of something that it hosts."""

    path: Annotated[str, Meta(min_length=1, max_length=PATH_BYTES_MAX)]
    to: Annotated[str, Meta(min_length=1, max_length=200)]


class TransferView(msgspec.Struct, frozen=True):
    """A file on its way from here. Of `size` bytes, `done` are dealt with; of those `moved` went
    over the connection, and the receiver had the rest. `problem` is why it failed, or why the last
    attempt did. `root` is BLAKE3 of the file."""

    transfer: Hex16
    state: TransferState
    name: str
    path: str
    to: Hex32
    to_name: str
    size: int
    done: int
    moved: int
    attempts: int
    submitted_ms: int
    ended_ms: int | None
    root: Hex32 | None
    problem: ProblemDetails | None

    @property
    def failure(self) -> HyperMeshError | None:
        """What kept it from its end, as the error that it is."""
        if self.state is TransferState.CANCELLED:
            return TransferCancelled(f"Sending {self.name} was cancelled")
        said = self.problem
        if self.state is not TransferState.FAILED or said is None:
            return None
        return error_from(Problem(said.code, said.detail, said.cause, said.fix))


class TransferPage(msgspec.Struct, frozen=True):
    """Transfers from here, newest first."""

    items: list[TransferView]
    next_cursor: str | None


class ReceivedView(msgspec.Struct, frozen=True):
    """A file in the inbox. `path` is where it was put. `is_countersigned`: the sender has signed as
    well."""

    transfer: Hex16
    name: str
    path: str
    sender: Hex32
    sender_name: str
    owner: Hex32
    size: int
    root: Hex32
    received_ms: int
    is_countersigned: bool


class ReceivedPage(msgspec.Struct, frozen=True):
    """Files in the inbox, newest first."""

    items: list[ReceivedView]
    next_cursor: str | None


class SenderLimit(Body, frozen=True):
    """`PUT /v1/inbox/senders/{owner}`: take files of this owner's nodes, as long as all that is
    here of them has at most `bytes_max` bytes."""

    bytes_max: Annotated[int, Meta(ge=1, le=2**53)] = SENDER_BYTES_DEFAULT


class SenderView(msgspec.Struct, frozen=True):
    """An owner, not oneself, who may send files here."""

    owner: Hex32
    bytes_max: int


class SenderPage(msgspec.Struct, frozen=True):
    """Who else may send files here."""

    items: list[SenderView]
    next_cursor: str | None


class DeliveryDocument(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """That a file was delivered, for `hm verify`. All but `proof` is for people and repeated from
    it; `proof` is the canonical `DeliveryProof` as hex."""

    schema_version: Annotated[int, Meta(ge=1, le=1)]
    kind: Literal["hypermesh.delivery"]
    network: Hex32
    transfer: Hex16
    sender: Hex32
    receiver: Hex32
    name: str
    size: int
    root: Hex32
    time_ms: int
    proof: HexBytes
