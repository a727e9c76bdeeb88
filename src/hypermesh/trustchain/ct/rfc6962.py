"""The RFC 6962 interface (section 4) over a log of certificates: what each endpoint answers.

Answers are msgspec structs whose JSON is the RFC's: bytes become base64. Serving them is another's
part.
"""

from __future__ import annotations

import base64
import binascii
import itertools
from collections.abc import Sequence

import msgspec
from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives.serialization import Encoding

from hypermesh.trustchain.ct.checkpoint import read_checkpoint, read_tree_head_signature
from hypermesh.trustchain.ct.entry import CERTIFICATE_BYTES_MAX, CHAIN_MAX, Entry
from hypermesh.trustchain.ct.errors import EntryInvalid, NotInLog, SubmissionRefused
from hypermesh.trustchain.ct.log import CertificateView
from hypermesh.trustchain.ct.note import read_note
from hypermesh.trustchain.ct.precertificate import (
    PRECERTIFICATE_SIGNING,
    is_poisoned,
    submission_of,
)
from hypermesh.trustchain.ct.sct import read_sct
from hypermesh.trustchain.ct.tree import HASH_BYTES
from hypermesh.trustchain.evidence import CertificateLog

ENTRIES_MAX = 256
"""Entries of one answer; who wants more asks again (RFC 6962 section 4.6)."""


class AddChain(msgspec.Struct, frozen=True):
    """An answer to add-chain and add-pre-chain (sections 4.1, 4.2)."""

    sct_version: int
    id: bytes
    timestamp: int
    extensions: bytes
    signature: bytes


class Sth(msgspec.Struct, frozen=True):
    """get-sth (section 4.3)."""

    tree_size: int
    timestamp: int
    sha256_root_hash: bytes
    tree_head_signature: bytes


class SthConsistency(msgspec.Struct, frozen=True):
    """get-sth-consistency (section 4.4)."""

    consistency: list[bytes]


class ProofByHash(msgspec.Struct, frozen=True):
    """get-proof-by-hash (section 4.5)."""

    leaf_index: int
    audit_path: list[bytes]


class LoggedEntry(msgspec.Struct, frozen=True):
    """One of get-entries: a MerkleTreeLeaf, and the chain or PrecertChainEntry."""

    leaf_input: bytes
    extra_data: bytes


class Entries(msgspec.Struct, frozen=True):
    """get-entries (section 4.6)."""

    entries: list[LoggedEntry]


class Roots(msgspec.Struct, frozen=True):
    """get-roots (section 4.7)."""

    certificates: list[bytes]


class EntryAndProof(msgspec.Struct, frozen=True):
    """get-entry-and-proof (section 4.8)."""

    leaf_input: bytes
    extra_data: bytes
    audit_path: list[bytes]


