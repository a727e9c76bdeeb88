"""Requests that are wrong in one way each are refused as what they are, and harm nothing."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding

from hypermesh.trustchain.acme.application import BODY_BYTES_MAX
from hypermesh.trustchain.acme.nonces import Nonces
from hypermesh.trustchain.acme.policy import Limits

from .client import b64, csr, jwk, jws, p256, unb64
from .world import URL, world


def kind(answer) -> str:
    assert answer.headers["content-type"] == "application/problem+json", answer.text
    return answer.json()["type"].removeprefix("urn:ietf:params:acme:error:")


def test_a_nonce_is_good_once_and_not_after_a_restart(tmp_path: Path) -> None:
    async def run() -> None:
        async with world(tmp_path) as here:
            client = await here.member()
            header = await client.header(client.directory["newOrder"])
            asked = {"identifiers": [{"type": "dns", "value": "a.example"}]}
            body = jws(client.key, header, asked)
            answers = await asyncio.gather(
                *(client.send(client.directory["newOrder"], body) for _ in range(20))
            )
            assert sorted(each.status_code for each in answers) == [201] + [400] * 19
            refused = [each for each in answers if each.status_code == 400]
            assert {kind(each) for each in refused} == {"badNonce"}
            assert len({each.headers["replay-nonce"] for each in answers}) == 20
            unused = jws(client.key, await client.header(client.directory["newOrder"]), asked)
            await here.shut()
            await here.open()
            for each in (body, unused):
                answer = await client.send(client.directory["newOrder"], each)
                assert kind(answer) == "badNonce"
            found = (await client.post(f"{client.kid}/orders")).json()["orders"]
            assert len(found) == 1
            # The nonce that came with the refusal is good.
            assert (await client.order("a.example")).status_code == 201

    asyncio.run(run())


def test_nonces_are_bounded_and_forged_ones_refused() -> None:
    nonces = Nonces(window=4)
    old = nonces.fresh()
    kept = [nonces.fresh() for _ in range(4)]
    assert not nonces.take(old)
    for each in kept:
        assert nonces.take(each)
        assert not nonces.take(each)
    data = bytearray(unb64(nonces.fresh()))
    for at in range(len(data)):
        altered = bytearray(data)
        altered[at] ^= 1
        assert not nonces.take(b64(bytes(altered)))
    assert nonces.take(b64(bytes(data)))
    for text in ("", "A", "-", b64(bytes(8)), b64(bytes(24)), "é"):
        assert not nonces.take(text)
    assert not Nonces(window=4).take(nonces.fresh())


def test_every_altered_character_of_a_request_is_refused(tmp_path: Path) -> None:
    async def run() -> None:
        async with world(tmp_path) as here:
            client = await here.member()
            url = client.directory["newOrder"]
            asked = {"identifiers": [{"type": "dns", "value": "a.example"}]}
            for part in ("protected", "payload", "signature"):
                length = len(jws(client.key, await client.header(url), asked)[part])
                for at in range(0, length, 7 if part == "protected" else 5):
                    body = jws(client.key, await client.header(url), asked)
                    text = body[part]
                    body[part] = text[:at] + ("A" if text[at] != "A" else "B") + text[at + 1 :]
                    answer = await client.send(url, body)
                    assert 400 <= answer.status_code < 500, (part, at)
            last = jws(client.key, await client.header(url), asked)
            # 64 bytes end in a character of which four bits count for nothing.
            final = last["signature"][-1]
            twin = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
            last["signature"] = last["signature"][:-1] + twin[twin.index(final) ^ 1]
            assert kind(await client.send(url, last)) == "malformed"
            assert (await client.post(f"{client.kid}/orders")).json()["orders"] == []

    asyncio.run(run())


def test_headers_that_are_wrong(tmp_path: Path) -> None:
    async def run() -> None:
        async with world(tmp_path) as here:
            client, other = await here.member(), await here.member()
            url = client.directory["newOrder"]
            asked = {"identifiers": [{"type": "dns", "value": "a.example"}]}
            table: list[tuple[dict[str, Any], int, str]] = [
                ({"nonce": "AAAA"}, 400, "badNonce"),
                ({"nonce": None}, 400, "badNonce"),
                ({"url": f"{URL}/new-account"}, 401, "unauthorized"),
                ({"url": None}, 400, "malformed"),
                ({"kid": None}, 400, "malformed"),
                ({"jwk": jwk(client.key)}, 400, "malformed"),
                ({"kid": None, "jwk": jwk(client.key)}, 400, "malformed"),
                ({"kid": f"{URL}/account/nobody"}, 400, "accountDoesNotExist"),
                ({"kid": "https://other.test/acme/account/x"}, 400, "accountDoesNotExist"),
                ({"kid": other.kid}, 400, "malformed"),
                ({"kid": None, "jwk": jwk(other.key)}, 400, "malformed"),
                ({"alg": "none"}, 400, "badSignatureAlgorithm"),
                ({"alg": "HS256"}, 400, "badSignatureAlgorithm"),
                ({"alg": "ES384"}, 400, "badSignatureAlgorithm"),
                ({"alg": "RS256"}, 400, "badSignatureAlgorithm"),
                ({"alg": None}, 400, "malformed"),
                ({"crit": ["exp"], "exp": 1}, 400, "malformed"),
                ({"b64": False}, 400, "malformed"),
            ]
            for members, status, expected in table:
                answer = await client.post(url, asked, **members)
                assert (answer.status_code, kind(answer)) == (status, expected), members
                assert answer.headers["replay-nonce"]
            newcomer = await here.client()
            members = {"jwk": None, "kid": client.kid}
            answer = await newcomer.post(client.directory["newAccount"], {}, **members)
            assert kind(answer) == "malformed"

    asyncio.run(run())


def test_keys_that_are_not_taken(tmp_path: Path) -> None:
    async def run() -> None:
        async with world(tmp_path) as here:
            weak = rsa.generate_private_key(65537, 1024)  # noqa: S505 (refused)
            for key in (weak, ec.generate_private_key(ec.SECP521R1())):
                client = await here.client()
                url = client.directory["newAccount"]
                header = await client.header(url) | {"jwk": jwk(key), "alg": "RS256"}
                answer = await client.send(url, jws(p256(), header, {}))
                assert kind(answer) == "badPublicKey"
            client = await here.client()
            mine = jwk(client.key)
            off_curve = mine | {"x": mine["y"]}
            bad: list[Any] = [
                mine | {"d": "AA"},
                mine | {"kty": "oct", "k": "AAAA"},
                {"kty": "EC"},
                {"kty": "OKP", "crv": "X25519", "x": b64(bytes(32))},
                {"kty": "OKP", "crv": "Ed25519", "x": b64(bytes(31))},
                mine | {"x": ""},
                mine | {"x": 7},
                off_curve,
                [],
                None,
                {"kty": "RSA", "n": "AA" * 2000, "e": "AQAB"},
            ]
            for key in bad:
                header = await client.header(url)
                answer = await client.send(url, jws(client.key, header | {"jwk": key}, {}))
                assert kind(answer) in ("badPublicKey", "malformed"), key

    asyncio.run(run())


def test_bodies_that_are_wrong(tmp_path: Path) -> None:
    async def run() -> None:
        async with world(tmp_path) as here:
            client = await here.member()
            url = client.directory["newOrder"]
            good = jws(client.key, await client.header(url), {"identifiers": []})
            for body in (
                b"",
                b"[]",
                b"\xff",
                b"[" * 30_000,
                json.dumps(good | {"header": {}}).encode(),
                json.dumps({"payload": "", "signatures": [good]}).encode(),
                json.dumps({**good, "payload": "="}).encode(),
                json.dumps({**good, "protected": "e30"}).encode(),
            ):
                assert kind(await client.send(url, body)) == "malformed", body[:40]
            answer = await client.send(url, b"x" * (BODY_BYTES_MAX + 1))
            assert (answer.status_code, kind(answer)) == (413, "malformed")
            answer = await client.send(url, good, media="application/json")
            assert answer.status_code == 415
            assert (await client.http.get(url)).status_code == 405
            assert (await client.http.get(f"{URL}/nothing")).status_code == 404
            assert (await client.http.get("https://ca.test/elsewhere")).status_code == 404
            assert (await client.order("a.example")).status_code == 201

    asyncio.run(run())


def test_a_body_that_never_ends_is_cut_off(tmp_path: Path) -> None:
    """Without a length, as HTTP's chunks give it: read no further than the bound."""

    async def run() -> None:
        async with world(tmp_path) as here:
            read = 0
            sent: list[dict] = []

            async def receive() -> dict:
                nonlocal read
                read += 4096
                return {"type": "http.request", "body": b"x" * 4096, "more_body": True}

            async def send(message: dict) -> None:
                sent.append(message)

            headers = [(b"content-type", b"application/jose+json")]
            scope = {"type": "http", "method": "POST", "path": "/acme/new-order", "client": None}
            await here.server.application(scope | {"headers": headers}, receive, send)
            assert sent[0]["status"] == 413
            assert read <= BODY_BYTES_MAX + 4096

    asyncio.run(run())


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ([], "malformed"),
        ([{"type": "dns", "value": ""}], "malformed"),
        ([{"type": "dns", "value": "a..example"}], "malformed"),
        ([{"type": "dns", "value": "a.example."}], "malformed"),
        ([{"type": "dns", "value": "-a.example"}], "malformed"),
        ([{"type": "dns", "value": "a_b.example"}], "malformed"),
        ([{"type": "dns", "value": "10.0.0.1"}], "malformed"),
        ([{"type": "dns", "value": "a.*.example"}], "malformed"),
        ([{"type": "dns", "value": "*.*.example"}], "malformed"),
        ([{"type": "dns", "value": "*."}], "malformed"),
        ([{"type": "dns", "value": "é.example"}], "malformed"),
        ([{"type": "dns", "value": "a" * 64 + ".example"}], "malformed"),
        ([{"type": "dns", "value": "a." * 127 + "example"}], "malformed"),
        ([{"type": "dns", "value": "other.test"}], "rejectedIdentifier"),
        ([{"type": "dns", "value": "notexample"}], "rejectedIdentifier"),
        ([{"type": "ip", "value": "10.0.0.1"}], "rejectedIdentifier"),
        ([{"type": "email", "value": "a@b"}], "unsupportedIdentifier"),
        ([{"type": "dns", "value": f"n{number}.example"} for number in range(101)], "malformed"),
        ([{"type": "dns"}], "malformed"),
    ],
)
def test_identifiers_that_are_not_taken(tmp_path: Path, given: list, expected: str) -> None:
    async def run() -> None:
        async with world(tmp_path, names=("example",)) as here:
            client = await here.member()
            answer = await client.post(client.directory["newOrder"], {"identifiers": given})
            assert kind(answer) == expected

    asyncio.run(run())


