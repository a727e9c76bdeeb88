"""The ceremony: what is carried, what is refused, and how a compromised issuing CA is replaced."""

from __future__ import annotations

import stat
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.x509.oid import ExtensionOID

from hypermesh.crypto.falcon import FalconKey
from hypermesh.crypto.keystore import KeyStore, PassphraseNeeded
from hypermesh.crypto.passphrase import PassphraseWrong
from hypermesh.trustchain import alternative
from hypermesh.trustchain.ca.algorithm import KeyKind, KeyRefused
from hypermesh.trustchain.ca.audit import check
from hypermesh.trustchain.ca.authority import AuthorityMissing
from hypermesh.trustchain.ca.ceremony import (
    CeremonyRefused,
    found_root,
    install,
    open_root,
    read_pem,
    read_pem_request,
    request_issuing,
)
from hypermesh.trustchain.ca.content import Places
from hypermesh.trustchain.ca.issuing import (
    CertificateUnknown,
    IssuerMissing,
    IssuingAuthority,
    State,
    open_issuing,
)
from hypermesh.trustchain.ca.lists import serials
from hypermesh.trustchain.ca.names import NameForbidden, subtree
from hypermesh.trustchain.ca.profile import DAY_S, PROFILES, Kind
from hypermesh.trustchain.ca.request import PossessionUnproved, write_request
from hypermesh.trustchain.ca.rotation import rotate
from hypermesh.trustchain.ca.signer import KeySigner, SignerUnusable, stored_signer
from hypermesh.trustchain.ca.store import Reason, whole_audit
from hypermesh.trustchain.verify import fingerprint
from hypermesh.wire.errors import InvalidInput

from .companies import EVERYTHING, NOW, PLACES, Company, company, issued, order, parsed

INSIDE = x509.NameConstraints([subtree("dns:example.internal")], None)


def test_the_root_key_is_sealed_and_never_carried(tmp_path: Path) -> None:
    keys = KeyStore(tmp_path / "keys", "several words to seal it")
    root = found_root(tmp_path, keys, "Example", PROFILES["classic"], PLACES, NOW)
    assert keys.protected
    assert stat.S_IMODE((tmp_path / "keys" / "root.key").stat().st_mode) == 0o600
    assert read_pem((tmp_path / "root.pem").read_bytes()) == [root.certificate]
    root.close()
    with pytest.raises(PassphraseWrong):
        open_root(tmp_path, KeyStore(tmp_path / "keys", "other words to try it"))
    with pytest.raises(PassphraseNeeded):
        open_root(tmp_path, KeyStore(tmp_path / "keys"))


def test_founding_again_changes_nothing(classic: Company) -> None:
    keys = KeyStore(classic.offline / "keys")
    again = found_root(classic.offline, keys, "Other", PROFILES["classic"], PLACES, NOW + 5)
    assert again.certificate == classic.root.certificate
    assert again.organization == "Example"
    again.close()


def test_founding_completes_what_a_crash_left(tmp_path: Path) -> None:
    """A key without a certificate, and then a certificate without its file."""
    keys = KeyStore(tmp_path / "keys")
    stored_signer(keys, "root", KeyKind.P384, is_hybrid=False)
    with pytest.raises(AuthorityMissing):
        open_root(tmp_path, keys)
    first = found_root(tmp_path, keys, "Example", PROFILES["classic"], PLACES, NOW)
    first.close()
    (tmp_path / "root.pem").unlink()
    again = found_root(tmp_path, keys, "Example", PROFILES["classic"], PLACES, NOW)
    assert again.certificate == first.certificate
    assert read_pem((tmp_path / "root.pem").read_bytes()) == [first.certificate]
    again.close()


def test_a_root_says_what_it_is(any_company: Company) -> None:
    root = parsed(any_company.root.certificate)
    root.verify_directly_issued_by(root)
    basic = root.extensions.get_extension_for_class(x509.BasicConstraints).value
    assert (basic.ca, basic.path_length) == (True, 1)
    assert [entry.kind for entry in (row.entry for row in whole_audit(any_company.root.store))][
        :1
    ] == ["ca.found"]


def test_one_key_is_certified_once(any_company: Company) -> None:
    """A request carried again, signed anew, has the certificate it had."""
    request = request_issuing(any_company.online, any_company.signer, any_company.second, "Example")
    carried = read_pem_request((any_company.online / "issuing.csr").read_bytes())
    assert carried == request
    certificate = any_company.root.certify_issuing(carried, NOW + 99)
    assert read_pem((any_company.online / "issuing.pem").read_bytes()) == [
        certificate,
        any_company.root.certificate,
    ]
    serial = parsed(certificate).serial_number
    file = any_company.offline / f"issuing-{serial:x}.pem"
    assert read_pem(file.read_bytes())[0] == certificate


