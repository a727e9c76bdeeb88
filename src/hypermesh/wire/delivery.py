"""Delivery of a file from one node to another, as both of them sign it."""

from __future__ import annotations

from typing import Annotated, TypeAlias

import msgspec
from msgspec import Meta

from hypermesh.wire.ids import GenesisId, Hash, NodeId
from hypermesh.wire.keys import PublicKeys, QuantumSignature

NAME_BYTES_MAX = 255
"""Of a file's name in UTF-8, as file systems have it."""

TransferId: TypeAlias = Annotated[bytes, Meta(min_length=16, max_length=16)]
"""Random, made by the node that sends."""


class Delivery(msgspec.Struct, frozen=True, array_like=True):
    """What both ends sign (domain `delivery`, the network's genesis id): that `receiver` has got
    these bytes, durably, from `sender`. `root` is plain BLAKE3 of the file; `size` in bytes;
    `time_ms` by the receiver's clock."""

    genesis: GenesisId
    transfer: TransferId
    sender: NodeId
    receiver: NodeId
    name: Annotated[str, Meta(min_length=1, max_length=NAME_BYTES_MAX)]
    size: Annotated[int, Meta(ge=0, le=2**53)]
    root: Hash
    time_ms: Annotated[int, Meta(ge=0, le=2**53)]


class DeliveryProof(msgspec.Struct, frozen=True, array_like=True):
    """A delivery under both signatures, with the keys that verify them: the ids in the delivery
    are the digests of these."""

    delivery: Delivery
    sender: PublicKeys
    receiver: PublicKeys
    sender_signature: QuantumSignature
    receiver_signature: QuantumSignature
