"""Transparency logs of a network as they travel: who a log is, and that it holds a certificate."""

from __future__ import annotations

from typing import Annotated

import msgspec
from msgspec import Meta

from hypermesh.wire.ids import Hash
from hypermesh.wire.keys import QuantumSignature

ORIGIN_CHARACTERS_MAX = 200
PATH_MAX = 64
NOTE_BYTES_MAX = 1 << 17

Origin = Annotated[str, Meta(min_length=1, max_length=ORIGIN_CHARACTERS_MAX)]
Path = Annotated[list[Hash], Meta(max_length=PATH_MAX)]


class PublicLog(msgspec.Struct, frozen=True, array_like=True):
    """A log's origin and public keys: Ed25519 (32 bytes) and FALCON-1024 (1,793) raw, P-256 as
    SubjectPublicKeyInfo in a log of certificates alone."""

    origin: Origin
    ed25519: Annotated[bytes, Meta(min_length=32, max_length=32)]
    falcon: Annotated[bytes, Meta(min_length=1793, max_length=1793)]
    p256: Annotated[bytes, Meta(min_length=1, max_length=256)] | None


class SignedLog(msgspec.Struct, frozen=True, array_like=True):
    """A log of the network, by the word of the node that genesis names as its sequencer and that
    holds the authority (domain `transparency-log`)."""

    log: PublicLog
    signature: QuantumSignature


class Logged(msgspec.Struct, frozen=True, array_like=True):
    """What travels beside a certificate: the log that holds it, its SCT (RFC 6962 section 3.2,
    TLS-encoded, with the entry's index in it), the inclusion proof (RFC 9162 section 2.1.3) and the
    checkpoint that the proof leads to, as a signed note."""

    log: SignedLog
    sct: Annotated[bytes, Meta(min_length=1, max_length=512)]
    path: Path
    checkpoint: Annotated[bytes, Meta(min_length=1, max_length=NOTE_BYTES_MAX)]
