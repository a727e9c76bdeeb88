"""`stoq-server --open`, and aioquic as its client."""

from __future__ import annotations

import asyncio
import secrets
import subprocess
import sys
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
)
from tests.standalone.test_server import WAIT_S, serving
from tests.stoq.plain import Authority, dialled

from hypermesh.standalone.peers import parse_server
from hypermesh.standalone.plain import ALPN


def written(authority: Authority, directory: Path) -> tuple[str, ...]:
    """The flags of an open server with this certificate, in files."""
    chain, key = directory / "chain.pem", directory / "key.pem"
    leaf = x509.load_der_x509_certificate(authority.leaf)
    chain.write_bytes(leaf.public_bytes(Encoding.PEM))
    pem = authority.key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    key.write_bytes(pem)
    return ("--open", "[::1]:0", "--open-chain", str(chain), "--open-key", str(key))


def test_a_plain_client_is_echoed(tmp_path: Path) -> None:
    authority = Authority.found()
    payloads = [b"x", secrets.token_bytes(1 << 20), b"", *[bytes([n]) * 1000 for n in range(80)]]

    async def ask(address: tuple[str, int]) -> list[bytes]:
        async with dialled(address, authority, alpn=ALPN) as client:
            assert client.handshake is not None
            assert client.handshake.alpn_protocol == ALPN
            return await asyncio.gather(*map(client.asked, payloads))

    flags = written(authority, tmp_path)
    with serving(tmp_path / "s", tmp_path / "k", *flags) as running:
        assert running.process.stdout is not None
        name, place = running.process.stdout.readline().split()
        assert name == "open"
        assert asyncio.run(ask(parse_server(place))) == payloads
        running.process.terminate()
        assert running.process.wait(WAIT_S) == 0


def test_what_is_no_certificate_is_a_mistake(tmp_path: Path) -> None:
    chain, key = tmp_path / "c", tmp_path / "k"
    chain.write_text("nothing")
    key.write_text("nothing")
    command = [sys.executable, "-m", "hypermesh.standalone.server", "--data", str(tmp_path / "d")]
    for flags in (
        ("--open", "[::1]:0"),
        ("--open", "[::1]:0", "--open-chain", str(chain), "--open-key", str(key)),
        ("--open", "[::1]:0", "--open-chain", str(tmp_path / "x"), "--open-key", str(key)),
    ):
        done = subprocess.run([*command, *flags], capture_output=True, check=False, timeout=120)
        assert done.returncode == 3, done.stderr
        assert b"HM-ALONE-0003" in done.stderr
