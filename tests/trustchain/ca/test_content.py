"""What certificates are written from, beside what `cryptography` writes of the same."""

from __future__ import annotations

import pytest
from cryptography import x509
from cryptography.x509.oid import ExtensionOID, NameOID

from hypermesh.trustchain import der
from hypermesh.trustchain.ca import content
from hypermesh.trustchain.ca.names import general_names

from .companies import NOW, Company, named, order, parsed

LONG = "a" * 63 + ".example.org"


@pytest.mark.parametrize(
    "names",
    [
        ("dns:a.example",),
        ("dns:*.a.example", "dns:xn--bcher-kva.example"),
        ("ip:192.0.2.1", "ip:2001:db8::1"),
        ("email:who@example.org", "uri:hm:node:00ff"),
        tuple(f"dns:{number}.{LONG}" for number in range(100)),
    ],
)
def test_alternative_names(names: tuple[str, ...]) -> None:
    assert content.alternative_names(named(*names)) == general_names(named(*names)).public_bytes()


@pytest.mark.parametrize("text", ["a.example", "b" * 63 + ".c"])
def test_a_subject(text: str) -> None:
    wanted = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text)] if len(text) <= 64 else [])
    assert content.subject_of(named(f"dns:{text}")) == wanted.public_bytes()


def test_each_certificate_is_on_its_own_part_of_the_list(classic: Company) -> None:
    """What is kept for all certificates of one part is not given to another."""
    authority = classic.open()
    try:
        for _ in range(12):
            answer = authority.issue(order(authority), NOW)
            points = parsed(answer.chain[0]).extensions.get_extension_for_oid(
                ExtensionOID.CRL_DISTRIBUTION_POINTS
            )
            assert isinstance(points.value, x509.CRLDistributionPoints)
            ((point,),) = [each.full_name or () for each in points.value]
            part = authority.issuer.shard_of(answer.serial)
            assert authority.issuer.places is not None
            assert point.value == authority.issuer.places.crl(authority.issuer.key_id, part)
    finally:
        authority.close()


def test_a_moment_is_written_in_both_forms() -> None:
    assert der.moment(2_524_607_999)[0] == der.UTC_TIME
    assert der.moment(2_524_608_000)[0] == der.GENERALIZED_TIME
