"""What stands in a certificate: the TBSCertificate (RFC 5280 section 4.1), written from values.

It is written here and not by a builder, for the builder wants to hold the key, cannot leave the
poison of a precertificate out again, and knows no alternative signature.
"""

from __future__ import annotations

import functools
import hashlib
import ipaddress
from collections.abc import Sequence
from dataclasses import dataclass

import msgspec
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from cryptography.x509.oid import AuthorityInformationAccessOID, ExtensionOID, NameOID

from hypermesh.crypto.falcon import FalconKey
from hypermesh.trustchain import alternative, der, oids
from hypermesh.trustchain.ca.algorithm import KeyKind
from hypermesh.trustchain.ca.names import Name, NameKind
from hypermesh.trustchain.ca.profile import PURPOSES, Kind
from hypermesh.trustchain.ca.signer import Signer
from hypermesh.trustchain.certificate import Validity
from hypermesh.wire.errors import InvalidInput

COMMON_NAME_CHARACTERS_MAX = 64
"""RFC 5280 appendix A.1, ub-common-name."""

SHARDS_MAX = 1024

_NULL = der.tlv(der.NULL)


class Places(msgspec.Struct, frozen=True, array_like=True):
    """Where relying parties find what the authority publishes: one HTTP base address.

    HTTP without TLS, for TLS would need what is being checked (RFC 5280 section 8); what is fetched
    is signed.
    """

    base: str

    def require_sound(self) -> None:
        """Raise `InvalidInput` where the base is no address that a certificate can carry."""
        if not self.base.startswith("http://") or not self.base.isascii() or len(self.base) > 200:
            raise InvalidInput(
                f"{self.base[:80]!r} cannot stand in certificates",
                why="it is an http:// address of at most 200 ASCII characters",
            )

    @property
    def ocsp(self) -> str:
        return f"{self.base}/ocsp"

    def issuer(self, issuer: bytes) -> str:
        """Where the certificate of the issuer with this key id is."""
        return f"{self.base}/issuers/{issuer.hex()}.cer"

    def crl(self, issuer: bytes, shard: int) -> str:
        return f"{self.base}/crls/{issuer.hex()}/{shard}.crl"

    def delta(self, issuer: bytes, shard: int) -> str:
        return f"{self.base}/crls/{issuer.hex()}/{shard}-delta.crl"


