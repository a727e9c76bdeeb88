"""What leaves evidence: submissions to the transparency logs, and what a log answers.

The authority and the name server know the logs by the two protocols here and nothing else, so
either runs over any store of the logs. A log that answers has sequenced the submission and holds it
durably (zero merge delay); where it cannot, it raises `LogUnavailable`, and whatever the submission
stands for must not be shown to anyone.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from hypermesh.wire.errors import HyperMeshError


class LogUnavailable(HyperMeshError):
    """The transparency log cannot take entries; nothing was recorded."""

    code = "HM-TRUST-0060"
    status = 503
    exit_code = 3
    title = "The transparency log cannot take entries"
    remedy = "Check the free space and the log's own error, then try again"


@dataclass(frozen=True, slots=True)
class FinalCertificate:
    """A certificate (DER) with its issuers, the nearest first and the root last: an `x509_entry`
    (RFC 6962 section 3.1)."""

    certificate: bytes
    chain: tuple[bytes, ...]


@dataclass(frozen=True, slots=True)
class Precertificate:
    """A certificate with the poison extension, before its final form: a `precert_entry`
    (RFC 6962 section 3.1).

    `certificate` is DER; `tbs` is its TBSCertificate without the poison, DER; `issuer_key_hash` the
    SHA-256 of the SubjectPublicKeyInfo of who issues the final certificate, 32 bytes.
    """

    certificate: bytes
    tbs: bytes
    issuer_key_hash: bytes
    chain: tuple[bytes, ...]


Submission = FinalCertificate | Precertificate


@dataclass(frozen=True, slots=True)
class Recorded:
    """Where a submission stands in the log of certificates.

    `sct` is the SignedCertificateTimestamp (RFC 6962 section 3.2), TLS-encoded, whose extensions
    carry `index`; `timestamp_ms` is the time in it.
    """

    index: int
    timestamp_ms: int
    sct: bytes


class CertificateLog(Protocol):
    """Takes certificates. Answers in the order of `submissions`; the same one again has the same
    answer. May be called from several threads, which share a commit."""

    def record(self, submissions: Sequence[Submission]) -> Sequence[Recorded]:
        """Sequence and store all of `submissions`, or raise `LogUnavailable` and store none."""


@dataclass(frozen=True, slots=True)
class Act:
    """Something the authority or the name server did that others must be able to see.

    `kind` is a dotted name ("ca.revoke", "dns.update"), `document` its canonical encoding
    (`wire.codec`), at most 65,000 bytes.
    """

    kind: str
    document: bytes


class ActLog(Protocol):
    """Takes acts, in order; may be called from several threads, which share a commit."""

    def record(self, acts: Sequence[Act]) -> Sequence[int]:
        """Sequence and store all of `acts`, or raise `LogUnavailable` and store none. Answers
        each act's index in the log of acts."""