class Rfc6962:
    """The endpoints over `view`; submissions go to `recorder`, if they lead to one of `roots`
    (DER). Raises `EntryInvalid` for what is malformed, `NotInLog` for what is not there."""

    def __init__(
        self, view: CertificateView, recorder: CertificateLog, roots: Sequence[bytes]
    ) -> None:
        self._view = view
        self._recorder = recorder
        self._roots = [x509.load_der_x509_certificate(root) for root in roots]

    def add_chain(self, chain: Sequence[str]) -> AddChain:
        """Log the certificate that begins `chain` (each base64 of DER), whose issuers follow."""
        return self._add(chain, precertificate=False)

    def add_pre_chain(self, chain: Sequence[str]) -> AddChain:
        """Log the precertificate that begins `chain`."""
        return self._add(chain, precertificate=True)

    def get_sth(self) -> Sth:
        """The tree head of the checkpoint that the log shows."""
        note = read_note(self._view.checkpoint())
        checkpoint = read_checkpoint(note.text)
        line = note.signed_by(self._view.identity.verifiers[0])
        if line is None:
            raise NotInLog("The checkpoint bears no RFC 6962 signature")
        timestamp_ms, _ = read_tree_head_signature(line.signature)
        return Sth(checkpoint.size, timestamp_ms, checkpoint.root, line.signature[8:])

    def get_sth_consistency(self, first: int, second: int) -> SthConsistency:
        """The consistency proof between two tree sizes."""
        _require_order(0, first, second)
        return SthConsistency(self._view.consistency(first, second))

    def get_proof_by_hash(self, leaf: bytes, tree_size: int) -> ProofByHash:
        """The inclusion proof of the leaf with this hash in the first `tree_size` entries."""
        if len(leaf) != HASH_BYTES:
            raise EntryInvalid("The hash of a leaf has 32 bytes")
        index = self._view.index_of(leaf)
        return ProofByHash(index, self._view.inclusion(index, tree_size))

    def get_entries(self, start: int, end: int) -> Entries:
        """Entries `start` to `end`, both included, or as many as one answer holds."""
        _require_order(0, start, end)
        count = min(end - start + 1, ENTRIES_MAX)
        return Entries([self._logged(entry) for entry in self._view.entries(start, count)])

    def get_entry_and_proof(self, leaf_index: int, tree_size: int) -> EntryAndProof:
        """An entry and its inclusion proof in the first `tree_size` entries."""
        path = self._view.inclusion(leaf_index, tree_size)
        logged = self._logged(self._view.entry(leaf_index))
        return EntryAndProof(logged.leaf_input, logged.extra_data, path)

    def get_roots(self) -> Roots:
        """The roots that chains may lead to, DER."""
        return Roots([root.public_bytes(Encoding.DER) for root in self._roots])

    def _add(self, chain: Sequence[str], *, precertificate: bool) -> AddChain:
        if not 1 <= len(chain) <= CHAIN_MAX:
            raise EntryInvalid(f"A chain has 1 to {CHAIN_MAX} certificates")
        certificate, *issuers = map(_certificate, chain)
        if is_poisoned(certificate) != precertificate:
            kind = "a precertificate" if precertificate else "a certificate without poison"
            raise EntryInvalid(f"The chain does not begin with {kind}")
        whole = self._completed([certificate, *issuers])
        submission = submission_of(certificate, tuple(whole[1:]))
        (recorded,) = self._recorder.record([submission])
        sct = read_sct(recorded.sct)
        # The SCT ends with the signature as the answer wants it: with its algorithm and length.
        signature = recorded.sct[-(len(sct.signature) + 4) :]
        return AddChain(0, sct.log_id, sct.timestamp_ms, sct.extensions, signature)

    def _completed(self, chain: list[x509.Certificate]) -> list[x509.Certificate]:
        """`chain` up to its root; raises `SubmissionRefused` where a step does not hold."""
        for certificate, issuer in itertools.pairwise(chain):
            if not _issued(certificate, issuer):
                raise SubmissionRefused("A certificate of the chain is not issued by the next")
        last = chain[-1]
        whole = chain
        if last not in self._roots:
            root = next((root for root in self._roots if _issued(last, root)), None)
            if root is None:
                raise SubmissionRefused("The chain leads to none of the log's roots")
            whole = [*chain, root]
        if len(whole) > 1 and _signs_precertificates(whole[1]):
            raise SubmissionRefused(
                "The issuer is a precertificate signing certificate",
                why="this log takes precertificates from the issuer of the final one alone",
            )
        return whole

    def _logged(self, entry: Entry) -> LoggedEntry:
        chain = b"".join(_sized(self._view.issuer(each)) for each in entry.chain)
        extra = len(chain).to_bytes(3, "big") + chain
        if entry.precertificate is not None:
            extra = _sized(entry.precertificate) + extra
        return LoggedEntry(entry.leaf, extra)


def _certificate(encoded: str) -> x509.Certificate:
    if len(encoded) > 2 * CERTIFICATE_BYTES_MAX:
        raise EntryInvalid(f"A certificate has at most {CERTIFICATE_BYTES_MAX} bytes")
    try:
        return x509.load_der_x509_certificate(base64.b64decode(encoded, validate=True))
    except (binascii.Error, ValueError) as error:
        raise EntryInvalid("A part of the chain is no certificate", why=str(error)) from error


def _issued(certificate: x509.Certificate, issuer: x509.Certificate) -> bool:
    try:
        constraints = issuer.extensions.get_extension_for_class(x509.BasicConstraints)
        certificate.verify_directly_issued_by(issuer)
    except (
        InvalidSignature,
        TypeError,
        UnsupportedAlgorithm,
        ValueError,
        x509.ExtensionNotFound,
    ):
        return False
    return constraints.value.ca


def _signs_precertificates(issuer: x509.Certificate) -> bool:
    try:
        usage = issuer.extensions.get_extension_for_class(x509.ExtendedKeyUsage)
    except x509.ExtensionNotFound:
        return False
    return PRECERTIFICATE_SIGNING in usage.value


def _require_order(*numbers: int) -> None:
    if list(numbers) != sorted(numbers):
        raise EntryInvalid("The numbers are negative, or in the wrong order")


def _sized(data: bytes) -> bytes:
    return len(data).to_bytes(3, "big") + data
