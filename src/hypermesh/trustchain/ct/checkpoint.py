"""Checkpoints (C2SP tlog-checkpoint): origin, size and root of a tree as a signed note.

    type       signs                               made by
    05         TreeHeadSignature (static-ct-api)   the log of certificates, P-256
    01         the text, Ed25519                   either log
    ff | name  the text, FALCON-1024               either log; the name is `FALCON_TYPE`
    04         "cosignature/v1", time, the text    witnesses, Ed25519 (tlog-cosignature)
    ff | name  as 04, FALCON-1024                  nodes of a mesh; `FALCON_COSIGNATURE_TYPE`

A log's own types are all demanded of its checkpoints (`LogIdentity`), so that none can be left out.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.ed25519 import (
    Ed25519PrivateKey,
    Ed25519PublicKey,
)
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from hypermesh.crypto import falcon
from hypermesh.crypto.falcon import FalconKey
from hypermesh.trustchain.ct.errors import EntryInvalid, ProofInvalid
from hypermesh.trustchain.ct.note import (
    Line,
    Note,
    Verifier,
    key_id,
    read_note,
    require_name,
    verified,
)
from hypermesh.trustchain.ct.sct import DETERMINISTIC, ECDSA, SHA256_ECDSA, log_id, signed_by
from hypermesh.trustchain.ct.tree import HASH_BYTES, SIZE_MAX

ED25519_TYPE = b"\x01"
COSIGNATURE_TYPE = b"\x04"
RFC6962_TYPE = b"\x05"
FALCON_TYPE = b"\xffhypermesh.online/falcon-1024-padded"
"""A type without an assigned byte: ff and a name unlikely to collide (C2SP signed-note)."""
FALCON_COSIGNATURE_TYPE = b"\xffhypermesh.online/cosignature-falcon-1024-padded"
ED25519_BYTES = 64
_TIME_BYTES = 8
_TIME_MAX = (1 << 63) - 1
_DECIMAL = re.compile(r"0|[1-9][0-9]{0,12}")
_TREE_HASH = b"\x00\x01"
"""Version 1 and signature type `tree_hash` (RFC 6962 section 3.5)."""


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """The head of a tree: what a checkpoint's text states."""

    origin: str
    size: int
    root: bytes

    @property
    def text(self) -> str:
        return f"{self.origin}\n{self.size}\n{base64.b64encode(self.root).decode()}\n"


def read_checkpoint(text: str) -> Checkpoint:
    """The head that a note's `text` states; raises `EntryInvalid`, for extension lines too."""
    rows = text.split("\n")
    if len(rows) != 4 or rows[3]:
        raise EntryInvalid("A checkpoint has three lines: origin, size, root")
    origin, size, root = rows[:3]
    if not origin or not _DECIMAL.fullmatch(size):
        raise EntryInvalid("The checkpoint's origin or size is malformed")
    try:
        decoded = base64.b64decode(root, validate=True)
    except (binascii.Error, ValueError):
        decoded = b""
    found = Checkpoint(origin, int(size), decoded)
    if len(decoded) != HASH_BYTES or found.size > SIZE_MAX or found.text != text:
        raise EntryInvalid("The checkpoint's root or size is malformed")
    return found


def tree_head(timestamp_ms: int, checkpoint: Checkpoint) -> bytes:
    """What a TreeHeadSignature signs (RFC 6962 section 3.5)."""
    return (
        _TREE_HASH
        + timestamp_ms.to_bytes(8, "big")
        + checkpoint.size.to_bytes(8, "big")
        + checkpoint.root
    )


@dataclass(frozen=True)
class Ed25519Verifier:
    """Lines of type 01: Ed25519 over the text. `public` has 32 bytes."""

    name: str
    public: bytes

    @cached_property
    def key_id(self) -> bytes:
        return key_id(self.name, ED25519_TYPE, self.public)

    def holds(self, text: bytes, signature: bytes) -> bool:
        return _ed25519_holds(self.public, signature, text)


@dataclass(frozen=True)
class FalconVerifier:
    """Lines of our own type for FALCON-1024 over the text. `public` has 1793 bytes."""

    name: str
    public: bytes

    @cached_property
    def key_id(self) -> bytes:
        return key_id(self.name, FALCON_TYPE, self.public)

    def holds(self, text: bytes, signature: bytes) -> bool:
        return falcon.holds(self.public, text, signature)


