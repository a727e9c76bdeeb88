"""The lint finds nothing in what the authority makes, and each fault that is planted."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import pytest
from cryptography import x509
from cryptography.x509.oid import ExtensionOID

from hypermesh.trustchain import alternative, der, oids
from hypermesh.trustchain.ca import content
from hypermesh.trustchain.ca.algorithm import SIGNATURES, KeyKind
from hypermesh.trustchain.ca.authority import CLOCK_SKEW_S
from hypermesh.trustchain.ca.content import Issuer
from hypermesh.trustchain.ca.issuing import IssuingAuthority
from hypermesh.trustchain.ca.lint import (
    Expected,
    LintFailed,
    lint,
    require_clean,
    require_successor,
)
from hypermesh.trustchain.ca.names import general_names, subtree
from hypermesh.trustchain.ca.profile import PROFILES, PURPOSES, Kind
from hypermesh.trustchain.ca.signer import KeySigner
from hypermesh.trustchain.certificate import Validity, serial_number
from hypermesh.trustchain.evidence import Precertificate

from .companies import LEAVES, NAMES, NOW, Company, named, order

SERIAL = serial_number(bytes(range(19)))
VALIDITY = Validity(NOW - CLOCK_SKEW_S, NOW + 86_400)


@dataclass(frozen=True)
class Draft:
    """A TBSCertificate in its parts, so that a test can spoil one."""

    issuer: Issuer
    key: KeySigner
    algorithm: bytes
    extensions: tuple[bytes, ...]
    serial: int = SERIAL
    validity: Validity = VALIDITY
    subject: bytes = content.subject_of(named(*NAMES[Kind.SERVICE]))

    def body(self) -> bytes:
        return content.tbs(
            serial=self.serial,
            algorithm=self.algorithm,
            issuer=self.issuer.name,
            validity=self.validity,
            subject=self.subject,
            key_info=self.key.public_key,
            extensions=self.extensions,
        )

    def without(self, identifier: x509.ObjectIdentifier, *instead: bytes) -> Draft:
        head = der.oid(identifier)
        kept = [each for each in self.extensions if der.read(each).children()[0].encoded != head]
        assert len(kept) == len(self.extensions) - 1
        return replace(self, extensions=(*kept, *instead))

    def also(self, *more: bytes) -> Draft:
        return replace(self, extensions=(*self.extensions, *more))


@pytest.fixture
def draft(classic: Company, authority: IssuingAuthority) -> Draft:
    return drafted(authority, KeySigner.generate(KeyKind.P256))


def drafted(authority: IssuingAuthority, key: KeySigner, kind: Kind = Kind.SERVICE) -> Draft:
    extensions = content.leaf_extensions(
        authority.issuer, kind, SERIAL, key.public_key, key.kind, named(*NAMES[kind]), None
    )
    algorithm = SIGNATURES[authority.profile.issuing][0].identifier
    return Draft(
        authority.issuer,
        key,
        algorithm,
        (*extensions, content.POISON),
        subject=content.subject_of(named(*NAMES[kind])),
    )


def expected(draft: Draft, profile: str = "classic", kind: Kind | None = Kind.SERVICE) -> Expected:
    lifetime_s = PURPOSES[kind].lifetime_max_s if kind else 86_400 * 3650
    return Expected(
        PROFILES[profile], draft.issuer, draft.algorithm, kind, lifetime_s + CLOCK_SKEW_S
    )


def rules(draft: Draft, kind: Kind | None = Kind.SERVICE) -> set[str]:
    return {finding.rule for finding in lint(draft.body(), expected(draft, kind=kind))}


def test_what_the_authority_issues_is_clean(
    any_company: Company, any_authority: IssuingAuthority
) -> None:
    algorithm = any_company.signer.algorithm.identifier
    for kind in Kind:
        for leaf in LEAVES[any_company.profile.name]:
            wanted = order(any_authority, kind, KeySigner.generate(leaf))
            body = der.first(any_authority.issue(wanted, NOW).chain[0])
            meant = Expected(
                any_company.profile, any_authority.issuer, algorithm, kind, 100 * 86_400
            )
            assert lint(body, meant) == []


def test_a_sound_draft_is_clean(draft: Draft) -> None:
    assert rules(draft) == set()
    require_clean(draft.body(), expected(draft))


_BASIC, _USAGE = ExtensionOID.BASIC_CONSTRAINTS, ExtensionOID.KEY_USAGE
_EXTENDED, _NAMES = ExtensionOID.EXTENDED_KEY_USAGE, ExtensionOID.SUBJECT_ALTERNATIVE_NAME
_SKI, _AKI = ExtensionOID.SUBJECT_KEY_IDENTIFIER, ExtensionOID.AUTHORITY_KEY_IDENTIFIER
_AIA, _CDP = ExtensionOID.AUTHORITY_INFORMATION_ACCESS, ExtensionOID.CRL_DISTRIBUTION_POINTS
_POISON = ExtensionOID.PRECERT_POISON


def names_extension(*texts: str, is_critical: bool = False) -> bytes:
    value = general_names(named(*texts)).public_bytes()
    return content.extension(_NAMES, value, is_critical=is_critical)


def raw_names(*names: x509.GeneralName) -> bytes:
    return content.extension(_NAMES, x509.SubjectAlternativeName(names).public_bytes())


def extended(*usages: x509.ObjectIdentifier) -> bytes:
    return content.extension(_EXTENDED, x509.ExtendedKeyUsage(usages).public_bytes())


SERVER, CLIENT, ANY = (
    x509.ExtendedKeyUsageOID.SERVER_AUTH,
    x509.ExtendedKeyUsageOID.CLIENT_AUTH,
    x509.ExtendedKeyUsageOID.ANY_EXTENDED_KEY_USAGE,
)
OTHER = content.key_identifier(KeySigner.generate(KeyKind.P256).public_key)

FAULTS: dict[str, tuple[str, Callable[[Draft], Draft]]] = {
    "short serial": ("serial", lambda each: replace(each, serial=1)),
    "long serial": ("serial", lambda each: replace(each, serial=1 << 160)),
    "negative serial": ("serial", lambda each: replace(each, serial=-SERIAL)),
    "ends first": ("validity", lambda each: replace(each, validity=Validity(NOW, NOW - 1))),
    "too long": ("validity", lambda each: replace(each, validity=Validity(NOW, NOW + 10**8))),
    "outlives": (
        "validity",
        lambda each: replace(
            each,
            validity=Validity(
                each.issuer.validity.not_after_s - 10, each.issuer.validity.not_after_s + 10
            ),
        ),
    ),
    "key of the issuer": (
        "subjectKeyIdentifier",
        lambda each: replace(each, key=KeySigner.generate(KeyKind.P256)),
    ),
    "key of another profile": (
        "key",
        lambda each: replace(each, key=KeySigner.generate(KeyKind.ML_DSA_44)),
    ),
    "other common name": (
        "subject",
        lambda each: replace(each, subject=content.subject_of(named("dns:other.example"))),
    ),
    "more than a common name": (
        "subject",
        lambda each: replace(
            each,
            subject=x509.Name(
                [x509.NameAttribute(x509.NameOID.ORGANIZATION_NAME, "Example")]
            ).public_bytes(),
        ),
    ),
    "empty subject": ("critical", lambda each: replace(each, subject=der.sequence())),
    "no names": ("subjectAltName", lambda each: each.without(_NAMES)),
    "empty names": ("subjectAltName", lambda each: each.without(_NAMES, raw_names())),
    "wrong name": (
        "subjectAltName",
        lambda each: each.without(_NAMES, raw_names(x509.DNSName("a_b.example.internal"))),
    ),
    "twice a name": (
        "subjectAltName",
        lambda each: each.without(
            _NAMES,
            raw_names(x509.DNSName("www.example.internal"), x509.DNSName("www.example.internal")),
        ),
    ),
    "a user's name": (
        "subjectAltName",
        lambda each: each.without(_NAMES, names_extension("email:a@example.internal")),
    ),
    "critical names": (
        "critical",
        lambda each: each.without(_NAMES, names_extension(*NAMES[Kind.SERVICE], is_critical=True)),
    ),
    "a CA": (
        "basicConstraints",
        lambda each: each.without(
            _BASIC, content.extension(_BASIC, der.sequence(der.boolean(1)), is_critical=True)
        ),
    ),
    "no basic constraints": ("basicConstraints", lambda each: each.without(_BASIC)),
    "basic constraints not critical": (
        "critical",
        lambda each: each.without(_BASIC, content.extension(_BASIC, der.sequence())),
    ),
    "signs certificates": (
        "keyUsage",
        lambda each: each.without(
            _USAGE, content.extension(_USAGE, content._usage({0, 5}), is_critical=True)
        ),
    ),
    "enciphers keys": (
        "keyUsage",
        lambda each: each.without(
            _USAGE, content.extension(_USAGE, content._usage({0, 2}), is_critical=True)
        ),
    ),
    "agrees on keys": (
        "keyUsage",
        lambda each: each.without(
            _USAGE, content.extension(_USAGE, content._usage({0, 4}), is_critical=True)
        ),
    ),
    "no usage": ("keyUsage", lambda each: each.without(_USAGE)),
    "any usage": ("extKeyUsage", lambda each: each.without(_EXTENDED, extended(SERVER, ANY))),
    "a client's usage": ("extKeyUsage", lambda each: each.without(_EXTENDED, extended(CLIENT))),
    "no extended usage": ("extKeyUsage", lambda each: each.without(_EXTENDED)),
    "other issuer's key": (
        "authorityKeyIdentifier",
        lambda each: each.without(
            _AKI,
            content.extension(_AKI, der.sequence(der.context(0, OTHER, is_constructed=False))),
        ),
    ),
    "no issuer's key": ("authorityKeyIdentifier", lambda each: each.without(_AKI)),
    "other subject key": (
        "subjectKeyIdentifier",
        lambda each: each.without(_SKI, content.extension(_SKI, der.octets(OTHER))),
    ),
    "no list": ("cRLDistributionPoints", lambda each: each.without(_CDP)),
    "another's list": (
        "cRLDistributionPoints",
        lambda each: each.without(
            _CDP, content.extension(_CDP, content.points("http://pki.example.internal/x.crl"))
        ),
    ),
    "nobody to ask": ("authorityInfoAccess", lambda each: each.without(_AIA)),
    "no poison": ("logs", lambda each: each.without(_POISON)),
    "poison that harms nobody": (
        "critical",
        lambda each: each.without(_POISON, content.extension(_POISON, der.tlv(der.NULL))),
    ),
    "an extension twice": ("form", lambda each: each.also(content.POISON)),
    "an unknown extension": (
        "extension",
        lambda each: each.also(content.extension(x509.ObjectIdentifier("1.2.3"), b"\x05\x00")),
    ),
    "a responder's extension": (
        "noCheck",
        lambda each: each.also(content.extension(ExtensionOID.OCSP_NO_CHECK, b"\x05\x00")),
    ),
    "an alternative signature": (
        "altSignature",
        lambda each: each.also(
            content.extension(oids.ALT_SIGNATURE_ALGORITHM, alternative.ALGORITHM)
        ),
    ),
    "a broken second key": (
        "subjectAltPublicKeyInfo",
        lambda each: each.also(content.extension(oids.SUBJECT_ALT_PUBLIC_KEY, b"\x05\x00")),
    ),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_planted_fault_is_found(draft: Draft, fault: str) -> None:
    rule, spoil = FAULTS[fault]
    spoiled = spoil(draft)
    assert rule in rules(spoiled)
    with pytest.raises(LintFailed, match=rule):
        require_clean(spoiled.body(), expected(spoiled))


def test_other_parts_of_the_body(draft: Draft, authority: IssuingAuthority) -> None:
    body = draft.body()
    parts = [part.encoded for part in der.read(body).children()]

    def found(**changed: bytes) -> set[str]:
        spoiled = [changed.get(f"p{number}", part) for number, part in enumerate(parts)]
        return {each.rule for each in lint(der.sequence(*spoiled), expected(draft))}

    assert found() == set()
    assert "form" in found(p0=der.context(0, der.integer(7)))
    assert "algorithm" in found(p2=SIGNATURES[KeyKind.P384][0].identifier)
    assert "issuer" in found(p3=draft.subject)
    late = der.sequence(der.generalized(NOW), der.generalized(NOW + 60))
    assert found(p4=late) & {"validity", "form"}
    assert "form" in found(p7=b"")
    for length in range(len(body)):
        assert lint(body[:length], expected(draft))


def test_the_key_of_the_issuer_is_found(classic: Company, authority: IssuingAuthority) -> None:
    assert isinstance(classic.signer, KeySigner)
    assert "key" in rules(drafted(authority, classic.signer))


def test_name_constraints_of_the_issuer_are_held(draft: Draft) -> None:
    bound = x509.NameConstraints([subtree("dns:other.internal")], None)
    spoiled = replace(draft, issuer=replace(draft.issuer, constraints=bound))
    assert "subjectAltName" in rules(spoiled)


def test_the_certificate_after_its_precertificate(
    classic: Company, authority: IssuingAuthority
) -> None:
    answer = authority.issue(order(authority), NOW)
    submission = classic.log.submissions[answer.log_index]
    assert isinstance(submission, Precertificate)
    scts = content.scts([answer.sct])
    require_successor(content.with_extension(submission.tbs, scts), submission.tbs)
    other = der.first(authority.issue(order(authority), NOW).chain[0])
    critical = content.extension(
        ExtensionOID.PRECERT_SIGNED_CERTIFICATE_TIMESTAMPS,
        der.octets(content.sct_list([answer.sct])),
        is_critical=True,
    )
    for wrong in (
        other,
        submission.tbs,
        content.with_extension(submission.tbs, content.POISON),
        content.with_extension(submission.tbs, content.scts([bytes(100)])),
        content.with_extension(content.with_extension(submission.tbs, scts), content.POISON),
        content.with_extension(submission.tbs, critical),
    ):
        with pytest.raises(LintFailed, match="logs"):
            require_successor(wrong, submission.tbs)


def test_authorities_are_linted_too(classic: Company, authority: IssuingAuthority) -> None:
    issuing, root = authority.chain()
    above = Issuer.of(root, authority.issuer.places)
    algorithm = SIGNATURES[KeyKind.P384][0].identifier
    body = der.first(issuing)
    good = Expected(PROFILES["classic"], above, algorithm, None, 86_400 * 3650)
    assert lint(body, good) == []
    for wrong in (
        replace(good, path_length=1),
        replace(good, kind=Kind.SERVICE),
        replace(good, profile=PROFILES["pq"]),
        replace(good, lifetime_max_s=86_400),
        replace(good, issuer=None),
    ):
        assert lint(body, wrong)