def test_contacts_that_are_not_taken(tmp_path: Path) -> None:
    async def run() -> None:
        async with world(tmp_path) as here:
            client = await here.client()
            for contact, expected in (
                ("tel:+1", "unsupportedContact"),
                ("mailto:nobody", "invalidContact"),
                ("mailto:a@b.example,c@d.example", "invalidContact"),
                ("mailto:a@b.example?subject=x", "invalidContact"),
                (f"mailto:a@{'b' * 400}", "invalidContact"),
            ):
                assert kind(await client.register(contact=[contact])) == expected
            many = [f"mailto:a{number}@b.example" for number in range(11)]
            assert kind(await client.register(contact=many)) == "invalidContact"

    asyncio.run(run())


def test_terms_are_to_be_agreed_to(tmp_path: Path) -> None:
    async def run() -> None:
        async with world(tmp_path, terms_of_service="https://ca.test/terms") as here:
            client = await here.client()
            refused = await client.register(termsOfServiceAgreed=False)
            assert kind(refused) == "userActionRequired"
            assert kind(await client.register(onlyReturnExisting=True)) == "accountDoesNotExist"

    asyncio.run(run())


def extended(names: list[str], extension: x509.ExtensionType) -> bytes:
    general = x509.SubjectAlternativeName([x509.DNSName(each) for each in names])
    builder = x509.CertificateSigningRequestBuilder().subject_name(x509.Name([]))
    builder = builder.add_extension(general, critical=False)
    builder = builder.add_extension(extension, critical=False)
    return builder.sign(p256(), hashes.SHA256()).public_bytes(Encoding.DER)


