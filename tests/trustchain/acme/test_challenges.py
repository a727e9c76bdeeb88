"""Challenges against real servers on loopback, and what each refusal is called."""

from __future__ import annotations

import asyncio
import contextlib
import datetime as dt
import hashlib
import ipaddress
import ssl
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from hypermesh.trustchain.acme.challenge import HTTP_BYTES_MAX
from hypermesh.trustchain.acme.policy import Limits, Validation

from .client import Client, b64, csr, p256
from .world import URL, World, world

Document = dict[str, Any]


async def asked(client: Client, name: str, kind: str) -> tuple[str, Document]:
    """A new authorization of `name`: its URL and its challenge of `kind`."""
    made = await client.order(name)
    assert made.status_code == 201, made.text
    url = made.json()["authorizations"][0]
    challenges = (await client.post(url)).json()["challenges"]
    return url, next(each for each in challenges if each["type"] == kind)


async def outcome(client: Client, url: str, challenge: Document) -> str:
    """`valid`, or what the problem of the challenge is called."""
    assert (await client.post(challenge["url"], {})).status_code == 200
    document = await client.until(url, "valid", "invalid")
    if document["status"] == "valid":
        return "valid"
    (failed,) = document["challenges"]
    assert failed["status"] == "invalid"
    return failed["error"]["type"].removeprefix("urn:ietf:params:acme:error:")


def test_http_answers_of_every_kind(tmp_path: Path) -> None:
    async def run() -> None:
        # No failure here is to be limited.
        async with world(tmp_path, limits=Limits(failures_per_name=1000)) as here:
            client = await here.member()
            here.host("a.example", "elsewhere.example")
            port = here.web.port

            def redirect(to: str) -> bytes:
                return f"HTTP/1.1 302 Found\r\nlocation: {to}\r\ncontent-length: 0\r\n\r\n".encode()

            def answers(path: str, expected: bytes) -> dict[str, bytes]:
                return {
                    "plain": b"HTTP/1.1 200 OK\r\n\r\n" + expected,
                    "with white space": b"HTTP/1.1 200 OK\r\n\r\n" + expected + b" \r\n",
                    "redirected": redirect("/other"),
                    "to another name": redirect(f"http://elsewhere.example:{port}/other"),
                    "another key": b"HTTP/1.1 200 OK\r\n\r\n" + expected[:-1] + b"!",
                    "white space before": b"HTTP/1.1 200 OK\r\n\r\n " + expected,
                    "empty": b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n",
                    "giant": b"HTTP/1.1 200 OK\r\n\r\n" + expected + b" " * HTTP_BYTES_MAX,
                    "a giant head": b"HTTP/1.1 200 OK\r\nx: " + b"x" * 200_000 + b"\r\n\r\n",
                    "an error": b"HTTP/1.1 500 No\r\ncontent-length: 0\r\n\r\n",
                    "no HTTP": b"\x00\x01\x02\r\n\r\n",
                    "nothing": b"",
                    "in a circle": redirect(path),
                    "to another port": redirect("http://a.example:1/"),
                    "to a file": redirect("file:///etc/passwd"),
                    "to no URL": redirect("http://[::1/"),
                    "to an address not asked": redirect(f"http://169.254.169.254:{port}/"),
                    "to a name unknown": redirect(f"http://unknown.example:{port}/"),
                    "to a URL too long": redirect("/" + "x" * 3000),
                }

            wanted = {
                "plain": "valid",
                "with white space": "valid",
                "redirected": "valid",
                "to another name": "valid",
                "another key": "incorrectResponse",
                "white space before": "incorrectResponse",
                "empty": "incorrectResponse",
                "giant": "incorrectResponse",
                "to a name unknown": "dns",
            }
            for what in answers("", b"x"):
                url, challenge = await asked(client, "a.example", "http-01")
                expected = client.key_authorization(challenge["token"]).encode()
                path = f"/.well-known/acme-challenge/{challenge['token']}"
                here.web.answers[path] = answers(path, expected)[what]
                here.web.files["/other"] = expected
                found = await outcome(client, url, challenge)
                assert found == wanted.get(what, "connection"), what
            assert here.web.hosts[0] == f"a.example:{port}"

    asyncio.run(run())


