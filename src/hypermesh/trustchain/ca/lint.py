"""Pre-issuance lint: a TBSCertificate is read again, by another parser than what wrote it, and
checked against RFC 5280 and the rules of its profile before anything is signed. Pure.

What it finds is a fault of this program or of its settings, never of the requester, whose mistakes
were refused before; so a finding stops the certificate.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from cryptography import x509
from cryptography.x509.oid import ExtensionOID, NameOID

from hypermesh.trustchain import alternative, der, oids
from hypermesh.trustchain.ca.algorithm import (
    UNREADABLE,
    KeyKind,
    KeyRefused,
    key_info,
    kind_of,
)
from hypermesh.trustchain.ca.content import Issuer, key_identifier
from hypermesh.trustchain.ca.names import (
    NameForbidden,
    NameRefused,
    NamesTooMany,
    names_of,
    require_within,
)
from hypermesh.trustchain.ca.profile import PURPOSES, Kind, Profile
from hypermesh.wire.errors import HyperMeshError

SERIAL_BITS_MIN = 64
SERIAL_OCTETS_MAX = 20


class LintFailed(HyperMeshError):
    """What would have been signed breaks a rule; nothing was signed."""

    code = "HM-TRUST-0107"
    exit_code = 9
    title = "The certificate would break a rule and was not signed"
    remedy = "Report it: this is a fault of the authority, not of the request"


@dataclass(frozen=True, slots=True)
class Finding:
    """A rule (a word of this module) that is broken, and how."""

    rule: str
    text: str

    def __str__(self) -> str:
        return f"{self.rule}: {self.text}"


@dataclass(frozen=True, slots=True)
class Expected:
    """What the certificate is meant to be. `kind` is None for a CA, which then has at most
    `path_length` CAs below it; `issuer` is None for a root."""

    profile: Profile
    issuer: Issuer | None
    algorithm: bytes
    kind: Kind | None
    lifetime_max_s: int
    path_length: int = 0


def lint(body: bytes, expected: Expected) -> list[Finding]:
    """The faults of the TBSCertificate `body`, none where it may be signed."""
    try:
        parts = der.read(body).children()
        if parts[1].content[0] & 0x80:
            return [Finding("serial", "is negative")]
        parsed = x509.load_der_x509_certificate(
            der.sequence(body, parts[2].encoded, der.bits(b"\x00"))
        )
        found = {entry.oid: entry for entry in parsed.extensions}
        key = parsed.public_key()
    except (*UNREADABLE, IndexError) as error:
        return [Finding("form", str(error))]
    except der.NotDer as error:
        return [Finding("form", error.why)]
    read = _Read(parts, parsed, found, key, expected)
    return [finding for rule in _RULES for finding in rule(read)]


def require_clean(body: bytes, expected: Expected) -> None:
    """Raise `LintFailed` with all that `lint` finds."""
    findings = lint(body, expected)
    if findings:
        raise LintFailed(why="; ".join(map(str, findings)))


def require_successor(body: bytes, logged: bytes) -> None:
    """Raise `LintFailed` unless `body` is `logged`, the body of a precertificate without its poison
    that `lint` has seen, with SCTs in it and nothing else (RFC 6962 section 3.3)."""
    try:
        algorithm = der.read(body).children()[2].encoded
        parsed = x509.load_der_x509_certificate(der.sequence(body, algorithm, der.bits(b"\x00")))
        embedded = parsed.extensions.get_extension_for_oid(
            ExtensionOID.PRECERT_SIGNED_CERTIFICATE_TIMESTAMPS
        )
        is_whole = parsed.tbs_precertificate_bytes == logged and not embedded.critical
    except (*UNREADABLE, x509.ExtensionNotFound, IndexError) as error:
        raise LintFailed(why=f"logs: {error}") from error
    if not is_whole:
        raise LintFailed(why="logs: the certificate is not what the log holds")


@dataclass(frozen=True, slots=True)
class _Read:
    parts: list[der.Element]
    parsed: x509.Certificate
    extensions: dict[x509.ObjectIdentifier, x509.Extension[x509.ExtensionType]]
    key: object
    expected: Expected

    def value(self, identifier: x509.ObjectIdentifier) -> x509.ExtensionType | None:
        entry = self.extensions.get(identifier)
        return None if entry is None else entry.value


def _fields(read: _Read) -> Iterator[Finding]:
    tags = [part.tag for part in read.parts]
    if tags != [0xA0, 0x02, 0x30, 0x30, 0x30, 0x30, 0x30, 0xA3]:
        yield Finding("form", "a field is missing, or stands where none belongs")
        return
    if read.parsed.version is not x509.Version.v3:
        yield Finding("version", "is not 3")
    serial = read.parsed.serial_number
    if serial.bit_length() < SERIAL_BITS_MIN or len(read.parts[1].content) > SERIAL_OCTETS_MAX:
        yield Finding("serial", "is shorter than 64 bits or longer than 20 octets")
    if read.parts[2].encoded != read.expected.algorithm:
        yield Finding("algorithm", "is not that of the issuer")
    issuer = read.expected.issuer
    if read.parts[3].encoded != (read.parts[5].encoded if issuer is None else issuer.name):
        yield Finding("issuer", "is not the issuer's subject")


def _validity(read: _Read) -> Iterator[Finding]:
    begin = int(read.parsed.not_valid_before_utc.timestamp())
    end = int(read.parsed.not_valid_after_utc.timestamp())
    if read.parts[4].content != der.moment(begin) + der.moment(end):
        yield Finding("validity", "is not in the form of RFC 5280 section 4.1.2.5")
    if end <= begin:
        yield Finding("validity", "ends before it begins")
    if end - begin > read.expected.lifetime_max_s:
        yield Finding("validity", f"is longer than {read.expected.lifetime_max_s} seconds")
    issuer = read.expected.issuer
    if issuer is not None and end > issuer.validity.not_after_s:
        yield Finding("validity", "ends after that of the issuer")


def _key(read: _Read) -> Iterator[Finding]:
    profile, kind = read.expected.profile, read.expected.kind
    try:
        found = kind_of(read.key)
    except KeyRefused as error:
        yield Finding("key", error.why)
        return
    allowed = profile.leaves | ({profile.issuing} if kind is Kind.RESPONDER else set())
    if kind is None:
        allowed = frozenset({profile.root if read.expected.issuer is None else profile.issuing})
    if found not in allowed:
        yield Finding("key", f"the profile {profile.name} has no {found} key here")
    info = key_info(read.key)  # type: ignore[arg-type]  # `kind_of` refused the others
    if read.parts[6].encoded != info:
        yield Finding("key", "is not in its one encoding")
    issuer = read.expected.issuer
    if issuer is not None and issuer.key_info == info:
        yield Finding("key", "is that of the issuer")
    identifier = read.value(ExtensionOID.SUBJECT_KEY_IDENTIFIER)
    if not isinstance(identifier, x509.SubjectKeyIdentifier) or identifier.digest != key_identifier(
        info
    ):
        yield Finding("subjectKeyIdentifier", "does not follow from the key")


_CRITICAL: dict[x509.ObjectIdentifier, bool | None] = {
    ExtensionOID.AUTHORITY_KEY_IDENTIFIER: False,
    ExtensionOID.SUBJECT_KEY_IDENTIFIER: False,
    ExtensionOID.KEY_USAGE: True,
    ExtensionOID.BASIC_CONSTRAINTS: True,
    ExtensionOID.NAME_CONSTRAINTS: True,
    ExtensionOID.EXTENDED_KEY_USAGE: False,
    ExtensionOID.SUBJECT_ALTERNATIVE_NAME: None,
    ExtensionOID.AUTHORITY_INFORMATION_ACCESS: False,
    ExtensionOID.CRL_DISTRIBUTION_POINTS: False,
    ExtensionOID.FRESHEST_CRL: False,
    ExtensionOID.OCSP_NO_CHECK: False,
    ExtensionOID.PRECERT_POISON: True,
    ExtensionOID.PRECERT_SIGNED_CERTIFICATE_TIMESTAMPS: False,
    oids.SUBJECT_ALT_PUBLIC_KEY: False,
    oids.ALT_SIGNATURE_ALGORITHM: False,
    oids.ALT_SIGNATURE_VALUE: False,
}
"""All extensions that this authority issues, and whether each is critical; None: it depends."""


def _criticality(read: _Read) -> Iterator[Finding]:
    for identifier, entry in read.extensions.items():
        wanted = _CRITICAL.get(identifier, "unknown")
        if wanted == "unknown":
            yield Finding("extension", f"{identifier.dotted_string} is not one of this authority")
        elif wanted is not None and entry.critical != wanted:
            yield Finding("critical", f"{identifier.dotted_string} must{'' if wanted else ' not'}")


def _issuer_key(read: _Read) -> Iterator[Finding]:
    issuer = read.expected.issuer
    found = read.value(ExtensionOID.AUTHORITY_KEY_IDENTIFIER)
    named = found.key_identifier if isinstance(found, x509.AuthorityKeyIdentifier) else None
    if named != (None if issuer is None else issuer.key_id):
        yield Finding("authorityKeyIdentifier", "does not name the issuer's key")


def _usage(read: _Read) -> Iterator[Finding]:
    kind = read.expected.kind
    basic = read.value(ExtensionOID.BASIC_CONSTRAINTS)
    wanted = (False, None) if kind is not None else (True, read.expected.path_length)
    if not isinstance(basic, x509.BasicConstraints) or (basic.ca, basic.path_length) != wanted:
        yield Finding("basicConstraints", "is not that of what it certifies")
    usage = read.value(ExtensionOID.KEY_USAGE)
    if not isinstance(usage, x509.KeyUsage):
        yield Finding("keyUsage", "is missing")
    else:
        signs = (usage.key_cert_sign, usage.crl_sign, usage.digital_signature)
        if signs != ((True, True, False) if kind is None else (False, False, True)):
            yield Finding("keyUsage", "is not that of what it certifies")
        is_rsa = _kind_or_none(read.key) is KeyKind.RSA
        if usage.key_encipherment and not is_rsa:
            yield Finding("keyUsage", "only an RSA key enciphers keys")
        if usage.content_commitment or usage.data_encipherment or usage.key_agreement:
            yield Finding("keyUsage", "has a bit that nobody asked for")
    extended = read.value(ExtensionOID.EXTENDED_KEY_USAGE)
    usages = tuple(extended) if isinstance(extended, x509.ExtendedKeyUsage) else ()
    if usages != (() if kind is None else PURPOSES[kind].usages):
        yield Finding("extKeyUsage", "is not that of what it certifies")


def _names(read: _Read) -> Iterator[Finding]:
    kind = read.expected.kind
    subject = read.parsed.subject
    general = read.value(ExtensionOID.SUBJECT_ALTERNATIVE_NAME)
    if kind is None:
        if general is not None or not list(subject):
            yield Finding("subject", "a CA has a subject and no alternative name")
        return
    if not isinstance(general, x509.SubjectAlternativeName):
        yield Finding("subjectAltName", "is missing")
        return
    try:
        names = names_of(general)
        if read.expected.issuer is not None and read.expected.issuer.constraints is not None:
            require_within(names, read.expected.issuer.constraints)
    except (NameRefused, NameForbidden, NamesTooMany) as error:
        yield Finding("subjectAltName", str(error))
        return
    if not names or len(names) != len(general):
        yield Finding("subjectAltName", "is empty or repeats itself")
    if any(name.kind not in PURPOSES[kind].names for name in names):
        yield Finding("subjectAltName", f"has a name that no {kind} has")
    if read.extensions[ExtensionOID.SUBJECT_ALTERNATIVE_NAME].critical != (not list(subject)):
        yield Finding("critical", "subjectAltName is critical where the subject is empty")
    if any(attribute.oid != NameOID.COMMON_NAME for attribute in subject):
        yield Finding("subject", "has more than a common name")
    if any(attribute.value not in {name.text for name in names} for attribute in subject):
        yield Finding("subject", "the common name is not one of the alternative names")


def _pointers(read: _Read) -> Iterator[Finding]:
    issuer, kind = read.expected.issuer, read.expected.kind
    lists = read.value(ExtensionOID.CRL_DISTRIBUTION_POINTS)
    access = read.value(ExtensionOID.AUTHORITY_INFORMATION_ACCESS)
    if (kind is Kind.RESPONDER) != (ExtensionOID.OCSP_NO_CHECK in read.extensions):
        yield Finding("noCheck", "stands in the certificates of responders, and there alone")
    if issuer is None or issuer.places is None or kind is Kind.RESPONDER:
        return
    shard = 0 if kind is None else issuer.shard_of(read.parsed.serial_number)
    wanted = issuer.places.crl(issuer.key_id, shard)
    if not isinstance(lists, x509.CRLDistributionPoints) or [
        [entry.value for entry in point.full_name or ()] for point in lists
    ] != [[wanted]]:
        yield Finding("cRLDistributionPoints", "is not the list that this certificate is on")
    places = {issuer.places.issuer(issuer.key_id)} | ({issuer.places.ocsp} if kind else set())
    if (
        not isinstance(access, x509.AuthorityInformationAccess)
        or {entry.access_location.value for entry in access} != places
    ):
        yield Finding("authorityInfoAccess", "does not say where issuer and status are")


def _evidence(read: _Read) -> Iterator[Finding]:
    has_poison = ExtensionOID.PRECERT_POISON in read.extensions
    has_scts = ExtensionOID.PRECERT_SIGNED_CERTIFICATE_TIMESTAMPS in read.extensions
    is_hybrid, kind = read.expected.profile.is_hybrid, read.expected.kind
    wanted = kind is not None and not is_hybrid
    if has_poison + has_scts != wanted:
        yield Finding("logs", "a precertificate has the poison, what follows it the SCTs")
    named = oids.ALT_SIGNATURE_ALGORITHM in read.extensions
    has_value = oids.ALT_SIGNATURE_VALUE in read.extensions
    if (named, has_value) != (is_hybrid, is_hybrid):
        yield Finding("altSignature", "stands in hybrid certificates, and there alone")
    second = read.value(oids.SUBJECT_ALT_PUBLIC_KEY)
    if is_hybrid and second is None and (kind is None or kind is Kind.NODE):
        yield Finding("subjectAltPublicKeyInfo", "a hybrid CA or node has two keys")
    if isinstance(second, x509.UnrecognizedExtension):
        try:
            alternative.key_of(second.value)
        except der.NotDer as error:
            yield Finding("subjectAltPublicKeyInfo", str(error))


def _kind_or_none(key: object) -> KeyKind | None:
    try:
        return kind_of(key)
    except KeyRefused:
        return None


_RULES: tuple[Callable[[_Read], Iterator[Finding]], ...] = (
    _fields,
    _validity,
    _key,
    _criticality,
    _issuer_key,
    _usage,
    _names,
    _pointers,
    _evidence,
)
