"""Logs that keep the promises of the two protocols: they sequence, sign, and answer the same
submission alike; with a file, they are durable. SCTs are those of RFC 6962 section 3.2 under a
P-256 key."""

from __future__ import annotations

import hashlib
import json
import threading
from collections.abc import Sequence
from pathlib import Path

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from hypermesh.crypto import files
from hypermesh.trustchain.evidence import (
    Act,
    FinalCertificate,
    LogUnavailable,
    Recorded,
    Submission,
)

_X509_ENTRY, _PRECERT_ENTRY = 0, 1


class MemoryLog:
    """A `CertificateLog`. `before` runs ahead of each call, so a test can make it fail."""

    def __init__(self, timestamp_ms: int, file: Path | None = None) -> None:
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._file = file
        public = self._key.public_key()
        info = public.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
        self.id = hashlib.sha256(info).digest()
        self._timestamp_ms = timestamp_ms
        self._lock = threading.Lock()
        self._recorded: dict[bytes, Recorded] = {}
        self.submissions: list[Submission] = []
        self.calls: list[int] = []
        self.is_down = False
        if file is not None and file.exists():
            self.reload()

    @property
    def entries(self) -> list[bytes]:
        """What was signed, in its order."""
        return list(self._recorded)

    def reload(self) -> None:
        """Read what another process wrote to the file."""
        if self._file is None or not self._file.exists():
            return
        self._recorded = {
            bytes.fromhex(entry): Recorded(index, timestamp_ms, bytes.fromhex(sct))
            for entry, index, timestamp_ms, sct in json.loads(self._file.read_text())
        }

    def record(self, submissions: Sequence[Submission]) -> Sequence[Recorded]:
        if self.is_down:
            raise LogUnavailable
        with self._lock:
            self.calls.append(len(submissions))
            answers = [self._one(each) for each in submissions]
            if self._file is not None:
                listed = [
                    (entry.hex(), each.index, each.timestamp_ms, each.sct.hex())
                    for entry, each in self._recorded.items()
                ]
                files.replace(self._file, json.dumps(listed).encode())
            return answers

    def _one(self, submission: Submission) -> Recorded:
        entry = signed_entry(submission)
        if entry not in self._recorded:
            index = len(self._recorded)
            self.submissions.append(submission)
            # static-ct-api: extension type 0, 5 bytes of index.
            extensions = b"\x00\x00\x05" + index.to_bytes(5, "big")
            message = _message(self._timestamp_ms, entry, extensions)
            signature = self._key.sign(message, ec.ECDSA(hashes.SHA256()))
            sct = (
                b"\x00"
                + self.id
                + self._timestamp_ms.to_bytes(8, "big")
                + len(extensions).to_bytes(2, "big")
                + extensions
                + b"\x04\x03"
                + len(signature).to_bytes(2, "big")
                + signature
            )
            self._recorded[entry] = Recorded(index, self._timestamp_ms, sct)
        return self._recorded[entry]

    def holds(self, sct: bytes, entry: bytes) -> bool:
        """Whether `sct` is this log's for `entry`."""
        timestamp_ms = int.from_bytes(sct[33:41], "big")
        length = int.from_bytes(sct[41:43], "big")
        extensions, rest = sct[43 : 43 + length], sct[43 + length :]
        try:
            self._key.public_key().verify(
                rest[4:], _message(timestamp_ms, entry, extensions), ec.ECDSA(hashes.SHA256())
            )
        except InvalidSignature:
            return False
        return sct[:33] == b"\x00" + self.id


class MemoryActs:
    """An `ActLog`."""

    def __init__(self) -> None:
        self.acts: list[Act] = []
        self.is_down = False

    def record(self, acts: Sequence[Act]) -> Sequence[int]:
        if self.is_down:
            raise LogUnavailable
        first = len(self.acts)
        self.acts += acts
        return range(first, len(self.acts))


def signed_entry(submission: Submission) -> bytes:
    """The entry type and the signed_entry of a TimestampedEntry."""
    if isinstance(submission, FinalCertificate):
        return _X509_ENTRY.to_bytes(2, "big") + _opaque24(submission.certificate)
    return (
        _PRECERT_ENTRY.to_bytes(2, "big") + submission.issuer_key_hash + _opaque24(submission.tbs)
    )


def _message(timestamp_ms: int, entry: bytes, extensions: bytes) -> bytes:
    head = b"\x00\x00" + timestamp_ms.to_bytes(8, "big")
    return head + entry + len(extensions).to_bytes(2, "big") + extensions


def _opaque24(data: bytes) -> bytes:
    return len(data).to_bytes(3, "big") + data
