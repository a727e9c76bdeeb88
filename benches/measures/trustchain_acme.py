"""The whole flow of ACME, from a new order to the certificate, with http-01 on loopback.

One flow is: new order, authorization, challenge, the server's request for the file and its lookups
of the address (AAAA and A) and of CAA, the order until it is ready, finalization with issuance
(durable and logged), the certificate. `CLIENTS` accounts, which stay the same as those of a client
that renews do, run flows one after the other, each over one TLS connection that it keeps, and check
every answer; the CSRs are made before the clock starts. Client, names and files are this process;
the server is one other process on the same machine, with the HTTP of `trustchain-server`.

step-ca answers the same clients in turn, where it is there or can be built. It does less for a
flow: no transparency log, no lookups of CAA.
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import hashlib
import itertools
import json
import ssl
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature
from peers import step_ca
from result import ROOT, Metric, metric, percentile

CLIENTS = 5
WARM_S = 2.0
MEASURED_S = 15.0
ROUNDS = 3
FLOWS_GOAL = 100.0
P50_GOAL_MS = 60.0
P99_GOAL_MS = 250.0
POLL_S = 0.004
HOST = "server.bench.example"
PEERS = ROOT / "benches" / "peers"
START_S = 60.0
TYPE = "application/jose+json"
_ADDRESS = b"\xc0\x0c\0\1\0\1\0\0\0\x3c\0\4\x7f\0\0\1"
"""An A record of 127.0.0.1 for the name in the question (RFC 1035 section 4.1.4)."""
_NOTHING = b"\0\0\6\0\1\0\0\0\x3c\0\x16\0\0" + bytes(16) + b"\0\0\0\x3c"
"""A SOA record, by which that there is nothing may be remembered for a minute (RFC 2308)."""


def measure() -> list[Metric]:
    peer = step_ca.program()
    servers = {"": [sys.executable, str(PEERS / "acme.py")]}
    if peer is not None:
        servers["step_ca."] = [sys.executable, str(PEERS / "step_ca.py"), str(peer)]
    times: dict[str, list[float]] = {name: [] for name in servers}
    rates: dict[str, list[float]] = {name: [] for name in servers}
    with contextlib.ExitStack() as stack:
        places = {
            name: Path(stack.enter_context(tempfile.TemporaryDirectory())) for name in servers
        }
        asyncio.run(_all_measured(servers, places, times, rates))
    return [each for name in servers for each in _metrics(name, times[name], rates[name])]


def _metrics(name: str, seconds: list[float], rates: list[float]) -> list[Metric]:
    """Of this server (`name` is empty) with its goals, of another beside it."""
    times_ms = [each * 1000 for each in seconds]
    is_ours = not name
    figure = "trustchain.acme." + name
    return [
        metric(
            f"{figure}flows",
            rates,
            "/s",
            goal=FLOWS_GOAL if is_ours else None,
            better="higher",
        ),
        metric(f"{figure}flow.p50", times_ms, "ms", goal=P50_GOAL_MS if is_ours else None),
        metric(
            f"{figure}flow.p99",
            times_ms,
            "ms",
            value=percentile(times_ms, 0.99),
            goal=P99_GOAL_MS if is_ours else None,
        ),
    ]


async def _all_measured(
    servers: dict[str, list[str]],
    places: dict[str, Path],
    times: dict[str, list[float]],
    rates: dict[str, list[float]],
) -> None:
    """All servers in turn, `ROUNDS` times; each runs all the while, and only one has work."""
    files: dict[bytes, bytes] = {}
    numbers = itertools.count()
    loop = asyncio.get_running_loop()
    names, _ = await loop.create_datagram_endpoint(_Names, local_addr=("127.0.0.1", 0))
    web = await loop.create_server(lambda: _Web(files), "127.0.0.1", 0)
    async with contextlib.AsyncExitStack() as stack:
        stack.callback(names.close)
        stack.callback(web.close)
        clients = {}
        for name, command in servers.items():
            told = {
                "directory": str(places[name]),
                "dns_port": names.get_extra_info("sockname")[1],
                "http_port": web.sockets[0].getsockname()[1],
            }
            started = await stack.enter_async_context(_started([*command, json.dumps(told)]))
            context = ssl.create_default_context(cafile=places[name] / "tls.pem")
            clients[name] = [
                _Client(started["port"], started["path"], context, files) for _ in range(CLIENTS)
            ]
            for each in clients[name]:
                await each.register()
                stack.callback(each.close)
        for ours in clients.values():
            until = time.perf_counter() + WARM_S
            await asyncio.gather(*(each.flows(numbers, until) for each in ours))
        for _ in range(ROUNDS):
            for name, ours in clients.items():
                begun = time.perf_counter()
                until = begun + MEASURED_S / ROUNDS
                found = await asyncio.gather(*(each.flows(numbers, until) for each in ours))
                took = [time_s for each in found for time_s in each]
                times[name] += took
                rates[name].append(len(took) / (time.perf_counter() - begun))


@contextlib.asynccontextmanager
async def _started(command: list[str]) -> AsyncIterator[dict[str, Any]]:
    """What the server says of itself when it answers: its port, and the path of its directory."""
    process = await asyncio.create_subprocess_exec(*command, stdout=subprocess.PIPE)
    assert process.stdout is not None
    try:
        async with asyncio.timeout(START_S):
            line = await process.stdout.readline()
        yield json.loads(line)
    finally:
        process.terminate()
        await process.wait()


class _Client:
    """One account and its connection."""

    def __init__(
        self, port: int, directory: str, context: ssl.SSLContext, files: dict[bytes, bytes]
    ) -> None:
        self._port = port
        self._context = context
        self._files = files
        self._key = ec.generate_private_key(ec.SECP256R1())
        numbers = self._key.public_key().public_numbers()
        x, y = (_base64(each.to_bytes(32, "big")) for each in (numbers.x, numbers.y))
        self._jwk = {"crv": "P-256", "kty": "EC", "x": x, "y": y}
        text = json.dumps(self._jwk, separators=(",", ":"), sort_keys=True).encode()
        self._thumbprint = _base64(hashlib.sha256(text).digest())
        self._directory = directory
        self._places: dict[str, str] = {}
        self._kid = ""
        self._nonce = ""
        self._leaf_key = ec.generate_private_key(ec.SECP256R1())

    async def register(self) -> None:
        self._reader, self._writer = await asyncio.open_connection(
            "127.0.0.1", self._port, ssl=self._context, server_hostname=HOST
        )
        asked = f"GET {self._directory} HTTP/1.1\r\nhost: {HOST}:{self._port}\r\n\r\n"
        _, _, document = await self._exchange(asked.encode())
        self._places = json.loads(document)
        place = self._path(self._places["newNonce"])
        asked = f"HEAD {place} HTTP/1.1\r\nhost: {HOST}:{self._port}\r\n\r\n"
        await self._exchange(asked.encode())
        agreed = {"termsOfServiceAgreed": True}
        _, headers, _ = await self._post(self._places["newAccount"], agreed)
        self._kid = headers["location"]

    async def flows(self, numbers: itertools.count[int], until: float) -> list[float]:
        """Flows until the instant `until`; how long each took, in seconds."""
        times = []
        while time.perf_counter() < until:
            name = f"n{next(numbers)}.bench.example"
            request = self._request(name)
            begun = time.perf_counter()
            await self._flow(name, request)
            times.append(time.perf_counter() - begun)
        return times

    async def _flow(self, name: str, request: str) -> None:
        identifiers = [{"type": "dns", "value": name}]
        _, headers, order = await self._post(self._places["newOrder"], {"identifiers": identifiers})
        where = headers["location"]
        authorization = order["authorizations"][0]
        _, _, document = await self._post(authorization)
        challenge = next(each for each in document["challenges"] if each["type"] == "http-01")
        path = f"/.well-known/acme-challenge/{challenge['token']}".encode()
        self._files[path] = f"{challenge['token']}.{self._thumbprint}".encode()
        await self._post(challenge["url"], {})
        while order["status"] == "pending":
            await asyncio.sleep(POLL_S)
            _, _, order = await self._post(where)
        assert order["status"] == "ready", order
        del self._files[path]
        _, _, order = await self._post(order["finalize"], {"csr": request})
        while order["status"] == "processing":
            await asyncio.sleep(POLL_S)
            _, _, order = await self._post(where)
        _, _, pem = await self._post(order["certificate"])
        leaf = x509.load_pem_x509_certificate(pem)
        names = leaf.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
        assert names.get_values_for_type(x509.DNSName) == [name]

    def _path(self, url: str) -> str:
        return url.partition(f":{self._port}")[2]

    def close(self) -> None:
        self._writer.transport.abort()

    def _request(self, name: str) -> str:
        builder = x509.CertificateSigningRequestBuilder().subject_name(x509.Name([]))
        general = x509.SubjectAlternativeName([x509.DNSName(name)])
        request = builder.add_extension(general, critical=False).sign(
            self._leaf_key, hashes.SHA256()
        )
        return _base64(request.public_bytes(serialization.Encoding.DER))

    async def _post(self, where: str, payload: Any = None) -> tuple[int, dict[str, str], Any]:
        who = {"kid": self._kid} if self._kid else {"jwk": self._jwk}
        header = {"alg": "ES256", "nonce": self._nonce, "url": where, **who}
        protected = _base64(json.dumps(header).encode())
        body = "" if payload is None else _base64(json.dumps(payload).encode())
        der = self._key.sign(f"{protected}.{body}".encode(), ec.ECDSA(hashes.SHA256()))
        signature = b"".join(each.to_bytes(32, "big") for each in decode_dss_signature(der))
        content = json.dumps(
            {"protected": protected, "payload": body, "signature": _base64(signature)}
        ).encode()
        head = f"POST {self._path(where)} HTTP/1.1\r\nhost: {HOST}:{self._port}\r\n"
        rest = f"content-type: {TYPE}\r\ncontent-length: {len(content)}\r\n\r\n"
        status, headers, answer = await self._exchange((head + rest).encode() + content)
        assert status in (200, 201), answer
        is_json = headers["content-type"] == "application/json"
        return status, headers, json.loads(answer) if is_json else answer

    async def _exchange(self, request: bytes) -> tuple[int, dict[str, str], bytes]:
        self._writer.write(request)
        head = (await self._reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")
        pairs = (line.partition(": ") for line in head[1:-2])
        headers = {name.lower(): value for name, _, value in pairs}
        body = b""
        if headers.get("transfer-encoding") == "chunked":
            while size := int(await self._reader.readline(), 16):
                body += (await self._reader.readexactly(size + 2))[:-2]
            await self._reader.readline()
        elif not request.startswith(b"HEAD"):
            body = await self._reader.readexactly(int(headers.get("content-length", 0)))
        self._nonce = headers.get("replay-nonce", self._nonce)
        return int(head[0].split(" ")[1]), headers, body


class _Web(asyncio.Protocol):
    """The files of challenges."""

    def __init__(self, files: dict[bytes, bytes]) -> None:
        self._files = files

    def connection_made(self, transport: Any) -> None:
        self._transport = transport
        self._head = b""

    def data_received(self, data: bytes) -> None:
        self._head += data
        if b"\r\n\r\n" in self._head:
            body = self._files.get(self._head.split(b" ")[1], b"")
            self._transport.write(
                b"HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: %d\r\n\r\n%b"
                % (len(body), body)
            )
            self._transport.close()


class _Names(asyncio.DatagramProtocol):
    """Every name leads to loopback, and none has CAA."""

    def connection_made(self, transport: Any) -> None:
        self._transport = transport

    def datagram_received(self, data: bytes, addr: Any) -> None:
        # The question is given back as it came (RFC 1035 section 4.1), so little is to be read.
        end = data.index(b"\0", 12) + 5
        has_address = data[end - 4 : end - 2] == b"\0\1"
        head = data[:2] + b"\x85\x80\0\1" + bytes((0, has_address, 0, not has_address)) + bytes(2)
        record = _ADDRESS if has_address else _NOTHING
        self._transport.sendto(head + data[12:end] + record, addr)


def _base64(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()
