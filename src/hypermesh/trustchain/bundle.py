"""A certificate with all that shows it was logged, in one file that is checked without a network.

    bundle      JSON; binary members are base64
    version     1
    certificate the certificate, DER
    chain       its issuers, DER, the nearest first, the root last
    sct         the SignedCertificateTimestamp, TLS-encoded
    leaf        the MerkleTreeLeaf (RFC 6962 section 3.4)
    index       the leaf's index in the log
    path        the inclusion proof (RFC 9162 section 2.1.3), hashes from the leaf up
    checkpoint  the log's signed note, with the witnesses' cosignatures in it
    log         the log's origin and public keys
    revocation  an OCSP response of when the bundle was made; none where it was not asked for
    height      the ledger's height at which a mesh vouches for it; none outside of one
    ledger      what shows that to anybody who knows the network's genesis (`LedgerEvidence`)

Nothing in a bundle is to be believed for its own sake: the reader says whom it trusts (`Trust`),
and what it does not say is reported as taken from the bundle. Everything here is pure.
"""

from __future__ import annotations

import datetime as dt
import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated

import msgspec
from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat, load_der_public_key
from msgspec import Meta

from hypermesh.trustchain import alternative
from hypermesh.trustchain.ct.checkpoint import CosignatureVerifier, LogIdentity, cosigned_at
from hypermesh.trustchain.ct.entry import read_leaf
from hypermesh.trustchain.ct.errors import EntryInvalid, ProofInvalid
from hypermesh.trustchain.ct.note import read_note
from hypermesh.trustchain.ct.precertificate import key_hash
from hypermesh.trustchain.ct.sct import ECDSA, read_sct
from hypermesh.trustchain.ct.tree import included, leaf_hash
from hypermesh.trustchain.der import NotDer
from hypermesh.wire.errors import HyperMeshError, InvalidInput
from hypermesh.wire.ids import Hash

VERSION = 1
BUNDLE_BYTES_MAX = 1 << 20
CHAIN_MAX = 8
PATH_MAX = 64
WITNESSES_MAX = 64
_SCT_LIST = x509.ObjectIdentifier("1.3.6.1.4.1.11129.2.4.2")


class BundleMalformed(InvalidInput):
    """The bytes are no bundle."""

    code = "HM-TRUST-0230"
    title = "This is no bundle of a certificate"


class BundleRefused(HyperMeshError):
    """Something in the bundle does not hold, or is not under what the reader trusts."""

    code = "HM-TRUST-0231"
    status = 422
    exit_code = 9
    title = "The bundle does not hold"


