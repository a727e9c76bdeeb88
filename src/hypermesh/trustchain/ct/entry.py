"""Entries and leaves of a log: RFC 6962 section 3.4, and the tiles of C2SP static-ct-api.

    TimestampedEntry = timestamp u64 | type u16 | signed entry | extensions
    leaf (MerkleTreeLeaf) = version 00 | leaf type 00 | TimestampedEntry
    TileLeaf = TimestampedEntry | for precert_entry: certificate | fingerprints of the chain

What an SCT signs (RFC 6962 section 3.2) begins with version 00 and signature type 00, so it is the
very bytes of the leaf.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Annotated

import msgspec
from msgspec import Meta

from hypermesh.trustchain.ct.errors import EntryInvalid
from hypermesh.trustchain.ct.tree import SIZE_MAX
from hypermesh.trustchain.evidence import Act, FinalCertificate, Submission
from hypermesh.wire.codec import Undecodable, decode, encode

X509_ENTRY = 0
PRECERT_ENTRY = 1
CERTIFICATE_BYTES_MAX = 1 << 17
"""Of a submitted certificate: the wire form takes 2^24 - 1."""
CHAIN_MAX = 16
ACT_BYTES_MAX = 0xFFFF
"""Of an act's leaf: what an entry bundle's length field holds (C2SP tlog-tiles)."""
KIND_CHARACTERS_MAX = 64
TIMESTAMP_MS_MAX = 1 << 53
LEAF_HEAD = b"\x00\x00"
HASH_BYTES = 32
_EXTENSION_HEAD = b"\x00\x08\x00\x00\x05"
"""Length of all, type `leaf_index`, length of the index."""
EXTENSIONS_BYTES = 2 + 8
_SIGNED_AT = len(LEAF_HEAD) + 8


@dataclass(frozen=True, slots=True)
class Prepared:
    """A submission as far as it is known before it is sequenced.

    `identity` is the SHA-256 of what makes it the same submission, `signed` its entry type and
    signed entry, `tail` what follows the TimestampedEntry in a TileLeaf, `issuers` the chain by
    fingerprint.
    """

    identity: bytes
    signed: bytes
    tail: bytes
    issuers: tuple[tuple[bytes, bytes], ...]


def prepared(submission: Submission) -> Prepared:
    """Raises `EntryInvalid` where a part is empty or too large."""
    certificate = _sized(submission.certificate)
    if len(submission.chain) > CHAIN_MAX:
        raise EntryInvalid(f"A chain of {len(submission.chain)} certificates is too long")
    issuers = tuple((hashlib.sha256(_bounded(each)).digest(), each) for each in submission.chain)
    fingerprints = b"".join(fingerprint for fingerprint, _ in issuers)
    chain = len(fingerprints).to_bytes(2, "big") + fingerprints
    if isinstance(submission, FinalCertificate):
        signed = b"\x00\x00" + certificate
        tail = chain
    else:
        if len(submission.issuer_key_hash) != HASH_BYTES:
            raise EntryInvalid("The hash of an issuer's key has 32 bytes")
        signed = b"\x00\x01" + submission.issuer_key_hash + _sized(submission.tbs)
        tail = certificate + chain
    return Prepared(hashlib.sha256(signed).digest(), signed, tail, issuers)


def timestamped(timestamp_ms: int, signed: bytes, index: int) -> bytes:
    """The TimestampedEntry of number `index`, with the one extension `leaf_index`."""
    return timestamp_ms.to_bytes(8, "big") + signed + _EXTENSION_HEAD + index.to_bytes(5, "big")


def extensions(index: int) -> bytes:
    """The extensions of an entry or SCT, without their length."""
    return (_EXTENSION_HEAD + index.to_bytes(5, "big"))[2:]


def index_in(extensions: bytes) -> int:
    """The index that `extensions` state; raises `EntryInvalid` where that is not all they hold."""
    if len(extensions) != EXTENSIONS_BYTES - 2 or extensions[:3] != _EXTENSION_HEAD[2:]:
        raise EntryInvalid("The extensions are not one leaf_index")
    return int.from_bytes(extensions[3:], "big")


@dataclass(frozen=True, slots=True)
class Entry:
    """An entry as it was read from a tile.

    `signed` is the certificate, or with `issuer_key_hash` the TBSCertificate of a precertificate,
    and then `precertificate` is what was submitted; all DER. `leaf` is the MerkleTreeLeaf, `stored`
    the TileLeaf.
    """

    index: int
    timestamp_ms: int
    signed: bytes
    issuer_key_hash: bytes | None
    precertificate: bytes | None
    chain: tuple[bytes, ...]
    leaf: bytes
    stored: bytes

    @property
    def identity(self) -> bytes:
        """`Prepared.identity` of the submission."""
        return hashlib.sha256(self.leaf[_SIGNED_AT:-EXTENSIONS_BYTES]).digest()

    @property
    def submitted(self) -> bytes:
        """The certificate or precertificate that was submitted, DER."""
        return self.signed if self.precertificate is None else self.precertificate


def read_tile_leaves(data: bytes) -> Iterator[Entry]:
    """The entries of a data tile, in order; raises `EntryInvalid`."""
    at = 0
    while at < len(data):
        entry, at = _read_tile_leaf(data, at)
        yield entry


def read_leaf(leaf: bytes) -> Entry:
    """The entry of a MerkleTreeLeaf, without what only a tile has; raises `EntryInvalid`."""
    reader = _Reader(leaf, 0)
    if reader.take(2) != LEAF_HEAD:
        raise EntryInvalid("The leaf is of an unknown version or type")
    index, timestamp_ms, signed, key_hash = reader.timestamped()
    reader.end()
    return Entry(index, timestamp_ms, signed, key_hash, None, (), leaf, b"")


def _read_tile_leaf(data: bytes, begin: int) -> tuple[Entry, int]:
    reader = _Reader(data, begin)
    index, timestamp_ms, signed, key_hash = reader.timestamped()
    leaf = LEAF_HEAD + data[begin : reader.at]
    precertificate = None if key_hash is None else reader.sized(3)
    chain = reader.sized(2)
    if len(chain) % HASH_BYTES:
        raise EntryInvalid("The chain holds no whole fingerprints")
    fingerprints = tuple(chain[at : at + HASH_BYTES] for at in range(0, len(chain), HASH_BYTES))
    stored = data[begin : reader.at]
    return (
        Entry(index, timestamp_ms, signed, key_hash, precertificate, fingerprints, leaf, stored),
        reader.at,
    )


class _Reader:
    def __init__(self, data: bytes, at: int) -> None:
        self._data = data
        self.at = at

    def take(self, count: int) -> bytes:
        end = self.at + count
        if end > len(self._data):
            raise EntryInvalid("The entry is cut off")
        taken = self._data[self.at : end]
        self.at = end
        return taken

    def number(self, width: int) -> int:
        return int.from_bytes(self.take(width), "big")

    def sized(self, width: int) -> bytes:
        return self.take(self.number(width))

    def timestamped(self) -> tuple[int, int, bytes, bytes | None]:
        timestamp_ms, kind = self.number(8), self.number(2)
        if kind not in (X509_ENTRY, PRECERT_ENTRY):
            raise EntryInvalid(f"The entry is of the unknown type {kind}")
        key_hash = self.take(HASH_BYTES) if kind == PRECERT_ENTRY else None
        signed = self.sized(3)
        if not signed:
            raise EntryInvalid("The entry holds no certificate")
        return index_in(self.sized(2)), timestamp_ms, signed, key_hash

    def end(self) -> None:
        if self.at != len(self._data):
            raise EntryInvalid("Something follows the entry")


class ActLeaf(msgspec.Struct, frozen=True, array_like=True):
    """A leaf of the log of acts: an `evidence.Act` with its place and time."""

    version: Annotated[int, Meta(ge=1, le=1)]
    index: Annotated[int, Meta(ge=0, lt=SIZE_MAX)]
    timestamp_ms: Annotated[int, Meta(ge=0, lt=TIMESTAMP_MS_MAX)]
    kind: Annotated[str, Meta(min_length=1, max_length=KIND_CHARACTERS_MAX)]
    document: bytes


def act_leaf(act: Act, index: int, timestamp_ms: int) -> bytes:
    """The leaf of `act` at `index`."""
    return encode(ActLeaf(1, index, timestamp_ms, act.kind, act.document))


def require_act(act: Act) -> None:
    """Raise `EntryInvalid` unless `act` fits a leaf at any index."""
    if not 1 <= len(act.kind) <= KIND_CHARACTERS_MAX:
        raise EntryInvalid(f"The kind of an act has 1 to {KIND_CHARACTERS_MAX} characters")
    length = len(act_leaf(act, SIZE_MAX - 1, TIMESTAMP_MS_MAX - 1))
    if length > ACT_BYTES_MAX:
        raise EntryInvalid(
            f"The leaf of this act would have {length} bytes", why=f"{ACT_BYTES_MAX} fit"
        )


def read_act(leaf: bytes) -> ActLeaf:
    """The act in a leaf; raises `EntryInvalid`."""
    try:
        return decode(ActLeaf, leaf, size_max=ACT_BYTES_MAX)
    except Undecodable as error:
        raise EntryInvalid("The leaf is no act", why=error.why) from error


def read_bundle(data: bytes) -> Iterator[bytes]:
    """The leaves of an entry bundle (C2SP tlog-tiles), in order; raises `EntryInvalid`."""
    reader = _Reader(data, 0)
    while reader.at < len(data):
        yield reader.sized(2)


def _sized(certificate: bytes) -> bytes:
    return len(_bounded(certificate)).to_bytes(3, "big") + certificate


def _bounded(certificate: bytes) -> bytes:
    if not 1 <= len(certificate) <= CERTIFICATE_BYTES_MAX:
        raise EntryInvalid(
            f"A certificate of {len(certificate)} bytes cannot be logged",
            why=f"1 to {CERTIFICATE_BYTES_MAX} bytes fit",
        )
    return certificate
