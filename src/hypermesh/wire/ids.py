"""Identifiers. All are digests, so they are fixed-length byte strings; text is lower-case hex."""

from __future__ import annotations

from typing import Annotated, TypeAlias

from msgspec import Meta

from hypermesh.wire.errors import InvalidInput

Hash: TypeAlias = Annotated[bytes, Meta(min_length=32, max_length=32)]
"""32 bytes of BLAKE3."""

NodeId: TypeAlias = Hash
"""Digest of a node's two public keys."""

OwnerId: TypeAlias = Hash
"""Digest of an owner's two public keys; also the account that is paid."""

SessionId: TypeAlias = Hash
"""Digest of the two public keys of a session, the bearer of a lease's capability."""

GenesisId: TypeAlias = Hash
TxId: TypeAlias = Hash
LeaseId: TypeAlias = Hash
BundleId: TypeAlias = Hash

AssetId: TypeAlias = Annotated[bytes, Meta(min_length=16, max_length=16)]
"""A UUIDv8 (RFC 9562 section 5.8) filled from a digest."""

JobId: TypeAlias = Annotated[bytes, Meta(min_length=16, max_length=16)]
"""Random, made by the node that a job is submitted to."""

ZERO_HASH: Hash = bytes(32)


def asset_id_from(digest: Hash) -> AssetId:
    """The UUIDv8 whose 122 free bits are the first bits of `digest`."""
    if len(digest) < 16:
        raise InvalidInput(f"A digest of {len(digest)} bytes cannot fill an asset id")
    raw = bytearray(digest[:16])
    raw[6] = (raw[6] & 0x0F) | 0x80
    raw[8] = (raw[8] & 0x3F) | 0x80
    return bytes(raw)


def parse_hex(text: str, length: int, what: str) -> bytes:
    """`length` bytes from `2 * length` lower-case hex digits; raises `InvalidInput`."""
    if len(text) != 2 * length or not set(text) <= set("0123456789abcdef"):
        raise InvalidInput(
            f"{text[:80]!r} is not a {what}", why=f"expected {2 * length} lower-case hex digits"
        )
    return bytes.fromhex(text)


def hex_bytes(text: str, what: str) -> bytes:
    """The bytes in hex digits of any number; raises `InvalidInput`."""
    try:
        return bytes.fromhex(text)
    except ValueError as error:
        raise InvalidInput(f"The {what} is not hex", why=str(error)) from error