@dataclass(frozen=True)
class TreeHeadVerifier:
    """Lines of type 05: RFC 6962 tree head signatures in checkpoints. The signature does not cover
    the origin, so the name has to be the origin's (`LogIdentity` demands it)."""

    name: str
    public: ec.EllipticCurvePublicKey

    @cached_property
    def key_id(self) -> bytes:
        return key_id(self.name, RFC6962_TYPE, log_id(self.public))

    def holds(self, text: bytes, signature: bytes) -> bool:
        try:
            timestamp_ms, der = read_tree_head_signature(signature)
            self.public.verify(der, tree_head(timestamp_ms, read_checkpoint(text.decode())), ECDSA)
        except (EntryInvalid, InvalidSignature):
            return False
        return True


@dataclass(frozen=True)
class CosignatureVerifier:
    """Lines of type 04: what a witness saw, and when. `public` has 32 bytes."""

    name: str
    public: bytes

    @cached_property
    def key_id(self) -> bytes:
        return key_id(self.name, COSIGNATURE_TYPE, self.public)

    def holds(self, text: bytes, signature: bytes) -> bool:
        time_s = int.from_bytes(signature[:_TIME_BYTES], "big")
        if time_s > _TIME_MAX:
            return False
        return _ed25519_holds(self.public, signature[_TIME_BYTES:], _cosigned(time_s, text))

    @property
    def vkey(self) -> str:
        """Name, key id and key as one text (C2SP signed-note, verifier keys)."""
        encoded = base64.b64encode(COSIGNATURE_TYPE + self.public).decode()
        return f"{self.name}+{self.key_id.hex()}+{encoded}"


@dataclass(frozen=True)
class FalconCosignatureVerifier:
    """Lines of our own type for a witness's FALCON-1024 key: as those of type 04. `public` has 1793
    bytes."""

    name: str
    public: bytes

    @cached_property
    def key_id(self) -> bytes:
        return key_id(self.name, FALCON_COSIGNATURE_TYPE, self.public)

    def holds(self, text: bytes, signature: bytes) -> bool:
        time_s = int.from_bytes(signature[:_TIME_BYTES], "big")
        if time_s > _TIME_MAX:
            return False
        return falcon.holds(self.public, _cosigned(time_s, text), signature[_TIME_BYTES:])


def read_witness_key(vkey: str) -> CosignatureVerifier:
    """The witness whose verifier key `vkey` is; raises `EntryInvalid`."""
    name, _, rest = vkey.partition("+")
    key_id_, _, encoded = rest.partition("+")
    try:
        data = base64.b64decode(encoded, validate=True)
    except (binascii.Error, ValueError):
        data = b""
    if data[:1] != COSIGNATURE_TYPE or len(data) != 33:
        raise EntryInvalid(f"{vkey[:80]!r} is no verifier key of a witness (type 04)")
    found = CosignatureVerifier(require_name(name), data[1:])
    if found.vkey != vkey:
        raise EntryInvalid(f"The key id in {vkey[:80]!r} is that of another key", why=key_id_[:16])
    return found


def cosigned_at(line: Line) -> int:
    """When a witness cosigned, in seconds since the epoch, by its verified line."""
    return int.from_bytes(line.signature[:_TIME_BYTES], "big")


def cosign(key: Ed25519PrivateKey, name: str, text: str, time_s: int) -> Line:
    """A witness's line under a checkpoint's `text`."""
    verifier = CosignatureVerifier(name, key.public_key().public_bytes_raw())
    signature = key.sign(_cosigned(time_s, text.encode()))
    return Line(name, verifier.key_id, time_s.to_bytes(_TIME_BYTES, "big") + signature)


def cosign_falcon(key: FalconKey, name: str, text: str, time_s: int) -> Line:
    """A witness's line under a checkpoint's `text`, by its FALCON-1024 key."""
    verifier = FalconCosignatureVerifier(name, key.public)
    signature = key.sign(_cosigned(time_s, text.encode()))
    return Line(name, verifier.key_id, time_s.to_bytes(_TIME_BYTES, "big") + signature)