class LogKeys(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A log's origin and its keys: Ed25519 and FALCON-1024 raw, P-256 as SubjectPublicKeyInfo."""

    origin: str
    ed25519: bytes
    falcon: bytes
    p256: bytes | None = None

    @classmethod
    def of(cls, identity: LogIdentity) -> LogKeys:
        p256 = identity.p256
        encoded = None
        if p256 is not None:
            encoded = p256.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
        return cls(identity.origin, identity.ed25519, identity.falcon, encoded)

    @property
    def identity(self) -> LogIdentity:
        """Raises `BundleMalformed`."""
        key = None
        try:
            if self.p256 is not None:
                key = load_der_public_key(self.p256)
        except (ValueError, UnsupportedAlgorithm) as error:
            raise BundleMalformed("The log's P-256 key cannot be read", why=str(error)) from error
        if key is not None and not isinstance(key, ec.EllipticCurvePublicKey):
            raise BundleMalformed("The log's key is no key of a curve")
        return LogIdentity(self.origin, self.ed25519, self.falcon, key)


class BundledRow(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A row of the ledger's state (none: there is no such row), and its encoded `BucketProof`."""

    value: bytes | None
    proof: bytes


class BundledWitness(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A node that cosigned the checkpoint, and its row."""

    node: bytes
    row: BundledRow


class LedgerEvidence(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What a network's ledger says of a certificate and its log, after one block; each member is
    what travels between nodes, encoded.

    `genesis` is the `Genesis`, `header` the `SignedHeader` of the block. `log` is the log's row,
    with the size and root that are anchored, and `path` leads from the certificate's leaf to that
    root. `node` is the row of the certificate's node, and `revocation` that of its end.
    `witnesses` are nodes of the network that cosigned the bundle's checkpoint. `ledger.bundled`
    checks all of it.
    """

    genesis: bytes
    header: bytes
    log: BundledRow
    path: Annotated[tuple[bytes, ...], Meta(max_length=PATH_MAX)]
    node: BundledRow
    revocation: BundledRow
    witnesses: Annotated[tuple[BundledWitness, ...], Meta(max_length=WITNESSES_MAX)] = ()


class Bundle(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A certificate with all that shows it was logged: the certificate and its issuers (DER), the
    SCT, the leaf with its index, the inclusion proof, the checkpoint under the log's keys, and what
    the ledger says of it."""

    version: Annotated[int, Meta(ge=1, le=1)]
    certificate: bytes
    chain: Annotated[tuple[bytes, ...], Meta(min_length=1, max_length=CHAIN_MAX)]
    sct: bytes
    leaf: bytes
    index: Annotated[int, Meta(ge=0)]
    path: Annotated[tuple[bytes, ...], Meta(max_length=PATH_MAX)]
    checkpoint: str
    log: LogKeys
    revocation: bytes | None = None
    height: Annotated[int, Meta(ge=0)] | None = None
    ledger: LedgerEvidence | None = None

    def encoded(self) -> bytes:
        return msgspec.json.format(msgspec.json.encode(self), indent=1)


@dataclass(frozen=True, slots=True)
class Trust:
    """Whom the reader trusts. `root_sha256`: the root's fingerprint; `log`: the fingerprint of the
    log's identity; `witnesses`, of whom `quorum` must have cosigned. What is None is not checked,
    and the verdict says so."""

    root_sha256: Hash | None = None
    log: Hash | None = None
    witnesses: Sequence[CosignatureVerifier] = ()
    quorum: int = 0


@dataclass(frozen=True, slots=True)
class Verdict:
    """What a bundle that holds shows. Times are seconds since 1970. `is_root_trusted` and
    `is_log_trusted` are False where the reader named none, so both are only the bundle's word."""

    serial: int
    names: tuple[str, ...]
    not_before_s: int
    not_after_s: int
    is_current: bool
    index: int
    size: int
    logged_ms: int
    origin: str
    root_sha256: Hash
    is_root_trusted: bool
    is_log_trusted: bool
    cosigned_s: dict[str, int]
    is_hybrid: bool
    height: int | None


def read_bundle(data: bytes) -> Bundle:
    """The bundle in `data`; raises `BundleMalformed`."""
    if len(data) > BUNDLE_BYTES_MAX:
        raise BundleMalformed(why=f"it has more than {BUNDLE_BYTES_MAX} bytes")
    try:
        return msgspec.json.decode(data, type=Bundle)
    except (msgspec.DecodeError, RecursionError) as error:
        raise BundleMalformed(why=str(error)) from error


def check_bundle(bundle: Bundle, trust: Trust, now_s: int) -> Verdict:
    """What `bundle` shows to one who trusts `trust`.

    Checked are: every signature of the chain, both kinds in a hybrid one; that the leaf is this
    certificate's; the SCT; the inclusion proof; the checkpoint under all keys of the log; the
    witnesses. Raises `BundleMalformed`, `BundleRefused`.
    """
    try:
        certificate = x509.load_der_x509_certificate(bundle.certificate)
        chain = [x509.load_der_x509_certificate(each) for each in bundle.chain]
        is_hybrid = _check_chain(certificate, chain)
        root_sha256 = hashlib.sha256(bundle.chain[-1]).digest()
        if trust.root_sha256 not in (None, root_sha256):
            raise BundleRefused("The chain ends in another root than the one that is trusted")
        identity = bundle.log.identity
        if trust.log not in (None, identity.fingerprint):
            raise BundleRefused("The log is another one than the one that is trusted")
        entry = read_leaf(bundle.leaf)
        if entry.index != bundle.index:
            raise BundleRefused("The leaf names another index")
        _check_leaf(bundle, certificate, chain[0])
        _check_sct(bundle, identity)
        checkpoint = identity.opened(
            bundle.checkpoint.encode(), tuple(trust.witnesses), trust.quorum
        )
        if not included(
            checkpoint.root, bundle.index, checkpoint.size, leaf_hash(bundle.leaf), bundle.path
        ):
            raise BundleRefused("The inclusion proof does not lead to the checkpoint's root")
        note = read_note(bundle.checkpoint.encode())
        cosigned = {
            witness.name: cosigned_at(line)
            for witness in trust.witnesses
            if (line := note.signed_by(witness)) is not None
        }
        names = _names(certificate)
    except (ProofInvalid, EntryInvalid) as error:
        raise BundleRefused(error.what, why=error.why) from error
    except (ValueError, NotDer, UnsupportedAlgorithm, x509.UnsupportedGeneralNameType) as error:
        raise BundleMalformed(why=str(error)) from error
    begin = int(certificate.not_valid_before_utc.timestamp())
    end = int(certificate.not_valid_after_utc.timestamp())
    return Verdict(
        certificate.serial_number,
        names,
        begin,
        end,
        begin <= now_s <= end and _all_current(chain, now_s),
        bundle.index,
        checkpoint.size,
        entry.timestamp_ms,
        identity.origin,
        root_sha256,
        trust.root_sha256 is not None,
        trust.log is not None,
        cosigned,
        is_hybrid,
        bundle.height,
    )


def _check_chain(certificate: x509.Certificate, chain: Sequence[x509.Certificate]) -> bool:
    """Whether the chain is hybrid. Raises `BundleRefused`."""
    is_hybrid = all(alternative.key_in(each) is not None for each in chain)
    below = certificate
    for issuer in (*chain, chain[-1]):
        try:
            below.verify_directly_issued_by(issuer)
            basic = issuer.extensions.get_extension_for_class(x509.BasicConstraints).value
        except (InvalidSignature, ValueError, TypeError, x509.ExtensionNotFound) as error:
            raise BundleRefused("A signature of the chain does not hold", why=str(error)) from error
        if not basic.ca:
            raise BundleRefused("An issuer of the chain is no CA")
        key = alternative.key_in(issuer)
        if is_hybrid and (key is None or not alternative.holds(below, key)):
            raise BundleRefused("A FALCON-1024 signature of the chain does not hold")
        below = issuer
    return is_hybrid


def _check_leaf(bundle: Bundle, certificate: x509.Certificate, issuer: x509.Certificate) -> None:
    """Raise `BundleRefused` unless the leaf is of this certificate: itself, or what a
    precertificate promised (RFC 6962 section 3.2)."""
    entry = read_leaf(bundle.leaf)
    if entry.issuer_key_hash is None:
        if entry.signed != bundle.certificate:
            raise BundleRefused("The leaf is of another certificate")
        return
    try:
        embedded = certificate.extensions.get_extension_for_oid(_SCT_LIST)
    except x509.ExtensionNotFound as error:
        raise BundleRefused("The leaf is of a precertificate, and no SCT is embedded") from error
    if bundle.sct not in embedded.value.public_bytes():
        raise BundleRefused("The embedded SCT is another one than that of the bundle")
    body = certificate.tbs_precertificate_bytes
    if entry.signed != body or entry.issuer_key_hash != key_hash(issuer):
        raise BundleRefused("The leaf is of another certificate")


def _check_sct(bundle: Bundle, identity: LogIdentity) -> None:
    sct = read_sct(bundle.sct)
    if identity.p256 is None or sct.log_id != identity.log_id:
        raise BundleRefused("The SCT is of another log")
    entry = read_leaf(bundle.leaf)
    if (sct.timestamp_ms, sct.index) != (entry.timestamp_ms, entry.index):
        raise BundleRefused("The SCT names another time or index than the leaf")
    try:
        # What an SCT signs are the very bytes of the leaf.
        identity.p256.verify(sct.signature, bundle.leaf, ECDSA)
    except InvalidSignature as error:
        raise BundleRefused("The SCT's signature does not hold") from error


def _names(certificate: x509.Certificate) -> tuple[str, ...]:
    try:
        found = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        return ()
    return tuple(str(each.value) for each in found)


def _all_current(chain: Sequence[x509.Certificate], now_s: int) -> bool:
    now = dt.datetime.fromtimestamp(now_s, dt.UTC)
    return all(each.not_valid_before_utc <= now <= each.not_valid_after_utc for each in chain)
