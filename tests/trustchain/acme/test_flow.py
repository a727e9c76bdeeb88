"""From an account to a certificate, and what becomes of it (RFC 8555 section 7)."""

from __future__ import annotations

import asyncio
import datetime as dt
import ipaddress
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import Encoding

from hypermesh.trustchain.acme import orders

from .client import b64, csr, jwk, jws, p256
from .world import URL, world


def leaf(pem: str) -> x509.Certificate:
    return x509.load_pem_x509_certificates(pem.encode())[0]


def dns_names(certificate: x509.Certificate) -> list[str]:
    names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    return names.get_values_for_type(x509.DNSName)


def test_a_certificate_is_obtained(tmp_path: Path) -> None:
    async def run() -> None:
        async with world(tmp_path) as here:
            client = await here.member()
            certificate = leaf(await here.obtain(client, "a.example", "b.example"))
            assert dns_names(certificate) == ["a.example", "b.example"]
            certificate.verify_directly_issued_by(here.authority.root)

    asyncio.run(run())


def test_the_directory(tmp_path: Path) -> None:
    async def run() -> None:
        async with world(tmp_path, terms_of_service="https://ca.test/terms") as here:
            client = await here.client()
            directory = client.directory
            assert directory["newNonce"] == f"{URL}/new-nonce"
            assert directory["meta"]["termsOfService"] == "https://ca.test/terms"
            assert directory["meta"]["profiles"].keys() == {"classic", "short"}
            assert directory["meta"]["externalAccountRequired"] is False
            for method, status in (("HEAD", 200), ("GET", 204)):
                answer = await client.http.request(method, directory["newNonce"])
                assert answer.status_code == status
                assert answer.headers["cache-control"] == "no-store"
                assert answer.headers["link"] == f'<{URL}/directory>;rel="index"'

    asyncio.run(run())


KEYS = {
    "ES256": p256,
    "ES384": lambda: ec.generate_private_key(ec.SECP384R1()),
    "RS256": lambda: rsa.generate_private_key(65537, 2048),
    "EdDSA": ed25519.Ed25519PrivateKey.generate,
}


@pytest.mark.parametrize("kind", KEYS)
def test_accounts_of_every_key(tmp_path: Path, kind: str) -> None:
    async def run() -> None:
        async with world(tmp_path) as here:
            client = await here.member(KEYS[kind](), contact=["mailto:a@b.example"])
            mine = await client.post(client.kid, {"contact": ["mailto:c@d.example"]})
            assert mine.json()["contact"] == ["mailto:c@d.example"]
            again = await here.client(client.key)
            known = await again.register(onlyReturnExisting=True)
            assert (known.status_code, again.kid) == (200, client.kid)
            assert known.json()["contact"] == ["mailto:c@d.example"]

    asyncio.run(run())


def test_a_deactivated_account_is_nobody(tmp_path: Path) -> None:
    async def run() -> None:
        async with world(tmp_path) as here:
            client = await here.member()
            done = await client.post(client.kid, {"status": "deactivated"})
            assert done.json()["status"] == "deactivated"
            answer = await client.order("a.example")
            assert (answer.status_code, kind(answer)) == (401, "unauthorized")
            client.kid = None
            assert kind(await client.register()) == "unauthorized"

    asyncio.run(run())


def kind(answer) -> str:
    assert answer.headers["content-type"] == "application/problem+json"
    return answer.json()["type"].removeprefix("urn:ietf:params:acme:error:")


def test_the_key_of_an_account_is_changed(tmp_path: Path) -> None:
    async def run() -> None:
        async with world(tmp_path) as here:
            client, other = await here.member(), await here.member()
            fresh = p256()
            url = client.directory["keyChange"]

            def inner(key, **changes):
                header = {"alg": "ES256", "jwk": jwk(key), "url": url}
                return jws(
                    key, header, {"account": client.kid, "oldKey": jwk(client.key)} | changes
                )

            taken = await client.post(url, inner(other.key))
            assert (taken.status_code, taken.headers["location"]) == (409, other.kid)
            assert kind(await client.post(url, inner(fresh, account=other.kid))) == "malformed"
            wrong = inner(fresh, oldKey=jwk(other.key))
            assert kind(await client.post(url, wrong)) == "malformed"
            altered = {**inner(fresh), "signature": inner(other.key)["signature"]}
            assert kind(await client.post(url, altered)) == "malformed"
            assert (await client.post(url, inner(fresh))).status_code == 200
            assert kind(await client.post(client.kid)) == "malformed", "the old key is gone"
            client.key = fresh
            assert (await client.post(client.kid)).status_code == 200

    asyncio.run(run())


