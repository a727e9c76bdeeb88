"""The company's authority behind the ACME server, in each of its profiles."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding
from tests.trustchain.ca.companies import EVERYTHING, LEAVES, NOW, Company, company, request

from hypermesh.trustchain.acme.authority import AccountsMay, AuthorityIssuer, Offer
from hypermesh.trustchain.acme.identifier import Identifier, IdentifierKind
from hypermesh.trustchain.acme.issuer import CertificateId, CertificateRequest
from hypermesh.trustchain.acme.problem import AcmeRefusal
from hypermesh.trustchain.ca.issuing import (
    CertificateUnknown,
    IssuingAuthority,
    State,
    open_issuing,
)
from hypermesh.trustchain.ca.names import NameForbidden, Permission
from hypermesh.trustchain.ca.profile import Kind
from hypermesh.trustchain.ca.signer import KeySigner
from hypermesh.trustchain.ca.store import Reason

from .client import b64
from .world import world

NAME = "www.example.internal"
MAY = Permission(("dns:.example.internal",))
DAY_S = 86_400


@contextmanager
def opened(
    directory: Path, profile: str
) -> Iterator[tuple[Company, IssuingAuthority, AuthorityIssuer]]:
    made = company(directory, profile)
    policy = AccountsMay(MAY, frozenset({Kind.SERVICE}), EVERYTHING)
    authority = open_issuing(
        made.online, made.root.certificate, made.signer, made.second, made.log, policy, made.acts
    )
    offers = {
        profile: Offer(authority, f"{profile}, a week"),
        "short": Offer(authority, "a day", lifetime_s=DAY_S),
    }
    try:
        yield made, authority, AuthorityIssuer(offers)
    finally:
        authority.close()
        made.root.close()


def asked(
    profile: str, names: tuple[str, ...] = (f"dns:{NAME}",), order: str = "o"
) -> CertificateRequest:
    der = request(KeySigner.generate(LEAVES[profile][-1]), names)
    identifiers = tuple(Identifier(IdentifierKind.DNS, each.partition(":")[2]) for each in names)
    return CertificateRequest(order, "account", der, identifiers, profile)


@pytest.mark.parametrize("profile", LEAVES)
def test_certificates_of_each_profile_by_acme(tmp_path: Path, profile: str) -> None:
    async def run() -> None:
        with opened(tmp_path, profile) as (made, authority, issuer):
            async with world(tmp_path, issuer=issuer, now_s=NOW) as here:
                client = await here.member()
                assert list(client.directory["meta"]["profiles"]) == [profile, "short"]
                _, order = await here.ready(client, NAME)
                der = request(KeySigner.generate(LEAVES[profile][-1]), (f"dns:{NAME}",))
                done = await client.post(order["finalize"], {"csr": b64(der)})
                assert done.json()["status"] == "valid", done.text
                pem = await client.post(done.json()["certificate"])
                leaf, issuing = x509.load_pem_x509_certificates(pem.content)
                root = x509.load_der_x509_certificate(made.root.certificate)
                leaf.verify_directly_issued_by(issuing)
                issuing.verify_directly_issued_by(root)
                names = leaf.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
                assert names.get_values_for_type(x509.DNSName) == [NAME]
                assert len(made.log.entries) == 1

                identifier = CertificateId.of(leaf)
                where = f"{client.directory['renewalInfo']}/{identifier}"
                window = (await client.http.get(where)).json()["suggestedWindow"]
                renewed = await client.order(NAME, replaces=str(identifier))
                assert renewed.status_code == 201, renewed.text

                revocation = {"certificate": b64(leaf.public_bytes(Encoding.DER)), "reason": 1}
                answer = await client.post(client.directory["revokeCert"], revocation)
                assert answer.status_code == 200, answer.text
                status = authority.status(leaf.serial_number)
                assert (status.state, status.reason) == (State.REVOKED, Reason.KEY_COMPROMISE)
                answer = await client.post(client.directory["revokeCert"], revocation)
                assert answer.json()["type"].endswith(":alreadyRevoked")
                now = (await client.http.get(where)).json()["suggestedWindow"]
                assert now["end"] < window["start"], "it is to be renewed at once"

    asyncio.run(run())


def test_one_order_has_one_certificate_and_another_another(tmp_path: Path) -> None:
    with opened(tmp_path, "classic") as (made, _, issuer):
        wanted = asked("classic")
        first = issuer.issue(wanted, NOW)
        assert issuer.issue(wanted, NOW + 60) == first
        other = CertificateRequest("p", "account", wanted.csr, wanted.identifiers, "classic")
        assert issuer.issue(other, NOW) != first
        assert len(made.log.entries) == 2
        found = issuer.find(CertificateId.of(x509.load_der_x509_certificate(first[0])))
        assert (found.certificate, found.account, found.is_revoked) == (first[0], "account", False)


def test_what_the_authority_does_not_allow(tmp_path: Path) -> None:
    with opened(tmp_path, "classic") as (_, authority, issuer):
        for names in (("dns:other.example",), ("dns:*.example.internal",)):
            with pytest.raises(NameForbidden):
                issuer.issue(asked("classic", names), NOW)
        unknown = CertificateId(authority.issuer.key_id, 7)
        assert issuer.find(unknown) is None
        assert issuer.renewal_window(unknown, NOW) is None
        with pytest.raises(CertificateUnknown):
            issuer.revoke(unknown, None, 0, NOW)
        made = x509.load_der_x509_certificate(issuer.issue(asked("classic"), NOW)[0])
        elsewhere = CertificateId(b"another authority...", made.serial_number)
        assert issuer.find(elsewhere) is None
        issuer.change({"other": Offer(authority, "another")})
        with pytest.raises(AcmeRefusal):
            issuer.issue(asked("classic", order="p"), NOW)


def test_a_refusal_of_the_authority_ends_the_order(tmp_path: Path) -> None:
    async def run() -> None:
        with opened(tmp_path, "classic") as (_, _, issuer):
            async with world(tmp_path, issuer=issuer, now_s=NOW) as here:
                client = await here.member()
                _, order = await here.ready(client, "other.example")
                der = request(KeySigner.generate(LEAVES["classic"][0]), ("dns:other.example",))
                done = await client.post(order["finalize"], {"csr": b64(der)})
                assert done.json()["status"] == "invalid"
                assert "other.example" in done.json()["error"]["detail"]

    asyncio.run(run())


def test_an_order_waits_while_the_log_is_down(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from hypermesh.trustchain.acme import issuance

    monkeypatch.setattr(issuance, "PAUSES_S", (0.01,) * 10_000)

    async def run() -> None:
        with opened(tmp_path, "classic") as (made, _, issuer):
            async with world(tmp_path, issuer=issuer, now_s=NOW) as here:
                client = await here.member()
                url, order = await here.ready(client, NAME)
                der = request(KeySigner.generate(LEAVES["classic"][0]), (f"dns:{NAME}",))
                made.log.is_down = True
                other = await here.client(client.key)
                other.kid = client.kid
                answer = asyncio.create_task(client.post(order["finalize"], {"csr": b64(der)}))
                assert (await other.until(url, "processing", "invalid"))["status"] == "processing"
                made.log.is_down = False
                assert (await answer).json()["status"] == "valid"
                assert len(made.log.entries) == 1

    asyncio.run(run())