def test_requests_that_the_root_refuses(classic: Company, tmp_path: Path) -> None:
    root, name = classic.root, x509.Name([])
    with pytest.raises(KeyRefused, match="another key"):
        root.certify_issuing(write_request(KeySigner.generate(KeyKind.ED25519), name, ()), NOW)
    hybrid = write_request(KeySigner.generate(KeyKind.P256), name, (), FalconKey.generate())
    with pytest.raises(KeyRefused, match="hybrid"):
        root.certify_issuing(hybrid, NOW)
    own = write_request(root._signer, name, ())
    with pytest.raises(KeyRefused, match="the key of the root"):
        root.certify_issuing(own, NOW)
    with pytest.raises(CertificateUnknown):
        root.revoke(1234, Reason.UNSPECIFIED, NOW)
    wrong = bytearray(write_request(KeySigner.generate(KeyKind.P256), name, ()))
    wrong[-1] ^= 1
    with pytest.raises(PossessionUnproved):
        root.certify_issuing(bytes(wrong), NOW)
    for text in (b"", b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"):
        with pytest.raises(CeremonyRefused):
            read_pem(text)
        with pytest.raises(CeremonyRefused):
            read_pem_request(text)
    with pytest.raises(InvalidInput, match="http://"):
        found_root(
            tmp_path,
            KeyStore(tmp_path / "keys"),
            "Example",
            PROFILES["classic"],
            Places("https://pki.example.internal"),
            NOW,
        )


def test_only_what_the_root_signed_is_installed(any_company: Company, tmp_path: Path) -> None:
    profile = any_company.profile
    other = company(tmp_path / "other", profile.name)
    theirs = read_pem((other.online / "issuing.pem").read_bytes())[0]
    mine = any_company.root.certificate
    target = tmp_path / "target"
    with pytest.raises(CeremonyRefused, match="does not come from"):
        install(target, theirs, mine, profile, PLACES, NOW)
    with pytest.raises(CeremonyRefused, match="no certificate of an issuing CA"):
        install(target, mine, mine, profile, PLACES, NOW)
    altered = bytearray(theirs)
    altered[-3] ^= 1
    with pytest.raises(CeremonyRefused):
        install(target, bytes(altered), other.root.certificate, profile, PLACES, NOW)
    authority = other.open()
    leaf = issued(authority).chain[0]
    authority.close()
    with pytest.raises(InvalidInput, match="no certificate of a CA"):
        install(target, leaf, mine, profile, PLACES, NOW)
    assert not target.exists()


def test_a_hybrid_root_signs_with_both_keys(tmp_path: Path) -> None:
    firm = company(tmp_path, "hybrid")
    issuing, root = read_pem((firm.online / "issuing.pem").read_bytes())
    public = alternative.key_in(parsed(root))
    assert public is not None
    assert alternative.holds(parsed(issuing), public)
    with pytest.raises(CeremonyRefused, match="profile"):
        install(tmp_path / "x", issuing, root, PROFILES["classic"], PLACES, NOW)


def test_an_issuing_authority_bound_to_names(tmp_path: Path) -> None:
    firm = company(tmp_path, "classic")
    key = KeySigner.generate(KeyKind.P256)
    request = request_issuing(tmp_path / "bound", key, None, "Example")
    constraints = x509.NameConstraints(
        [subtree("dns:apps.example.internal"), subtree("ip:2001:db8:1::/48")],
        [subtree("dns:secret.apps.example.internal")],
    )
    certificate = firm.root.certify_issuing(request, NOW, constraints)
    named = parsed(certificate).extensions.get_extension_for_class(x509.NameConstraints)
    assert named.critical
    assert named.value == constraints
    install(tmp_path / "bound", certificate, firm.root.certificate, firm.profile, PLACES, NOW)
    authority = open_issuing(
        tmp_path / "bound", firm.root.certificate, key, None, firm.log, EVERYTHING
    )
    authority.issue(
        order(authority, names=["dns:a.apps.example.internal", "ip:2001:db8:1::9"]), NOW
    )
    for name in (
        "dns:www.example.internal",
        "dns:a.secret.apps.example.internal",
        "dns:*.apps.example.internal",
        "ip:2001:db8:2::1",
        "ip:192.0.2.1",
    ):
        with pytest.raises(NameForbidden, match="issuer may certify"):
            authority.issue(order(authority, names=[name]), NOW)
    authority.close()


def test_a_partner_is_trusted_for_its_names_alone(any_company: Company) -> None:
    root, profile = any_company.root, any_company.profile
    partner = KeySigner.generate(profile.issuing)
    second = FalconKey.generate() if profile.is_hybrid else None
    subject = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "Partner Issuing CA")])
    request = write_request(partner, subject, (), second)
    partners = x509.NameConstraints([subtree("dns:partner.internal")], None)
    certificate = parsed(root.certify_federation(request, NOW, partners))
    certificate.verify_directly_issued_by(parsed(root.certificate))
    assert certificate.subject == subject
    basic = certificate.extensions.get_extension_for_class(x509.BasicConstraints).value
    assert (basic.ca, basic.path_length) == (True, 0)
    constraints = certificate.extensions.get_extension_for_oid(ExtensionOID.NAME_CONSTRAINTS)
    assert (constraints.critical, constraints.value) == (True, partners)
    with pytest.raises(CeremonyRefused, match="permitted"):
        root.certify_federation(request, NOW, x509.NameConstraints(None, [subtree("dns:a.b")]))
    nameless = write_request(partner, x509.Name([]), (), second)
    with pytest.raises(CeremonyRefused, match="no subject"):
        root.certify_federation(nameless, NOW, partners)
    mine = write_request(partner, parsed(root.certificate).subject, (), second)
    with pytest.raises(CeremonyRefused, match="name of this root"):
        root.certify_federation(mine, NOW, partners)