def test_external_accounts_are_bound_once(tmp_path: Path) -> None:
    async def run() -> None:
        async with world(tmp_path, external_account_required=True) as here:
            client = await here.client()
            assert client.directory["meta"]["externalAccountRequired"] is True
            assert kind(await client.register()) == "externalAccountRequired"
            binding = await here.server.accounts.new_binding("a department")
            other = await here.server.accounts.new_binding("another")
            wrong = {
                "unauthorized": client.bound("nobody", binding.secret),
                "malformed": client.bound(binding.kid, other.secret),
            }
            for expected, document in wrong.items():
                assert kind(await client.register(externalAccountBinding=document)) == expected
            elsewhere = client.bound(binding.kid, binding.secret, url=f"{URL}/new-order")
            assert kind(await client.register(externalAccountBinding=elsewhere)) == "malformed"
            stranger = await here.client()
            theirs = stranger.bound(binding.kid, binding.secret)
            assert kind(await client.register(externalAccountBinding=theirs)) == "malformed"
            good = client.bound(binding.kid, binding.secret)
            assert (await client.register(externalAccountBinding=good)).status_code == 201
            used = await stranger.register(externalAccountBinding=theirs)
            assert kind(used) == "unauthorized"
            client.kid = None
            assert (await client.register()).status_code == 200

    asyncio.run(run())


def test_wildcards_are_by_dns_alone(tmp_path: Path) -> None:
    async def run() -> None:
        async with world(tmp_path) as here:
            client = await here.member()
            here.host("w.example")
            order = (await client.order("*.w.example")).json()
            document = (await client.post(order["authorizations"][0])).json()
            assert document["wildcard"] is True
            assert document["identifier"]["value"] == "w.example"
            assert [each["type"] for each in document["challenges"]] == ["dns-01"]
            await here.authorize(client, order, "dns-01")
            done = await client.post(order["finalize"], {"csr": b64(csr(["*.w.example"]))})
            assert done.json()["status"] == "valid"

    asyncio.run(run())


def test_addresses_are_certified_where_the_policy_has_them(tmp_path: Path) -> None:
    async def run() -> None:
        networks = (ipaddress.ip_network("127.0.0.0/8"),)
        async with world(tmp_path, addresses=networks) as here:
            client = await here.member()
            asked = {"identifiers": [{"type": "ip", "value": "127.0.0.1"}]}
            order = (await client.post(client.directory["newOrder"], asked)).json()
            document = (await client.post(order["authorizations"][0])).json()
            assert [each["type"] for each in document["challenges"]] == ["http-01", "tls-alpn-01"]
            await here.authorize(client, order)
            builder = x509.CertificateSigningRequestBuilder().subject_name(x509.Name([]))
            general = [x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]
            builder = builder.add_extension(x509.SubjectAlternativeName(general), critical=False)
            request = builder.sign(p256(), hashes.SHA256()).public_bytes(Encoding.DER)
            done = await client.post(order["finalize"], {"csr": b64(request)})
            assert done.json()["status"] == "valid"
            for value in ("10.0.0.1", "127.000.0.1", "::ffff:127.0.0.1"):
                asked["identifiers"][0]["value"] = value
                refused = await client.post(client.directory["newOrder"], asked)
                assert kind(refused) in ("rejectedIdentifier", "malformed")

    asyncio.run(run())


def test_profiles(tmp_path: Path) -> None:
    async def run() -> None:
        async with world(tmp_path) as here:
            client = await here.member()
            certificate = leaf(await here.obtain(client, "a.example", profile="short"))
            days = (certificate.not_valid_after_utc - certificate.not_valid_before_utc).days
            assert days == 6
            assert kind(await client.order("a.example", profile="none")) == "invalidProfile"

    asyncio.run(run())


