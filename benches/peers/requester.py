"""Requesters of `measures.trustchain_issue_https`: connections over TLS that are kept, each with
one order under way. Told, as JSON: `port`, `root` (a file), `token`, `name`, `connections`, `each`
(the orders of a connection), `label`. Every order is for the same request under a reference of its
own, so each is another certificate; every answer is checked for its status, and each connection's
last one for the certificate in it. Prints the seconds of each order and of all."""

from __future__ import annotations

import asyncio
import json
import ssl
import sys
import time
from typing import Any

import uvloop
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding


class Requester(asyncio.Protocol):
    """One connection."""

    def __init__(self, head: bytes, body: bytes, label: str, count: int) -> None:
        self.times: list[float] = []
        self.done = asyncio.get_running_loop().create_future()
        self.answer = b""
        self._head = head
        self._body = body
        self._label = label
        self._count = count

    def connection_made(self, transport: Any) -> None:
        self._transport = transport

    def ask(self) -> None:
        reference = f"{self._label}-{len(self.times)}".encode()
        self.answer = b""
        self._wanted = 0
        self._begun = time.perf_counter()
        self._transport.write(self._head % reference + self._body)

    def data_received(self, data: bytes) -> None:
        self.answer += data
        if not self._wanted:
            end = self.answer.find(b"\r\n\r\n")
            if end < 0:
                return
            head = self.answer[:end].lower()
            if not head.startswith(b"http/1.1 201 "):
                self.done.set_exception(RuntimeError(self.answer.decode()))
                self._transport.abort()
                return
            length = head.partition(b"content-length: ")[2].partition(b"\r\n")[0]
            self._wanted = end + 4 + int(length)
        if len(self.answer) < self._wanted:
            return
        self.times.append(time.perf_counter() - self._begun)
        if len(self.times) < self._count:
            self.ask()
        else:
            self.done.set_result(None)

    def connection_lost(self, _: Exception | None) -> None:
        if not self.done.done():
            self.done.set_exception(RuntimeError("the server closed the connection"))


def request(name: str) -> bytes:
    general = x509.SubjectAlternativeName([x509.DNSName(name)])
    builder = x509.CertificateSigningRequestBuilder().subject_name(x509.Name([]))
    signed = builder.add_extension(general, critical=False).sign(
        ec.generate_private_key(ec.SECP256R1()), hashes.SHA256()
    )
    return signed.public_bytes(Encoding.DER)


async def main() -> None:
    told = json.loads(sys.argv[1])
    body = request(told["name"])
    head = (
        "POST /v1/certificates?reference=%%b HTTP/1.1\r\nhost: localhost\r\n"
        f"authorization: Bearer {told['token']}\r\ncontent-type: application/pkcs10\r\n"
        "accept: application/pem-certificate-chain\r\n"
        f"content-length: {len(body)}\r\n\r\n"
    ).replace("%%b", "%b")
    context = ssl.create_default_context(cafile=told["root"])
    loop = asyncio.get_running_loop()
    made = [
        await loop.create_connection(
            lambda place=place: Requester(
                head.encode(), body, f"{told['label']}-{place}", told["each"]
            ),
            "::1",
            told["port"],
            ssl=context,
            server_hostname="localhost",
        )
        for place in range(told["connections"])
    ]
    begun = time.perf_counter()
    for _, each in made:
        each.ask()
    await asyncio.gather(*(each.done for _, each in made))
    took = time.perf_counter() - begun
    for transport, each in made:
        pem = each.answer.partition(b"\r\n\r\n")[2]
        leaf = x509.load_pem_x509_certificates(pem)[0]
        names = leaf.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
        assert names.get_values_for_type(x509.DNSName) == [told["name"]]
        transport.abort()
    times = [time_s for _, each in made for time_s in each.times]
    print(json.dumps({"seconds": took, "times": times}))


if __name__ == "__main__":
    uvloop.run(main())