def test_addresses_that_are_not_asked(tmp_path: Path) -> None:
    settings = Validation()
    for text, expected in {
        "192.0.2.1": True,
        "10.1.2.3": True,
        "fd00::1": True,
        "127.0.0.1": False,
        "::1": False,
        "::ffff:127.0.0.1": False,
        "169.254.169.254": False,
        "fe80::1": False,
        "0.0.0.0": False,  # noqa: S104
        "::": False,
        "224.0.0.1": False,
        "255.255.255.255": False,
    }.items():
        assert settings.permits(ipaddress.ip_address(text)) is expected, text

    async def run() -> None:
        async with world(tmp_path, {"allowed": ()}) as here:
            client = await here.member()
            here.host("a.example")
            for kind in ("http-01", "tls-alpn-01"):
                url, challenge = await asked(client, "a.example", kind)
                here.show(client, "a.example", {**challenge, "type": "http-01"})
                assert await outcome(client, url, challenge) == "connection"
            assert here.web.asked == []

    asyncio.run(run())


def test_names_that_do_not_resolve(tmp_path: Path) -> None:
    async def run() -> None:
        async with world(tmp_path) as here:
            client = await here.member()
            here.zone.failing |= {"failing.example", "_acme-challenge.failing.example"}
            here.names["empty.example", "TXT"] = ['"x"']
            for name in ("unknown.example", "empty.example", "failing.example"):
                url, challenge = await asked(client, name, "http-01")
                assert await outcome(client, url, challenge) == "dns", name
            url, challenge = await asked(client, "failing.example", "dns-01")
            assert await outcome(client, url, challenge) == "dns"

    asyncio.run(run())


def test_dns_answers_of_every_kind(tmp_path: Path) -> None:
    async def run() -> None:
        async with world(tmp_path, limits=Limits(failures_per_name=1000)) as here:
            client = await here.member()
            for what, expected in {
                "right": "valid",
                "among others": "valid",
                "in two strings": "valid",
                "wrong": "incorrectResponse",
                "the key authorization itself": "incorrectResponse",
                "none": "incorrectResponse",
            }.items():
                url, challenge = await asked(client, "a.example", "dns-01")
                text = client.key_authorization(challenge["token"])
                right = b64(hashlib.sha256(text.encode()).digest())
                here.names["_acme-challenge.a.example", "TXT"] = {
                    "right": [f'"{right}"'],
                    "among others": ['"x"', f'"{right}"', '"y"'],
                    "in two strings": [f'"{right[:10]}" "{right[10:]}"'],
                    "wrong": [f'"{right[1:]}"'],
                    "the key authorization itself": [f'"{text}"'],
                    "none": [],
                }[what]
                assert await outcome(client, url, challenge) == expected, what

    asyncio.run(run())


@contextlib.asynccontextmanager
async def shown(
    directory: Path,
    names: list[x509.GeneralName],
    digest: bytes,
    *,
    critical: bool = True,
    protocol: str = "acme-tls/1",
) -> AsyncIterator[int]:
    """A TLS server with one certificate for tls-alpn-01: its port."""
    key = p256()
    now = dt.datetime.now(dt.UTC)
    value = x509.UnrecognizedExtension(x509.ObjectIdentifier("1.3.6.1.5.5.7.1.31"), digest)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(x509.Name([]))
        .issuer_name(x509.Name([]))
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - dt.timedelta(days=1))
        .not_valid_after(now + dt.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName(names), critical=False)
        .add_extension(value, critical=critical)
        .sign(key, hashes.SHA256())
    )
    file = directory / "challenge.pem"
    file.write_bytes(
        certificate.public_bytes(Encoding.PEM)
        + key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    )
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(file)
    context.set_alpn_protocols([protocol])

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(ConnectionError):
            await reader.read()
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0, ssl=context)
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()


