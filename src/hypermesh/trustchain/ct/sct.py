"""Signed certificate timestamps: RFC 6962 section 3.2, ECDSA over P-256 with SHA-256.

SCT = version 00 | log id 32 | timestamp u64 | extensions <u16> | 04 03 | signature <u16>
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from hypermesh.trustchain.ct.entry import LEAF_HEAD, index_in, prepared, timestamped
from hypermesh.trustchain.ct.errors import EntryInvalid, ProofInvalid
from hypermesh.trustchain.evidence import Submission

SHA256_ECDSA = b"\x04\x03"
"""HashAlgorithm and SignatureAlgorithm of RFC 5246 section 7.4.1.4.1."""
DETERMINISTIC = ec.ECDSA(hashes.SHA256(), deterministic_signing=True)
"""RFC 6979: signing the same again gives the same signature, so none has to be stored."""
ECDSA = ec.ECDSA(hashes.SHA256())
_LOG_ID_BYTES = 32
_HEAD_BYTES = 1 + _LOG_ID_BYTES + 8


@dataclass(frozen=True, slots=True)
class Sct:
    """A SignedCertificateTimestamp; `extensions` as in the entry, `signature` DER."""

    log_id: bytes
    timestamp_ms: int
    extensions: bytes
    signature: bytes

    @property
    def index(self) -> int:
        """The index of the entry; raises `EntryInvalid` where the extensions are others."""
        return index_in(self.extensions)

    def encoded(self) -> bytes:
        """The TLS encoding."""
        return b"".join(
            (
                b"\x00",
                self.log_id,
                self.timestamp_ms.to_bytes(8, "big"),
                len(self.extensions).to_bytes(2, "big"),
                self.extensions,
                signed_by(self.signature),
            )
        )


def log_id(key: ec.EllipticCurvePublicKey) -> bytes:
    """SHA-256 of the SubjectPublicKeyInfo, 32 bytes (RFC 6962 section 3.2)."""
    der = key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    return hashlib.sha256(der).digest()


def signed_by(signature: bytes) -> bytes:
    """`signature` as a `digitally-signed` element (RFC 5246 section 4.7)."""
    return SHA256_ECDSA + len(signature).to_bytes(2, "big") + signature


def read_sct(data: bytes) -> Sct:
    """The SCT in its TLS encoding; raises `EntryInvalid`."""
    if len(data) < _HEAD_BYTES + 2 or data[0] != 0:
        raise EntryInvalid("This is no SCT of version 1")
    log, timestamp = data[1:33], int.from_bytes(data[33:41], "big")
    count = int.from_bytes(data[41:43], "big")
    signature_at = 43 + count
    extensions, rest = data[43:signature_at], data[signature_at:]
    if len(extensions) != count or rest[:2] != SHA256_ECDSA:
        raise EntryInvalid("The SCT is cut off, or its signature of an unknown kind")
    signature = rest[4:]
    if len(rest) < 4 or len(signature) != int.from_bytes(rest[2:4], "big"):
        raise EntryInvalid("The SCT's signature has another length than it says")
    return Sct(log, timestamp, extensions, signature)


def verify_sct(sct: Sct, submission: Submission, key: ec.EllipticCurvePublicKey) -> bytes:
    """The leaf (MerkleTreeLeaf) that `sct` promises for `submission` under the log's `key`.

    Raises `ProofInvalid` where it does not hold, `EntryInvalid` where it is malformed.
    """
    if sct.log_id != log_id(key):
        raise ProofInvalid("The SCT is of another log")
    signed = prepared(submission).signed
    leaf = LEAF_HEAD + timestamped(sct.timestamp_ms, signed, sct.index)
    try:
        key.verify(sct.signature, leaf, ECDSA)
    except InvalidSignature:
        raise ProofInvalid("The SCT's signature does not hold for this certificate") from None
    return leaf
