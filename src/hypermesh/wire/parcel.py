"""Parcels: messages between nodes that are seldom up at the same time, kept and passed on by nodes
in between until they are delivered or expire (RFC 9171 calls the like a bundle).

    parcel  = header | content | the source's signature over the header (domain `parcel`)
    id      = digest "parcel" of the header, which holds the digest "parcel/content" of the content
    content = of a message: an envelope for the destination's sealing key, so that no node in
              between reads it; of a report: the report, which anybody may check

What travels beside a parcel (the hops so far) is said by whoever hands it over, and signed by
nobody: it ends a circle that honest nodes run into, and can shorten a way, never lengthen one
beyond its expiry.
"""

from __future__ import annotations

import enum
from typing import Annotated

import msgspec
from msgspec import Meta

from hypermesh.wire.asset import TimeMs
from hypermesh.wire.errors import (
    Conflict,
    Forbidden,
    HyperMeshError,
    InvalidInput,
    NotFound,
    Overloaded,
)
from hypermesh.wire.ids import Hash, NodeId
from hypermesh.wire.keys import QuantumSignature

BODY_BYTES_MAX = 4 * 1024 * 1024 - 64 * 1024
"""Of a message, so that its parcel fits one call between nodes."""
CONTENT_BYTES_MAX = BODY_BYTES_MAX + 4096
LIFETIME_MS_MIN = 1_000
LIFETIME_MS_MAX = 30 * 24 * 60 * 60 * 1000
HOPS_MAX = 8
CLOCK_TOLERANCE_MS = 5 * 60 * 1000
"""How far the clocks of two nodes may be apart. An expiry counts from so long after it, and a
parcel may be made so long in the future: within it no node drops early what another has accepted.
A node whose clock is wrong by more refuses what is good, or keeps what is over for longer; it never
delivers twice, for what it has forgotten it does not accept, whatever its clock says."""

SEALING_KEY_BYTES = 1568


class ParcelKind(enum.StrEnum):
    """What a parcel carries."""

    MESSAGE = "message"
    REPORT = "report"
    """What became of a message. There are no reports on reports (RFC 9171 section 5.1)."""


class ParcelOutcome(enum.StrEnum):
    """How a message ended, as a report says it."""

    DELIVERED = "delivered"
    """It is kept, durably, for the programs of its destination."""
    EXPIRED = "expired"
    """Whoever had it when its time was over has dropped it."""
    UNREADABLE = "unreadable"
    """Its destination cannot open it: it was sealed for a key that is not there any more."""


class ParcelHeader(msgspec.Struct, frozen=True, array_like=True):
    """Who sends what to which service of whom, from when until when. `content` is a digest; times
    are of the source's clock, milliseconds since 1970."""

    kind: ParcelKind
    source: NodeId
    destination: NodeId
    service: Annotated[int, Meta(ge=0, le=0xFFFF)]
    created_ms: TimeMs
    expires_ms: TimeMs
    hops_max: Annotated[int, Meta(ge=1, le=HOPS_MAX)]
    content: Hash


class Parcel(msgspec.Struct, frozen=True, array_like=True):
    """A parcel as it travels and as it is kept."""

    header: ParcelHeader
    content: Annotated[bytes, Meta(max_length=CONTENT_BYTES_MAX)]
    signature: QuantumSignature


class Report(msgspec.Struct, frozen=True, array_like=True):
    """The content of a report: what became of the message `parcel`, and when by its source's
    clock. Its parcel's source says so, and must be the message's destination for `delivered` and
    `unreadable`."""

    parcel: Hash
    outcome: ParcelOutcome
    at_ms: TimeMs


class ParcelOffer(msgspec.Struct, frozen=True, array_like=True):
    """`parcel.take`: the caller hands a parcel over, which has made `hops` hops before this one."""

    parcel: Parcel
    hops: Annotated[int, Meta(ge=0, le=HOPS_MAX)]


class ParcelTaken(msgspec.Struct, frozen=True, array_like=True):
    """The parcel is durable here, and the caller may forget it."""

    parcel: Hash


class SealingKey(msgspec.Struct, frozen=True, array_like=True):
    """The key that messages for a node are sealed with (ML-KEM-1024). Of two, the later counts."""

    node: NodeId
    public: Annotated[bytes, Meta(min_length=SEALING_KEY_BYTES, max_length=SEALING_KEY_BYTES)]
    made_ms: TimeMs


class SignedSealingKey(msgspec.Struct, frozen=True, array_like=True):
    """`parcel.greet`: a sealing key under its node's signature (domain `parcel-key`); the answer is
    the other node's."""

    key: SealingKey
    signature: QuantumSignature


class SealingKeyRequest(msgspec.Struct, frozen=True, array_like=True):
    """`parcel.key`: the sealing key of a node, as the one who is asked last heard it."""

    node: NodeId


class ParcelForged(HyperMeshError):
    """The signature does not hold, or the content is not what it signs."""

    code = "HM-PARCEL-0001"
    status = 403
    exit_code = 9
    title = "The parcel is not what its source signed"


class ParcelExpired(HyperMeshError):
    """Its time is over."""

    code = "HM-PARCEL-0002"
    status = 410
    exit_code = 7
    title = "The parcel has expired"
    remedy = "Send it again with a longer lifetime"


class ParcelMisdated(InvalidInput):
    """Its times cannot be: it was made in the future, or lives for too long."""

    code = "HM-PARCEL-0003"
    title = "The times of the parcel cannot be right"
    remedy = "Compare the clocks of both nodes: `hm doctor` looks at this one's"


class ParcelSourceUnknown(Forbidden):
    """The ledger, as this node has it, knows no such node, or knows that it is revoked."""

    code = "HM-PARCEL-0004"
    title = "The source of the parcel is not a node in good standing"


class CustodyDeclined(Forbidden):
    """The node does not keep parcels for these nodes."""

    code = "HM-PARCEL-0005"
    title = "This node does not carry that parcel"
    remedy = "Its owner may let it carry for the whole network: `hm up --carry network`"


class ParcelSeen(Conflict):
    """The parcel was here before, from another node."""

    code = "HM-PARCEL-0006"
    title = "The parcel was here already"


class ParcelsFull(Overloaded):
    """There is no room for more, of this node or in all. What was accepted stays."""

    code = "HM-PARCEL-0007"
    status = 507
    exit_code = 8
    title = "There is no room for another parcel"
    remedy = "Remove received ones with `hm parcel rm`, or try again later"


class HopsSpent(Conflict):
    """The parcel has gone through as many nodes as it may."""

    code = "HM-PARCEL-0008"
    title = "The parcel has made all of its hops"


class SealingKeyUnknown(NotFound):
    """Nobody who can be asked knows how to seal a message for that node."""

    code = "HM-PARCEL-0009"
    title = "The sealing key of that node is not known"
    remedy = (
        "A node tells its key to the sequencer, and to its owner's other nodes, when it starts: "
        "send again when one of them can be reached"
    )


class UnknownParcel(NotFound):
    """No parcel has this id, or it was removed."""

    code = "HM-PARCEL-0010"
    title = "There is no such parcel"
    remedy = "`hm parcel ls` shows those of this node"


class ParcelUnreadable(HyperMeshError):
    """The message was sealed for another key."""

    code = "HM-PARCEL-0011"
    status = 422
    exit_code = 9
    title = "The message in the parcel cannot be opened"


class ParcelUnderWay(Conflict):
    """The parcel is still to be passed on."""

    code = "HM-PARCEL-0012"
    title = "The parcel is under way"
    remedy = "It goes by itself when it is delivered or has expired"