def test_a_csr_says_what_was_ordered_and_proves_its_key(tmp_path: Path) -> None:
    async def run() -> None:
        async with world(tmp_path) as here:
            client = await here.member()
            good = csr(["a.example", "b.example"])
            pending = (await client.order("a.example", "b.example")).json()
            early = await client.post(pending["finalize"], {"csr": b64(good)})
            assert (early.status_code, kind(early)) == (403, "orderNotReady")
            url, order = await here.ready(client, "a.example", "b.example")
            unsigned = bytearray(good)
            unsigned[-1] ^= 1
            other_key = bytearray(good)
            # Somewhere within the public key's point.
            at = good.index(b"\x03\x42\x00\x04") + 20
            other_key[at] ^= 1
            authority = x509.BasicConstraints(ca=True, path_length=None)
            names = ["a.example", "b.example"]
            bad = {
                "one fewer": csr(["a.example"]),
                "one more": csr([*names, "c.example"]),
                "another common name": csr(names, common_name="c.example"),
                "none": csr([]),
                "unsigned": bytes(unsigned),
                "of another key": bytes(other_key),
                "the account's key": csr(names, client.key),
                "an authority": extended(names, authority),
                "an unknown extension": extended(
                    names, x509.UnrecognizedExtension(x509.ObjectIdentifier("1.2.3.4"), b"\x05\x00")
                ),
                "no CSR": b"nothing",
                "empty": b"",
                "cut off": good[:-10],
                "giant": csr([f"n{number}.example" for number in range(2500)]),
            }
            for what, request in bad.items():
                if len(request) > 40_000:
                    continue
                answer = await client.post(order["finalize"], {"csr": b64(request)})
                assert kind(answer) == "badCSR", what
            giant = await client.post(order["finalize"], {"csr": b64(bad["giant"])})
            assert giant.status_code in (400, 413)
            assert (await client.post(url)).json()["status"] == "ready", "nothing was harmed"
            done = await client.post(order["finalize"], {"csr": b64(good)})
            assert done.json()["status"] == "valid"
            again = await client.post(order["finalize"], {"csr": b64(good)})
            assert again.json() == done.json()
            other = await client.post(order["finalize"], {"csr": b64(csr(names))})
            assert kind(other) == "orderNotReady"

    asyncio.run(run())