def read_tree_head_signature(signature: bytes) -> tuple[int, bytes]:
    """(timestamp in milliseconds, DER signature) of a line of type 05; raises `EntryInvalid`."""
    der = signature[12:]
    if signature[8:10] != SHA256_ECDSA or len(der) != int.from_bytes(signature[10:12], "big"):
        raise EntryInvalid("This is no RFC 6962 tree head signature")
    return int.from_bytes(signature[:8], "big"), der


@dataclass(frozen=True)
class LogIdentity:
    """How a log is known: its origin, and the public keys that sign its checkpoints. `p256` is
    there in a log of certificates only. A log of others may have `p256` alone; its `ed25519` and
    `falcon` are then empty."""

    origin: str
    ed25519: bytes
    falcon: bytes
    p256: ec.EllipticCurvePublicKey | None = None

    def __post_init__(self) -> None:
        require_name(self.origin)
        if not (self.ed25519 or self.falcon or self.p256):
            raise EntryInvalid(f"No key of the log {self.origin[:80]} is known")

    @cached_property
    def verifiers(self) -> tuple[Verifier, ...]:
        """The keys of which every checkpoint bears a line."""
        known: list[Verifier] = []
        if self.p256 is not None:
            known.append(TreeHeadVerifier(self.origin, self.p256))
        if self.ed25519:
            known.append(Ed25519Verifier(self.origin, self.ed25519))
        if self.falcon:
            known.append(FalconVerifier(self.origin, self.falcon))
        return tuple(known)

    @cached_property
    def log_id(self) -> bytes:
        """The RFC 6962 id of a log of certificates."""
        if self.p256 is None:
            raise EntryInvalid(f"{self.origin} is no log of certificates")
        return log_id(self.p256)

    @property
    def fingerprint(self) -> bytes:
        """SHA-256 over the origin and every public key, 32 bytes."""
        p256 = b""
        if self.p256 is not None:
            p256 = self.p256.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
        parts = (self.origin.encode(), self.ed25519, self.falcon, p256)
        sized = b"".join(len(part).to_bytes(4, "big") + part for part in parts)
        return hashlib.sha256(sized).digest()

    def opened(
        self, data: bytes, witnesses: Sequence[Verifier] = (), quorum: int = 0
    ) -> Checkpoint:
        """The checkpoint in the note `data`: by this log, under all of its keys, and cosigned by at
        least `quorum` of `witnesses`. Raises `ProofInvalid`, `EntryInvalid`."""
        note = verified(read_note(data), self.verifiers)
        checkpoint = read_checkpoint(note.text)
        if checkpoint.origin != self.origin:
            raise ProofInvalid("The checkpoint is of another log", why=checkpoint.origin[:80])
        cosigned = sum(note.signed_by(witness) is not None for witness in witnesses)
        if cosigned < quorum:
            raise ProofInvalid(
                f"{cosigned} known witnesses cosigned this checkpoint", why=f"{quorum} are wanted"
            )
        return checkpoint


@dataclass(frozen=True)
class LogSigner:
    """The secret side of a log."""

    identity: LogIdentity
    ed25519: Ed25519PrivateKey
    falcon: FalconKey
    p256: ec.EllipticCurvePrivateKey | None = None

    def sign(self, checkpoint: Checkpoint, timestamp_ms: int) -> Note:
        """The checkpoint as a note under all keys; `timestamp_ms` goes into the tree head."""
        text = checkpoint.text.encode()
        signatures = [self.ed25519.sign(text), self.falcon.sign(text)]
        if self.p256 is not None:
            der = self.p256.sign(tree_head(timestamp_ms, checkpoint), DETERMINISTIC)
            signatures.insert(0, timestamp_ms.to_bytes(8, "big") + signed_by(der))
        pairs = zip(self.identity.verifiers, signatures, strict=True)
        lines = (Line(each.name, each.key_id, signature) for each, signature in pairs)
        return Note(checkpoint.text, tuple(lines))


def _cosigned(time_s: int, text: bytes) -> bytes:
    return b"cosignature/v1\ntime %d\n" % time_s + text


def _ed25519_holds(public: bytes, signature: bytes, message: bytes) -> bool:
    if len(signature) != ED25519_BYTES:
        return False
    try:
        Ed25519PublicKey.from_public_bytes(public).verify(signature, message)
    except (InvalidSignature, ValueError):
        return False
    return True
