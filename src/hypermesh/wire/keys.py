"""Public keys and signatures as they travel. An algorithm id stands on every key and signature.

FIPS 206 is not final; when it is, a new algorithm id joins and old bytes keep their meaning.
"""

from __future__ import annotations

from typing import Annotated, TypeAlias

import msgspec
from msgspec import Meta

HYBRID_V1 = 1
"""FALCON-1024 (round 3, padded signatures, original hash-id) together with Ed25519 (RFC 8032)."""

FalconPublicKey: TypeAlias = Annotated[bytes, Meta(min_length=1793, max_length=1793)]
FalconSignature: TypeAlias = Annotated[bytes, Meta(min_length=1280, max_length=1280)]
Ed25519PublicKey: TypeAlias = Annotated[bytes, Meta(min_length=32, max_length=32)]
Ed25519Signature: TypeAlias = Annotated[bytes, Meta(min_length=64, max_length=64)]


class PublicKeys(msgspec.Struct, frozen=True, array_like=True):
    """Both public keys of a node, an owner or a session. Its digest is their identifier."""

    algorithm: Annotated[int, Meta(ge=HYBRID_V1, le=HYBRID_V1)]
    falcon: FalconPublicKey
    ed25519: Ed25519PublicKey


class QuantumSignature(msgspec.Struct, frozen=True, array_like=True):
    """Two signatures over one message; both must verify."""

    algorithm: Annotated[int, Meta(ge=HYBRID_V1, le=HYBRID_V1)]
    falcon: FalconSignature
    ed25519: Ed25519Signature