@pytest.mark.parametrize("days", [180, 30])
def test_the_list_of_an_offline_root_is_good_for_long(classic: Company, days: int) -> None:
    told = (NOW,) if days == 180 else (NOW, days * DAY_S)
    listed = x509.load_der_x509_crl(classic.root.revocation_list(*told))
    assert listed.next_update_utc is not None
    assert listed.next_update_utc.timestamp() == NOW + days * DAY_S
    again = x509.load_der_x509_crl(classic.root.revocation_list(NOW + 1))
    assert again.last_update_utc > listed.last_update_utc, "each time it is made anew"


def test_a_compromised_authority_is_replaced(tmp_path: Path) -> None:
    firm = company(tmp_path, "classic")
    old = firm.open()
    before = issued(old)
    assert old.renewal(before.serial, NOW).start_s > NOW
    key = KeySigner.generate(KeyKind.P256)
    made = rotate(firm.root, firm.online, key, None, NOW + 10, "operator")
    # Run again, as after a crash: the same.
    again = rotate(firm.root, firm.online, key, None, NOW + 20, "operator")
    assert again.certificate == made.certificate
    revoked = parsed(before.chain[1]).serial_number
    assert serials(made.revocation_list) == {revoked} == serials(again.revocation_list)
    assert (firm.online / "root.crl").read_bytes() == again.revocation_list

    with pytest.raises(SignerUnusable):
        firm.open()
    fresh = open_issuing(
        firm.online, firm.root.certificate, key, None, firm.log, EVERYTHING, firm.acts
    )
    after = issued(fresh)
    assert after.chain[1:] == (made.certificate, firm.root.certificate)
    parsed(after.chain[0]).verify_directly_issued_by(parsed(made.certificate))
    # All that the old one issued is to be renewed now; what the new one issues is not.
    assert fresh.renewal(before.serial, NOW + 30).end_s < NOW + 30
    assert fresh.renewal(after.serial, NOW + 30).start_s > NOW + 30
    # Old certificates can still be found, and revoked one by one.
    assert fresh.find(before.chain[0]) is not None
    fresh.revoke(before.serial, Reason.CA_COMPROMISE, NOW + 31, "operator")
    assert fresh.status(before.serial).state is State.REVOKED
    kinds = [row.entry.kind for row in whole_audit(fresh.store)]
    assert kinds == ["ca.install", "ca.issue", "ca.retire", "ca.install", "ca.issue", "ca.revoke"]
    assert check(whole_audit(fresh.store)) == 6
    assert [act.kind for act in firm.acts.acts] == [kind for kind in kinds if kind != "ca.issue"]
    fresh.close()
    old.close()


def test_there_must_be_something_to_replace(tmp_path: Path) -> None:
    firm = company(tmp_path, "classic")
    with pytest.raises(IssuerMissing, match="none to replace"):
        rotate(firm.root, tmp_path / "empty", firm.signer, None, NOW, "operator")


def test_a_planned_change_leaves_what_was_issued(tmp_path: Path) -> None:
    firm = company(tmp_path, "classic")
    old = firm.open()
    before = issued(old, Kind.NODE)
    key = KeySigner.generate(KeyKind.P256)
    request = request_issuing(firm.online, key, None, "Example")
    certificate = firm.root.certify_issuing(request, NOW)
    install(
        firm.online, certificate, firm.root.certificate, firm.profile, PLACES, NOW + 5, shards=4
    )
    fresh: IssuingAuthority = open_issuing(
        firm.online, firm.root.certificate, key, None, firm.log, EVERYTHING
    )
    assert fresh.status(before.serial).state is State.GOOD
    assert fresh.renewal(before.serial, NOW).start_s > NOW
    assert fingerprint(fresh.chain()[0]) != fingerprint(before.chain[1])
    fresh.close()
    old.close()
