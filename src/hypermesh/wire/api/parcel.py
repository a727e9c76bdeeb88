"""Parcels as the API takes and shows them."""

from __future__ import annotations

import enum
from typing import Annotated

import msgspec
from msgspec import Meta

from hypermesh.wire.api.body import Body, Hex32
from hypermesh.wire.parcel import (
    BODY_BYTES_MAX,
    LIFETIME_MS_MAX,
    LIFETIME_MS_MIN,
    ParcelKind,
)

LIFETIME_MS_DEFAULT = 7 * 24 * 60 * 60 * 1000


class Box(enum.StrEnum):
    """Which of a node's parcels."""

    SENT = "sent"
    RECEIVED = "received"
    CARRIED = "carried"
    """On their way between other nodes."""


class ParcelState(enum.StrEnum):
    """Where a parcel is in its life, as this node knows it.

    waiting -> forwarded -> delivered | expired | unreadable | unconfirmed
    """

    WAITING = "waiting"
    """Sent, and still here: nobody that can take it has been reached."""
    FORWARDED = "forwarded"
    """Another node has it."""
    DELIVERED = "delivered"
    """Its destination says that it has it."""
    EXPIRED = "expired"
    UNREADABLE = "unreadable"
    """Its destination cannot open it."""
    UNCONFIRMED = "unconfirmed"
    """Its time is over, and no report has come."""
    RECEIVED = "received"
    CARRIED = "carried"


class ParcelSend(Body, frozen=True):
    """`POST /v1/stoq/parcels`: a message to the node `to`, an id in hex or an address
    (`hm://…`, whose node and port count). `service` says which program there it is for; without it
    the address's port counts, else 0. `body` is base 64. It expires `lifetime_ms` from now."""

    to: Annotated[str, Meta(pattern="^([0-9a-f]{64}|hm://[0-9a-f.:]{1,100})$")]
    body: Annotated[bytes, Meta(max_length=BODY_BYTES_MAX)]
    service: Annotated[int, Meta(ge=0, le=0xFFFF)] | None = None
    lifetime_ms: Annotated[int, Meta(ge=LIFETIME_MS_MIN, le=LIFETIME_MS_MAX)] = LIFETIME_MS_DEFAULT


class ParcelView(msgspec.Struct, frozen=True, kw_only=True):
    """A parcel. Times of its making and expiry are of its source's clock, the others of this
    node's. `custodian` is who took a sent one first; null while it waits here. `size_bytes` is the
    length of the message where it was received, else of what travels. `ended_ms` is when it was
    delivered or expired, as the report says."""

    parcel: Hex32
    box: Box
    kind: ParcelKind
    state: ParcelState
    source: Hex32
    source_name: str
    destination: Hex32
    destination_name: str
    service: int
    size_bytes: int
    created_ms: int
    expires_ms: int
    custodian: Hex32 | None
    custodian_name: str | None
    received_ms: int | None
    ended_ms: int | None


class ParcelDetail(msgspec.Struct, frozen=True):
    """One parcel; `body` (base 64) is the message where it was received, else null."""

    parcel: ParcelView
    body: bytes | None


class ParcelPage(msgspec.Struct, frozen=True):
    """A page of parcels, newest first; `next_cursor` is null at the end."""

    items: list[ParcelView]
    next_cursor: str | None
