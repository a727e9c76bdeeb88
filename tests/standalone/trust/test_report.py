"""The report is a pure function over the audit log, and sees what was altered."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec
import pytest

from hypermesh.standalone.trust.recording import policy_entry
from hypermesh.standalone.trust.report import ROWS_SHOWN_MAX, Report, made, page
from hypermesh.standalone.trust.settings import parse_settings
from hypermesh.trustchain.ca.audit import (
    DOCUMENT_BYTES_MAX,
    ORIGIN,
    AuditRow,
    Entry,
    follows,
)
from hypermesh.wire.codec import encode


def chained(entries: Sequence[Entry]) -> list[AuditRow]:
    found: list[AuditRow] = []
    for number, entry in enumerate(entries, 1):
        found.append(follows(entry, number, found[-1].hash if found else ORIGIN))
    return found


def rows(count: int = 10) -> list[AuditRow]:
    """An installation, then issues by two requesters, each fourth revoked."""
    entries = [Entry(100, "ceremony", "ca.install", "k", b"x")]
    for number in range(count):
        who = f"token:{number % 2}"
        at_s = 100 + 10 * number
        document = encode(("service", number))
        entries.append(Entry(at_s, who, "ca.issue", f"{number:x}", document))
        if number % 4 == 3:
            entries.append(Entry(at_s, "token:op", "ca.revoke", f"{number:x}", encode((1,))))
    return chained(entries)


def reported(of: list[AuditRow], from_s: int = 0, to_s: int = 1 << 40) -> Report:
    return made(
        of,
        from_s,
        to_s,
        made_s=1_800_000_000,
        organization="A <b>& c",
        profile="classic",
        permitted=("dns:.example",),
        root_sha256="ab" * 32,
        logs={"log.example/certificates": "log.example/certificates\n7\nAAAA\n"},
        names=lambda serial: (f"dns:{serial}.example",),
    )


def test_it_counts_by_kind_requester_and_reason() -> None:
    report = reported(rows())
    assert (report.issued, report.revoked) == (10, 2)
    assert report.issued_by_requester == {"token:0": 5, "token:1": 5}
    assert report.revoked_by_reason == {"1": 2}
    assert report.revoked_by_actor == {"token:op": 2}
    assert report.acts_by_kind == {"ca.install": 1, "ca.issue": 10, "ca.revoke": 2}
    assert report.log_indices == (0, 9)
    assert report.rows == (1, 13)
    assert report.chain_whole
    assert report == reported(rows()), "the same rows have the same report"


def test_acts_on_certificates_say_their_names() -> None:
    report = reported(rows())
    assert {each.names for each in report.acts if each.kind == "ca.install"} == {()}
    issued = [each for each in report.acts if each.kind == "ca.issue"]
    assert [each.names for each in issued] == [(f"dns:{n}.example",) for n in range(10)]
    assert "dns:9.example" in page(report)


def test_it_says_under_which_policies_and_when_they_changed() -> None:
    narrow = parse_settings('permitted = ["dns:.a.example"]', "a test")
    wide = parse_settings('permitted = ["dns:.a.example", "dns:.b.example"]', "a test")
    said = [(100, narrow), (200, narrow), (300, wide), (400, wide), (500, narrow)]
    log = chained([policy_entry(settings, at_s) for at_s, settings in said])
    found = reported(log, 250, 450).policies
    assert [(each.at_s, each.permitted) for each in found] == [
        (200, narrow.permitted),
        (300, wide.permitted),
    ]
    assert found[0].sha256 != found[1].sha256
    assert [each.at_s for each in reported(log).policies] == [100, 300, 500]
    assert reported(log, 10, 20).policies == []
    assert "dns:.a.example, dns:.b.example" in page(reported(log))


def test_a_policy_that_is_too_long_for_a_row_is_told_from_others() -> None:
    many = [f"dns:.{'a' * 60}{number}.example" for number in range(600)]
    long, other = (parse_settings(f"permitted = {names}", "a test") for names in (many, many[:-1]))
    log = chained([policy_entry(long, 100), policy_entry(other, 200)])
    assert all(len(each.entry.document) <= DOCUMENT_BYTES_MAX for each in log)
    first, second = reported(log).policies
    assert first.is_cut
    assert first.permitted == ()
    assert first.sha256 != second.sha256


def test_a_period_takes_what_is_in_it() -> None:
    report = reported(rows(), 120, 150)
    assert (report.issued, report.revoked) == (3, 1)
    assert report.head_before != ORIGIN.hex()
    empty = reported(rows(), 5, 6)
    assert (empty.issued, empty.rows, empty.acts) == (0, None, [])


@pytest.mark.parametrize("which", [0, 5, 11])
def test_an_altered_or_missing_row_is_seen(which: int) -> None:
    whole = rows()
    altered = list(whole)
    entry = msgspec.structs.replace(whole[which].entry, actor="nobody")
    altered[which] = msgspec.structs.replace(whole[which], entry=entry)
    assert not reported(altered).chain_whole
    without = whole[:which] + whole[which + 1 :]
    if which:
        assert not reported(without).chain_whole
    assert "BROKEN" in page(reported(altered))


def test_the_page_escapes_and_claims_no_more_than_it_shows() -> None:
    text = page(reported(rows()))
    assert "<b>" not in text
    assert "A &lt;b&gt;&amp; c" in text
    assert "certifies no compliance" in text
    assert "164.312(b)" in text
    assert "CC6.1" in text
    assert "<script" not in text


def test_many_acts_are_counted_and_the_first_are_shown() -> None:
    report = reported(rows(ROWS_SHOWN_MAX))
    assert len(report.acts) == ROWS_SHOWN_MAX
    assert report.acts_left_out == 1 + ROWS_SHOWN_MAX + ROWS_SHOWN_MAX // 4 - ROWS_SHOWN_MAX