@dataclass(frozen=True, slots=True)
class Issuer:
    """What of an issuer's certificate stands in those below it.

    `key_id` is its subject key identifier, 20 bytes; `name` its subject (DER); `key_hash` the
    SHA-256 of its SubjectPublicKeyInfo. Places and shards are None for a root.
    """

    certificate: bytes
    name: bytes
    key_id: bytes
    key_info: bytes
    key_hash: bytes
    validity: Validity
    constraints: x509.NameConstraints | None
    places: Places | None = None
    shards: int = 1

    @classmethod
    def of(cls, certificate: bytes, places: Places | None = None, shards: int = 1) -> Issuer:
        """The issuer of `certificate` (DER). Raises `InvalidInput` where it is none."""
        try:
            parsed = x509.load_der_x509_certificate(certificate)
            key_id = parsed.extensions.get_extension_for_class(x509.SubjectKeyIdentifier)
            basic = parsed.extensions.get_extension_for_class(x509.BasicConstraints)
        except (ValueError, x509.ExtensionNotFound) as error:
            raise InvalidInput("This is no certificate of a CA", why=str(error)) from error
        if not basic.value.ca:
            raise InvalidInput("This is no certificate of a CA")
        if not 1 <= shards <= SHARDS_MAX:
            raise InvalidInput(f"There are 1 to {SHARDS_MAX} parts of a revocation list")
        info = parsed.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
        validity = Validity(
            int(parsed.not_valid_before_utc.timestamp()),
            int(parsed.not_valid_after_utc.timestamp()),
        )
        constraints = next(
            (
                extension.value
                for extension in parsed.extensions
                if isinstance(extension.value, x509.NameConstraints)
            ),
            None,
        )
        return cls(
            certificate,
            parsed.subject.public_bytes(),
            key_id.value.digest,
            info,
            hashlib.sha256(info).digest(),
            validity,
            constraints,
            places,
            shards,
        )

    def shard_of(self, serial: int) -> int:
        """Which part of the revocation list holds the certificate `serial`."""
        octets = serial.to_bytes((serial.bit_length() + 7) // 8, "big")
        hashed = hashlib.sha256(octets).digest()
        return int.from_bytes(hashed[:4], "big") % self.shards


def key_identifier(key_info: bytes) -> bytes:
    """The SHA-1 of the subjectPublicKey, 20 bytes (RFC 5280 section 4.2.1.2, method 1)."""
    _, key = der.read(key_info).children()
    return hashlib.sha1(key.content[1:], usedforsecurity=False).digest()


def extension(
    identifier: x509.ObjectIdentifier, value: bytes, *, is_critical: bool = False
) -> bytes:
    """One Extension whose extnValue holds `value`."""
    critical = (der.boolean(1),) if is_critical else ()
    return der.sequence(der.oid(identifier), *critical, der.octets(value))


POISON = extension(ExtensionOID.PRECERT_POISON, _NULL, is_critical=True)
"""RFC 6962 section 3.1: whoever does not know what a precertificate is refuses it."""

_ALTERNATIVE_ALGORITHM = extension(oids.ALT_SIGNATURE_ALGORITHM, alternative.ALGORITHM)


def scts(timestamps: Sequence[bytes]) -> bytes:
    """The extension that embeds these SCTs (RFC 6962 section 3.3)."""
    value = der.octets(sct_list(timestamps))
    return extension(ExtensionOID.PRECERT_SIGNED_CERTIFICATE_TIMESTAMPS, value)


def sct_list(timestamps: Sequence[bytes]) -> bytes:
    """A SignedCertificateTimestampList in TLS encoding."""
    listed = b"".join(len(each).to_bytes(2, "big") + each for each in timestamps)
    return len(listed).to_bytes(2, "big") + listed


def leaf_extensions(
    issuer: Issuer,
    kind: Kind,
    serial: int,
    key_info: bytes,
    key_kind: KeyKind,
    names: Sequence[Name],
    falcon_key: bytes | None,
) -> list[bytes]:
    """The extensions of an end entity, all but those of logs and of the alternative signature."""
    found = [
        _authority_key(issuer.key_id),
        extension(ExtensionOID.SUBJECT_KEY_IDENTIFIER, der.octets(key_identifier(key_info))),
        _LEAF_USAGE[key_kind is KeyKind.RSA and kind in (Kind.NODE, Kind.SERVICE)],
        _LEAF_BASIC,
        _USAGES[kind],
        extension(
            ExtensionOID.SUBJECT_ALTERNATIVE_NAME,
            alternative_names(names),
            is_critical=not common_name(names),
        ),
    ]
    if kind is Kind.RESPONDER:
        found.append(_NO_CHECK)
    elif issuer.places is not None:
        found += _leaf_pointers(issuer.key_id, issuer.places, issuer.shard_of(serial))
    if falcon_key is not None:
        found.append(extension(oids.SUBJECT_ALT_PUBLIC_KEY, alternative.key_info(falcon_key)))
    return found


def authority_extensions(
    issuer: Issuer | None,
    key_info: bytes,
    path_length: int,
    constraints: x509.NameConstraints | None,
    falcon_key: bytes | None,
) -> list[bytes]:
    """The extensions of a CA; `issuer` is None for a root."""
    found = [] if issuer is None else [_authority_key(issuer.key_id)]
    found += [
        extension(ExtensionOID.SUBJECT_KEY_IDENTIFIER, der.octets(key_identifier(key_info))),
        extension(ExtensionOID.KEY_USAGE, _usage({5, 6}), is_critical=True),
        extension(
            ExtensionOID.BASIC_CONSTRAINTS,
            der.sequence(der.boolean(1), der.integer(path_length)),
            is_critical=True,
        ),
    ]
    if constraints is not None:
        found.append(
            extension(ExtensionOID.NAME_CONSTRAINTS, constraints.public_bytes(), is_critical=True)
        )
    if issuer is not None and issuer.places is not None:
        found += [
            _access(
                (AuthorityInformationAccessOID.CA_ISSUERS, issuer.places.issuer(issuer.key_id))
            ),
            _lists(issuer.key_id, issuer.places, 0),
        ]
    if falcon_key is not None:
        found.append(extension(oids.SUBJECT_ALT_PUBLIC_KEY, alternative.key_info(falcon_key)))
    return found


def tbs(
    *,
    serial: int,
    algorithm: bytes,
    issuer: bytes,
    validity: Validity,
    subject: bytes,
    key_info: bytes,
    extensions: Sequence[bytes],
) -> bytes:
    """The TBSCertificate, DER; all parts but `serial` and `validity` are DER already."""
    return der.sequence(
        _VERSION_3,
        der.integer(serial),
        algorithm,
        issuer,
        der.sequence(der.moment(validity.not_before_s), der.moment(validity.not_after_s)),
        subject,
        key_info,
        der.context(3, der.sequence(*extensions)),
    )


def with_extension(body: bytes, more: bytes) -> bytes:
    """The TBSCertificate `body` with the extension `more` after the others."""
    *head, tail = der.read(body).children()
    extensions = der.read(tail.content).content
    return der.sequence(
        *(part.encoded for part in head), der.context(3, der.sequence(extensions, more))
    )


def without_last(body: bytes, last: bytes) -> bytes:
    """The TBSCertificate `body` without the extension `last`, which is its last one."""
    *head, tail = der.read(body).children()
    extensions = der.read(tail.content).content
    if not extensions.endswith(last):
        raise ValueError("the last extension is another one")
    kept = extensions[: -len(last)]
    return der.sequence(*(part.encoded for part in head), der.context(3, der.sequence(kept)))


def with_alternative(body: bytes, key: FalconKey) -> bytes:
    """`body` with the alternative signature by `key` in it."""
    named = with_extension(body, _ALTERNATIVE_ALGORITHM)
    return with_extension(
        named, extension(oids.ALT_SIGNATURE_VALUE, alternative.signature(named, key))
    )


def signed(body: bytes, signer: Signer) -> bytes:
    """`body` (a TBSCertificate, a TBSCertList) under the signature of `signer`."""
    return der.sequence(body, signer.algorithm.identifier, der.bits(signer.sign(body)))


def common_name(names: Sequence[Name]) -> str:
    """The first name that fits a common name; empty where none does."""
    return next((name.text for name in names if len(name.text) <= COMMON_NAME_CHARACTERS_MAX), "")


def subject_of(names: Sequence[Name]) -> bytes:
    """The subject of an end entity, DER: a common name for old readers, or nothing."""
    common = common_name(names)
    if not common:
        return der.sequence()
    text = der.tlv(der.UTF8_STRING, common.encode())
    return der.sequence(der.set_of([der.sequence(der.oid(NameOID.COMMON_NAME), text)]))


def alternative_names(names: Sequence[Name]) -> bytes:
    """The GeneralNames of a subjectAltName (RFC 5280 section 4.2.1.6)."""
    return der.sequence(*(_general_name(name) for name in names))


def _general_name(name: Name) -> bytes:
    if name.kind is NameKind.IP:
        content = ipaddress.ip_address(name.text).packed
    else:
        content = name.text.encode("ascii")
    return der.context(_GENERAL_NAMES[name.kind], content, is_constructed=False)


@functools.lru_cache(maxsize=64)
def _authority_key(key_id: bytes) -> bytes:
    value = der.sequence(der.context(0, key_id, is_constructed=False))
    return extension(ExtensionOID.AUTHORITY_KEY_IDENTIFIER, value)


@functools.lru_cache(maxsize=2 * SHARDS_MAX)
def _leaf_pointers(issuer: bytes, places: Places, shard: int) -> tuple[bytes, ...]:
    """Where the issuer's certificate, its OCSP responder and its revocation lists are. All
    certificates on one part of the list have the same ones."""
    return (
        _access(
            (AuthorityInformationAccessOID.OCSP, places.ocsp),
            (AuthorityInformationAccessOID.CA_ISSUERS, places.issuer(issuer)),
        ),
        _lists(issuer, places, shard),
        extension(ExtensionOID.FRESHEST_CRL, points(places.delta(issuer, shard))),
    )


def _access(*descriptions: tuple[x509.ObjectIdentifier, str]) -> bytes:
    """AuthorityInformationAccess; a root has no responder."""
    listed = (der.sequence(der.oid(method), uri(place)) for method, place in descriptions)
    return extension(ExtensionOID.AUTHORITY_INFORMATION_ACCESS, der.sequence(*listed))


def _lists(issuer: bytes, places: Places, shard: int) -> bytes:
    return extension(ExtensionOID.CRL_DISTRIBUTION_POINTS, points(places.crl(issuer, shard)))


def uri(text: str) -> bytes:
    """A GeneralName that is a URI."""
    return der.context(6, text.encode("ascii"), is_constructed=False)


def points(text: str) -> bytes:
    """CRLDistributionPoints of one place."""
    return der.sequence(der.sequence(der.context(0, der.context(0, uri(text)))))


def _usage(numbers: set[int]) -> bytes:
    """KeyUsage with the bits `numbers` (RFC 5280 section 4.2.1.3), no trailing zeros."""
    length = max(numbers) + 1
    value = sum(1 << (7 - number) for number in numbers)
    return der.tlv(der.BIT_STRING, bytes([8 - length, value]))


_GENERAL_NAMES = {NameKind.EMAIL: 1, NameKind.DNS: 2, NameKind.URI: 6, NameKind.IP: 7}
"""The tags of RFC 5280 section 4.2.1.6."""
_VERSION_3 = der.context(0, der.integer(2))
_LEAF_BASIC = extension(ExtensionOID.BASIC_CONSTRAINTS, der.sequence(), is_critical=True)
_LEAF_USAGE = {
    is_rsa_server: extension(
        ExtensionOID.KEY_USAGE, _usage({0, 2} if is_rsa_server else {0}), is_critical=True
    )
    for is_rsa_server in (False, True)
}
"""digitalSignature; RSA keys of servers may encrypt keys too, for TLS 1.2 without a DH exchange."""
_USAGES = {
    kind: extension(
        ExtensionOID.EXTENDED_KEY_USAGE,
        der.sequence(*(der.oid(usage) for usage in purpose.usages)),
    )
    for kind, purpose in PURPOSES.items()
}
_NO_CHECK = extension(ExtensionOID.OCSP_NO_CHECK, _NULL)
