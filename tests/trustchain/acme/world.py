"""An ACME server in this process, with names and a web server of the client's on loopback."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import hashlib
import ipaddress
from collections.abc import AsyncIterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx

from hypermesh.trustchain.acme.issuer import Issuer
from hypermesh.trustchain.acme.policy import Policy, Validation
from hypermesh.trustchain.acme.server import AcmeServer
from hypermesh.trustchain.acme.sqlite import SqliteStore

from .authority import SmallAuthority
from .client import Client
from .zone import Zone

URL = "https://ca.test/acme"
LOOPBACK = (ipaddress.ip_network("127.0.0.0/8"), ipaddress.ip_network("::1/128"))
NOW_S = 1_800_000_000


class Web:
    """A web server with the files in `files`, by path; it counts how often each was asked for."""

    def __init__(self) -> None:
        self.files: dict[str, bytes] = {}
        self.answers: dict[str, bytes] = {}
        """Whole answers, status line and all."""
        self.asked: list[str] = []
        self.hosts: list[str] = []

    async def start(self) -> None:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.port = self._server.sockets[0].getsockname()[1]

    async def stop(self) -> None:
        self._server.close()
        await self._server.wait_closed()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError):
            head = (await reader.readuntil(b"\r\n\r\n")).decode()
            path = head.split(" ")[1]
            self.asked.append(path)
            self.hosts.append(head.lower().partition("\r\nhost: ")[2].partition("\r\n")[0])
            if path in self.answers:
                writer.write(self.answers[path])
            elif path in self.files:
                body = self.files[path]
                writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n" % len(body) + body)
            else:
                writer.write(b"HTTP/1.1 404 Not Found\r\ncontent-length: 0\r\n\r\n")
            await writer.drain()
        writer.close()


class World:
    """What a test has: `names` are the zone's records, `now_s` the server's clock."""

    def __init__(self, directory: Path, policy: dict[str, Any], validation: dict[str, Any]) -> None:
        self.directory = directory
        self.now_s = NOW_S
        self.names: dict[tuple[str, str], Sequence[str]] = {}
        self.web = Web()
        self.zone = Zone(self._records)
        self.authority = SmallAuthority(directory / "authority")
        self.issuer: Issuer = self.authority
        self._policy = policy
        self._validation = validation

    def _records(self, name: str, kind: str) -> Sequence[str] | None:
        found = self.names.get((name, kind))
        if found is not None:
            return found
        return [] if any(known == name for known, _ in self.names) else None

    def host(self, *names: str) -> None:
        """Names that lead to the web server."""
        for name in names:
            self.names[name, "A"] = ["127.0.0.1"]

    async def start(self) -> None:
        await self.zone.start()
        await self.web.start()
        settings = {
            "resolver": "127.0.0.1",
            "resolver_port": self.zone.port,
            "http_port": self.web.port,
            "allowed": LOOPBACK,
            "pauses_s": (),
            "timeout_s": 30.0,
        }
        self.policy = Policy(
            URL, validation=Validation(**{**settings, **self._validation}), **self._policy
        )
        await self.open()

    async def open(self) -> None:
        self.store = SqliteStore(self.directory / "store")
        self.server = AcmeServer(self.store, self.issuer, self.policy, clock=lambda: self.now_s)
        await self.server.start()

    async def shut(self) -> None:
        await self.server.close()
        self.store.close()

    async def change(self, **policy: Any) -> None:
        """Another policy, from a restart on."""
        await self.shut()
        self.policy = replace(self.policy, **policy)
        await self.open()

    def http(self, address: str = "192.0.2.7") -> httpx.AsyncClient:
        # Looked up at each request, so that a restart is a restart of the same place.
        async def application(scope: Any, receive: Any, send: Any) -> None:
            await self.server.application(scope, receive, send)

        transport = httpx.ASGITransport(application, client=(address, 1))
        return httpx.AsyncClient(transport=transport, timeout=60.0)

    async def client(self, key: Any = None, address: str = "192.0.2.7") -> Client:
        """A client with no account yet."""
        return await Client(self.http(address), URL, key).start()

    async def member(self, key: Any = None, **members: Any) -> Client:
        """A client with an account."""
        client = await self.client(key)
        answer = await client.register(**members)
        assert answer.status_code == 201, answer.text
        return client

    def show(self, client: Client, name: str, challenge: dict[str, Any]) -> None:
        """Do what a challenge by HTTP or DNS asks for."""
        expected = client.key_authorization(challenge["token"])
        if challenge["type"] == "http-01":
            path = f"/.well-known/acme-challenge/{challenge['token']}"
            self.web.files[path] = expected.encode()
        else:
            digest = hashlib.sha256(expected.encode()).digest()
            text = base64.urlsafe_b64encode(digest).rstrip(b"=").decode()
            self.names[f"_acme-challenge.{name}", "TXT"] = [f'"{text}"']

    async def authorize(self, client: Client, order: dict[str, Any], kind: str = "http-01") -> None:
        """Meet one challenge of every authorization."""
        for url in order["authorizations"]:
            document = (await client.post(url)).json()
            challenge = next(each for each in document["challenges"] if each["type"] == kind)
            self.show(client, document["identifier"]["value"], challenge)
            answer = await client.post(challenge["url"], {})
            assert answer.status_code == 200, answer.text
            await client.until(url, "valid", "invalid")

    async def ready(self, client: Client, *names: str, **members: Any) -> tuple[str, dict]:
        """An order with all it needs but the CSR: its URL and its document."""
        self.host(*names)
        made = await client.order(*names, **members)
        assert made.status_code == 201, made.text
        await self.authorize(client, made.json())
        return made.headers["location"], await client.until(made.headers["location"], "ready")

    async def obtain(self, client: Client, *names: str, key: Any = None, **members: Any) -> str:
        """A certificate with its chain, PEM."""
        from .client import b64, csr

        url, order = await self.ready(client, *names, **members)
        done = await client.post(order["finalize"], {"csr": b64(csr(names, key))})
        assert done.status_code == 200, done.text
        order = await client.until(url, "valid")
        answer = await client.post(order["certificate"])
        assert answer.status_code == 200, answer.text
        return answer.text


@contextlib.asynccontextmanager
async def world(
    directory: Path,
    validation: dict[str, Any] | None = None,
    issuer: Issuer | None = None,
    now_s: int = NOW_S,
    **policy: Any,
) -> AsyncIterator[World]:
    made = World(directory, policy, validation or {})
    made.issuer = issuer or made.authority
    made.now_s = now_s
    await made.start()
    try:
        yield made
    finally:
        await made.shut()
        await made.web.stop()
        made.zone.stop()
