"""From an account to a certificate, and what becomes of it (RFC 8555 section 7)."""

from __future__ import annotations

import asyncio
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa

import pytest

from .client import b64, csr, p256
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