def test_tls_answers_of_every_kind(tmp_path: Path) -> None:
    async def run() -> None:
        network = (ipaddress.ip_network("127.0.0.0/8"),)
        limits = Limits(failures_per_name=1000)
        async with world(tmp_path, limits=limits, addresses=network) as here:
            client = await here.member()
            here.host("a.example")
            name, other = x509.DNSName("a.example"), x509.DNSName("b.example")
            table: dict[str, tuple[list[x509.GeneralName], dict[str, Any], str]] = {
                "right": ([name], {}, "valid"),
                "another name": ([other], {}, "incorrectResponse"),
                "one name more": ([name, other], {}, "incorrectResponse"),
                "not critical": ([name], {"critical": False}, "incorrectResponse"),
                "another digest": ([name], {}, "incorrectResponse"),
                "another protocol": ([name], {"protocol": "http/1.1"}, "tls"),
            }
            for what, (names, members, expected) in table.items():
                url, challenge = await asked(client, "a.example", "tls-alpn-01")
                text = client.key_authorization(challenge["token"])
                digest = hashlib.sha256(text.encode()).digest()
                if what == "another digest":
                    digest = digest[::-1]
                async with shown(tmp_path, names, b"\x04\x20" + digest, **members) as port:
                    await at_port(here, client, port)
                    assert await outcome(client, url, challenge) == expected, what
            order = await client.post(
                client.directory["newOrder"],
                {"identifiers": [{"type": "ip", "value": "127.0.0.1"}]},
            )
            url = order.json()["authorizations"][0]
            challenge = (await client.post(url)).json()["challenges"][1]
            text = client.key_authorization(challenge["token"])
            digest = b"\x04\x20" + hashlib.sha256(text.encode()).digest()
            address = x509.IPAddress(ipaddress.ip_address("127.0.0.1"))
            async with shown(tmp_path, [address], digest) as port:
                await at_port(here, client, port)
                assert await outcome(client, url, challenge) == "valid"

    asyncio.run(run())


async def at_port(here: World, client: Client, port: int) -> None:
    """Let the server look for TLS there."""
    validation = here.policy.validation
    changed = {each: getattr(validation, each) for each in Validation.__slots__}
    await here.change(validation=Validation(**{**changed, "tls_alpn_port": port}))
    client.nonce = None


def test_an_attempt_that_fails_is_repeated_and_says_why(tmp_path: Path) -> None:
    async def run() -> None:
        async with world(tmp_path, {"pauses_s": (3600.0, 0.01)}) as here:
            client = await here.member()
            here.host("a.example")
            url, challenge = await asked(client, "a.example", "http-01")
            answer = await client.post(challenge["url"], {})
            assert answer.headers["retry-after"] == "1"
            assert answer.headers["link"] == f'<{URL}/directory>;rel="index", <{url}>;rel="up"'
            seen = await failed_once(client, challenge)
            assert seen["status"] == "processing"
            assert seen["error"]["type"].endswith(":connection")
            # Now it is there, and the client says so (RFC 8555 section 8.2).
            here.show(client, "a.example", challenge)
            await client.post(challenge["url"], {})
            document = await client.until(url, "valid", "invalid")
            assert document["status"] == "valid"
            assert "error" not in document["challenges"][0]

    asyncio.run(run())


async def failed_once(client: Client, challenge: Document) -> Document:
    """The challenge, once an attempt has failed."""
    async with asyncio.timeout(60):
        while True:
            seen = (await client.post(challenge["url"])).json()
            if "error" in seen:
                return seen
            await asyncio.sleep(0.01)


def test_a_validation_goes_on_after_a_restart(tmp_path: Path) -> None:
    async def run() -> None:
        async with world(tmp_path, {"pauses_s": (3600.0,)}) as here:
            client = await here.member()
            here.host("a.example")
            url, challenge = await asked(client, "a.example", "http-01")
            await client.post(challenge["url"], {})
            await failed_once(client, challenge)
            here.show(client, "a.example", challenge)
            await here.shut()
            await here.open()
            client.nonce = None
            assert (await client.until(url, "valid", "invalid"))["status"] == "valid"

    asyncio.run(run())


def test_one_failed_authorization_ends_the_order(tmp_path: Path) -> None:
    async def run() -> None:
        async with world(tmp_path) as here:
            client = await here.member()
            here.host("a.example")
            made = await client.order("a.example", "unknown.example")
            await here.authorize(client, made.json())
            order = (await client.post(made.headers["location"])).json()
            assert order["status"] == "invalid"
            assert "unknown.example" in order["error"]["detail"]
            request = {"csr": b64(csr(["a.example", "unknown.example"]))}
            answer = await client.post(order["finalize"], request)
            assert answer.json()["type"].endswith(":orderNotReady")

    asyncio.run(run())