def test_renewal_information_and_replacement(tmp_path: Path) -> None:
    async def run() -> None:
        async with world(tmp_path) as here:
            client, other = await here.member(), await here.member()
            certificate = leaf(await here.obtain(client, "a.example"))
            authority = certificate.extensions.get_extension_for_class(x509.AuthorityKeyIdentifier)
            serial = certificate.serial_number
            data = serial.to_bytes(serial.bit_length() // 8 + 1, "big")
            named = f"{b64(authority.value.key_identifier)}.{b64(data)}"
            where = f"{client.directory['renewalInfo']}/{named}"
            answer = await client.http.get(where)
            window = answer.json()["suggestedWindow"]
            start, end = (dt.datetime.fromisoformat(window[each]) for each in ("start", "end"))
            assert certificate.not_valid_before_utc < start < end < certificate.not_valid_after_utc
            assert int(answer.headers["retry-after"]) > 0
            assert (
                await client.http.get(f"{client.directory['renewalInfo']}/{named.replace('.', '')}")
            ).status_code == 400
            assert (await client.http.get(where.replace(b64(data), "Bw"))).status_code == 404
            assert kind(await other.order("a.example", replaces=named)) == "malformed"
            assert kind(await client.order("b.example", replaces=named)) == "malformed"
            first = await client.order("a.example", replaces=named)
            assert first.json()["replaces"] == named
            again = await client.order("a.example", replaces=named)
            assert (again.status_code, kind(again)) == (409, "alreadyReplaced")
            await client.post(first.json()["authorizations"][0], {"status": "deactivated"})
            assert (await client.post(first.headers["location"])).json()["status"] == "invalid"
            assert (await client.order("a.example", replaces=named)).status_code == 201

    asyncio.run(run())


def test_revocation_by_account_by_control_and_by_the_certificates_key(tmp_path: Path) -> None:
    async def run() -> None:
        async with world(tmp_path) as here:
            client, other = await here.member(), await here.member()
            url = client.directory["revokeCert"]

            async def made(key=None) -> tuple[x509.Certificate, dict]:
                certificate = leaf(await here.obtain(client, "a.example", key=key))
                return certificate, {"certificate": b64(certificate.public_bytes(Encoding.DER))}

            certificate, asked = await made()
            assert kind(await other.post(url, asked)) == "unauthorized"
            wrong = await client.post(url, asked | {"reason": 6})
            assert kind(wrong) == "badRevocationReason"
            assert (await client.post(url, asked | {"reason": 4})).status_code == 200
            assert here.authority.reason(certificate) == 4
            assert kind(await client.post(url, asked)) == "alreadyRevoked"

            certificate, asked = await made()
            await here.ready(other, "a.example")
            assert (await other.post(url, asked)).status_code == 200, "it controls the name"
            assert other.kid is not None
            assert here.authority.revoked_by(certificate) == other.kid.rpartition("/")[2]

            key = p256()
            certificate, asked = await made(key)
            nobody = await here.client(p256())
            assert kind(await nobody.post(url, asked)) == "unauthorized"
            holder = await here.client(key)
            assert (await holder.post(url, asked | {"reason": 1})).status_code == 200
            assert here.authority.reason(certificate) == 1
            assert here.authority.revoked_by(certificate) is None

            foreign = x509.CertificateBuilder(
                x509.Name([]),
                x509.Name([]),
                key.public_key(),
                7,
                certificate.not_valid_before_utc,
                certificate.not_valid_after_utc,
            ).sign(key, hashes.SHA256())
            asked = {"certificate": b64(foreign.public_bytes(Encoding.DER))}
            assert (await holder.post(url, asked)).status_code == 404

    asyncio.run(run())


def test_orders_are_listed_in_pages(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(orders, "PAGE", 2)

    async def run() -> None:
        async with world(tmp_path) as here:
            client = await here.member()
            made = [(await client.order("a.example")).headers["location"] for _ in range(5)]
            found: list[str] = []
            where = (await client.post(client.kid)).json()["orders"]
            for _ in range(3):
                page = await client.post(where)
                found += page.json()["orders"]
                where = page.headers["link"].partition('>;rel="next"')[0].rpartition("<")[2]
            assert sorted(found) == sorted(made)
            assert 'rel="next"' not in page.headers["link"]
            other = await here.member()
            assert kind(await other.post(f"{client.kid}/orders")) == "unauthorized"

    asyncio.run(run())


def test_what_ends_is_removed_and_what_was_issued_is_kept(tmp_path: Path) -> None:
    async def run() -> None:
        async with world(tmp_path) as here:
            client = await here.member()
            await here.obtain(client, "kept.example")
            issued = (await client.post(f"{client.kid}/orders")).json()["orders"]
            pending = (await client.order("a.example")).headers["location"]
            assert await here.server.expire() == 0
            here.now_s += here.policy.order_lifetime_s + 1
            assert (await client.post(pending)).json()["status"] == "invalid"
            here.now_s += here.policy.kept_s
            await here.server.expire()
            assert (await client.post(pending)).status_code == 404
            assert (await client.post(issued[0])).json()["status"] == "valid"
            here.now_s += 100 * 86_400
            await here.server.expire()
            assert (await client.post(issued[0])).status_code == 404
            assert here.store.read(lambda tables: tables.orders()) == 0

    asyncio.run(run())
