"""No byte of a certificate can be changed: one bit of every byte, and each signature exchanged."""

from __future__ import annotations

import warnings

import pytest
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.utils import CryptographyDeprecationWarning

from hypermesh.trustchain import alternative, der, oids
from hypermesh.trustchain.ca.algorithm import UNREADABLE
from hypermesh.trustchain.ca.issuing import IssuingAuthority
from hypermesh.trustchain.ca.profile import Kind

from .companies import Company, company, issued, parsed


def is_believed(certificate: bytes, issuer: bytes) -> bool:
    try:
        with warnings.catch_warnings():
            # It warns of a negative serial number; the signature is to say no by itself.
            warnings.simplefilter("ignore", CryptographyDeprecationWarning)
            read, above = parsed(certificate), parsed(issuer)
        read.verify_directly_issued_by(above)
        list(read.extensions)
    except (*UNREADABLE, InvalidSignature, TypeError):
        return False
    return True


def unused_bits(data: bytes) -> int:
    """Where the last BIT STRING, the signature, says how many of its bits do not count. Of a
    signature that ends with a zero bit, `cryptography` takes one bit less for the same."""
    *_, signature = der.read(data).children()
    return len(data) - len(signature.content)


def positions(data: bytes) -> list[int]:
    """All bytes that count."""
    return [position for position in range(len(data)) if position != unused_bits(data)]


def flipped(data: bytes, position: int) -> bytes:
    changed = bytearray(data)
    changed[position] ^= 1 << position % 8
    return bytes(changed)


@pytest.mark.parametrize("place", [0, 1])
def test_no_byte_can_be_changed(any_authority: IssuingAuthority, place: int) -> None:
    """The body is signed as it stands, the algorithm is that in the body, and each signature has
    one encoding, but for `unused_bits`."""
    chain = issued(any_authority).chain
    assert is_believed(chain[place], chain[place + 1])
    for position in positions(chain[place]):
        assert not is_believed(flipped(chain[place], position), chain[place + 1]), position


def test_no_byte_of_a_root_can_be_changed(any_company: Company) -> None:
    root = any_company.root.certificate
    assert is_believed(root, root)
    for position in positions(root):
        changed = flipped(root, position)
        assert not is_believed(changed, changed), position


def test_the_alternative_signature_alone_holds_what_it_covers(
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    """It does not cover the `signature` field of the body nor, of course, what stands after the
    body (X.509 clause 9.8.4): these bytes are found in the DER and are the only ones that it lets
    pass. The outer signature covers them."""
    firm = company(tmp_path_factory.mktemp("hybrid"), "hybrid")
    authority = firm.open()
    leaf, issuing, _ = issued(authority, Kind.NODE).chain
    authority.close()
    public = alternative.key_in(parsed(issuing))
    assert public is not None
    body, *_ = der.read(leaf).children()
    parts = body.children()
    start = leaf.index(body.encoded)
    field = leaf.index(parts[2].encoded, start)
    uncovered = {
        *range(field, field + len(parts[2].encoded)),
        *range(start + len(body.encoded), len(leaf)),
    }
    passed = set()
    for position in range(len(leaf)):
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", CryptographyDeprecationWarning)
                certificate = parsed(flipped(leaf, position))
            is_held = alternative.holds(certificate, public)
        except (*UNREADABLE, der.NotDer):
            continue
        if is_held:
            passed.add(position)
    assert passed <= uncovered
    assert passed


def test_signatures_of_two_certificates_cannot_be_exchanged(
    any_authority: IssuingAuthority,
) -> None:
    first, second = (issued(any_authority).chain for _ in range(2))
    bodies, algorithms, signatures = zip(
        *(der.read(chain[0]).children() for chain in (first, second)), strict=True
    )
    mixed = der.sequence(bodies[0].encoded, algorithms[0].encoded, signatures[1].encoded)
    assert not is_believed(mixed, first[1])


def test_alternative_signatures_cannot_be_exchanged(
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    firm = company(tmp_path_factory.mktemp("hybrid"), "hybrid")
    authority = firm.open()
    leaves = [parsed(issued(authority).chain[0]) for _ in range(2)]
    public = alternative.key_in(parsed(authority.chain()[0]))
    authority.close()
    assert public is not None
    values = [
        each.extensions.get_extension_for_oid(oids.ALT_SIGNATURE_VALUE).value.public_bytes()
        for each in leaves
    ]
    mixed = leaves[0].public_bytes(Encoding.DER).replace(*values)
    assert alternative.holds(leaves[0], public)
    assert not alternative.holds(parsed(mixed), public)
