"""What a monitor knows: each kind of line, and what is none of them."""

from __future__ import annotations

import hashlib
import ssl

import pytest
from cryptography import x509

from hypermesh.trustchain.ct.entry import Entry
from hypermesh.trustchain.ct.known import Known, read_known
from hypermesh.trustchain.ct.watch import Names, judged
from hypermesh.wire.errors import InvalidInput

from .samples import Issuer


def entry(certificate: bytes) -> Entry:
    return Entry(0, 1, certificate, None, None, (), b"", b"")


def test_each_kind_of_line_is_read(issuer: Issuer) -> None:
    mine = issuer.final("a.example").certificate
    digest = hashlib.sha256(b"x").digest()
    text = f"""
# what is ours
{ssl.DER_cert_to_PEM_cert(mine)}
sha256:{digest.hex().upper()}   # from an alert
serial:1F:03:aa
  *.Example.com
spiffe://mesh/a
2001:db8::1
"""
    known = read_known(text)
    assert known == Known(
        frozenset({hashlib.sha256(mine).digest(), digest}),
        frozenset({0x1F03AA}),
        ("*.example.com", "spiffe://mesh/a", "2001:db8::1"),
    )
    assert read_known("") == Known()


@pytest.mark.parametrize(
    "line",
    [
        "sha256:1234",
        "sha256:" + "g" * 64,
        "serial:",
        "serial:" + "1" * 41,
        "two words",
        "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----",
        "-----BEGIN CERTIFICATE-----",
    ],
)
def test_what_cannot_be_known_is_named(line: str) -> None:
    with pytest.raises(InvalidInput):
        read_known(f"a.example\n{line}\n")


def test_others_of_the_same_name_are_alerts(issuer: Issuer) -> None:
    mine, other = (issuer.final("a.example").certificate for _ in range(2))
    known = read_known(ssl.DER_cert_to_PEM_cert(mine))
    names = Names(known=known.digests)
    assert judged(0, entry(mine), names) is None
    assert mine != other
    alert = judged(0, entry(other), names)
    assert alert is not None
    assert alert.names == ("a.example",)
    serial = x509.load_der_x509_certificate(other).serial_number
    assert judged(0, entry(other), Names(serials=frozenset({serial}))) is None