def test_as_many_validations_as_may_and_no_more(tmp_path: Path) -> None:
    async def run() -> None:
        limits = Limits(validations=2)
        async with world(tmp_path, {"pauses_s": (3600.0,)}, limits=limits) as here:
            client = await here.member()
            for _ in range(2):
                _, challenge = await asked(client, "unknown.example", "http-01")
                assert (await client.post(challenge["url"], {})).status_code == 200
            _, challenge = await asked(client, "unknown.example", "http-01")
            answer = await client.post(challenge["url"], {})
            assert (answer.status_code, answer.headers["retry-after"]) == (503, "1")
            assert (await client.post(challenge["url"])).json()["status"] == "pending"

    asyncio.run(run())


@pytest.mark.parametrize(
    ("records", "allowed"),
    [
        ({}, True),
        ({"a.example": ['0 issue "ca.test"']}, True),
        ({"a.example": ['0 issue "other.test"']}, False),
        ({"a.example": ['0 issue ";"']}, False),
        ({"example": ['0 issue "other.test"']}, False),
        ({"a.example": ['0 issue "ca.test"'], "example": ['0 issue ";"']}, True),
        ({"a.example": ['0 issue "other.test"', '0 issue "CA.test"']}, True),
        ({"a.example": ['0 issuewild "other.test"']}, True),
        ({"a.example": ['0 iodef "mailto:x@y.example"']}, True),
        ({"a.example": ['128 unknown "x"', '0 issue "ca.test"']}, False),
        ({"a.example": ['0 unknown "x"']}, True),
        ({"a.example": ['0 issue "ca.test; validationmethods=dns-01,http-01"']}, True),
        ({"a.example": ['0 issue "ca.test; validationmethods=dns-01"']}, False),
        ({"a.example": ['0 issue "ca.test; accounturi=https://ca.test/acme/account/x"']}, False),
        ({"a.example": ['0 issue "ca.test; accounturi={kid}"']}, True),
        ({"a.example": ['0 issue "ca.test; nonsense"']}, False),
    ],
)
def test_caa_records_are_obeyed(tmp_path: Path, records: dict, allowed: bool) -> None:
    async def run() -> None:
        async with world(tmp_path, caa_identities=("ca.test",)) as here:
            client = await here.member()
            assert client.directory["meta"]["caaIdentities"] == ["ca.test"]
            for name, texts in records.items():
                here.names[name, "CAA"] = [each.replace("{kid}", client.kid) for each in texts]
            url, order = await here.ready(client, "a.example")
            answer = await client.post(order["finalize"], {"csr": b64(csr(["a.example"]))})
            if allowed:
                assert answer.json()["status"] == "valid", answer.text
            else:
                assert (answer.status_code, answer.json()["type"][-4:]) == (403, ":caa")
                assert (await client.post(url)).json()["status"] == "ready"

    asyncio.run(run())


def test_caa_of_wildcards_and_of_names_that_do_not_resolve(tmp_path: Path) -> None:
    async def run() -> None:
        async with world(tmp_path, caa_identities=("ca.test",)) as here:
            client = await here.member()
            here.names["w.example", "CAA"] = ['0 issue "ca.test"', '0 issuewild ";"']
            made = await client.order("*.w.example")
            await here.authorize(client, made.json(), "dns-01")
            request = {"csr": b64(csr(["*.w.example"]))}
            answer = await client.post(made.json()["finalize"], request)
            assert answer.json()["type"].endswith(":caa")
            _, order = await here.ready(client, "a.example")
            here.zone.failing.add("a.example")
            answer = await client.post(order["finalize"], {"csr": b64(csr(["a.example"]))})
            assert answer.json()["type"].endswith(":dns")
            here.zone.failing.clear()
            answer = await client.post(order["finalize"], {"csr": b64(csr(["a.example"]))})
            assert answer.json()["status"] == "valid"

    asyncio.run(run())