def test_what_is_another_accounts_is_not_there(tmp_path: Path) -> None:
    async def run() -> None:
        async with world(tmp_path) as here:
            client, other = await here.member(), await here.member()
            url, order = await here.ready(client, "a.example")
            challenge = (await client.post(order["authorizations"][0])).json()["challenges"][0]
            request = {"csr": b64(csr(["a.example"]))}
            for where, payload in (
                (url, None),
                (order["authorizations"][0], None),
                (order["authorizations"][0], {"status": "deactivated"}),
                (challenge["url"], {}),
                (order["finalize"], request),
                (f"{URL}/order/{'A' * 22}", None),
            ):
                answer = await other.post(where, payload)
                assert (answer.status_code, kind(answer)) == (404, "unauthorized"), where
            assert (await other.post(client.kid, {"status": "deactivated"})).status_code == 403
            done = (await client.post(order["finalize"], request)).json()
            assert (await other.post(done["certificate"])).status_code == 404
            assert (await client.post(done["certificate"])).status_code == 200

    asyncio.run(run())


def test_rates_and_bounds(tmp_path: Path) -> None:
    async def run() -> None:
        limits = Limits(orders_per_account=4, accounts_per_network=2, failures_per_name=2)
        async with world(tmp_path, limits=limits) as here:
            client, other = await here.member(), await here.member()
            third = await here.client()
            limited = await third.register()
            assert (limited.status_code, kind(limited)) == (429, "rateLimited")
            assert int(limited.headers["retry-after"]) > 0
            elsewhere = await here.client(address="2001:db8::1")
            assert (await elsewhere.register()).status_code == 201
            here.now_s += 3601
            assert (await third.register()).status_code == 201

            for _ in range(4):
                assert (await client.order("a.example")).status_code == 201
            assert kind(await client.order("a.example")) == "rateLimited"
            assert (await other.order("a.example")).status_code == 201

            for _ in range(2):
                order = (await other.order("unknown.example")).json()
                document = (await other.post(order["authorizations"][0])).json()
                await other.post(document["challenges"][0]["url"], {})
                await other.until(order["authorizations"][0], "invalid")
            assert kind(await other.order("unknown.example")) == "rateLimited"
            assert kind(await other.order("*.unknown.example")) == "rateLimited"
            here.now_s += 3601
            assert (await other.order("unknown.example")).status_code == 201

    asyncio.run(run())


def test_thousands_of_orders_stay_within_the_bound(tmp_path: Path) -> None:
    async def run() -> None:
        limits = Limits(orders_per_account=10_000, orders=1500)
        async with world(tmp_path, limits=limits) as here:
            client = await here.member()
            nonces = [await client.fresh() for _ in range(2000)]
            url = client.directory["newOrder"]
            asked = {"identifiers": [{"type": "dns", "value": "a.example"}]}

            async def one(nonce: str) -> int:
                header = {"alg": "ES256", "url": url, "nonce": nonce, "kid": client.kid}
                return (await client.send(url, jws(client.key, header, asked))).status_code

            states: list[int] = []
            for at in range(0, len(nonces), 50):
                states += await asyncio.gather(*(one(each) for each in nonces[at : at + 50]))
            assert states.count(201) == 1500
            assert states.count(429) == 500
            assert here.store.read(lambda tables: tables.orders()) == 1500
            here.now_s += here.policy.order_lifetime_s + here.policy.kept_s + 1
            assert await here.server.expire() == 1500
            assert (await client.order("a.example")).status_code == 201

    asyncio.run(run())
