"""Renewal information (RFC 9773)."""

from __future__ import annotations

import pytest

from hypermesh.trustchain.ca.issuing import CertificateUnknown, IssuingAuthority
from hypermesh.trustchain.ca.renewal import Window, certificate_id, identified, renewal_window
from hypermesh.trustchain.ca.store import Reason
from hypermesh.wire.errors import InvalidInput

from .companies import NOW, issued


def test_the_window_lies_in_the_second_half_of_the_life() -> None:
    day = 86_400
    window = renewal_window(NOW, NOW + day, now_s=NOW)
    assert window == Window(NOW + day // 2, NOW + day * 5 // 6)
    assert renewal_window(NOW, NOW + day, now_s=NOW + 3 * day) == window


def test_what_must_be_replaced_has_a_window_in_the_past() -> None:
    for now_s, since_s in ((NOW + 5, NOW), (NOW + 80_000, NOW + 79_999), (NOW, NOW)):
        window = renewal_window(NOW - 300, NOW + 86_400, now_s=now_s, replace_since_s=since_s)
        assert window.start_s < window.end_s < now_s


def test_a_revoked_certificate_is_renewed_at_once(authority: IssuingAuthority) -> None:
    answer = issued(authority)
    assert authority.renewal(answer.serial, NOW).start_s > NOW
    authority.revoke(answer.serial, Reason.KEY_COMPROMISE, NOW, "tester")
    assert authority.renewal(answer.serial, NOW).end_s < NOW
    with pytest.raises(CertificateUnknown):
        authority.renewal(77, NOW)


def test_identifiers_name_issuer_and_serial(authority: IssuingAuthority) -> None:
    answer = issued(authority)
    identifier = certificate_id(answer.chain[0])
    assert identified(identifier) == (authority.issuer.key_id, answer.serial)
    # RFC 9773 section 4.1 gives this one.
    assert identified("aYhba4dGQEHhs3uEe6CuLN4ByNQ.AIdlQyE") == (
        bytes.fromhex("69885b6b87464041e1b37b847ba0ae2cde01c8d4"),
        0x87654321,
    )
    for wrong in (
        "",
        ".",
        "a.b",
        identifier + "=",
        identifier + "AAAA",
        identifier.replace(".", ""),
    ):
        with pytest.raises(InvalidInput):
            identified(wrong)
