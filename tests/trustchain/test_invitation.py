"""The text of an invitation: what it survives and what it says when it does not."""

from __future__ import annotations

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hypermesh.trustchain.invitation import (
    LIFETIME_S,
    Invitation,
    InvitationExpired,
    InvitationUnreadable,
    parse,
)
from hypermesh.wire.asset import Locator

from .samples import GENESIS, LOCATOR, NOW

INVITATION = Invitation(2, GENESIS, bytes(32), bytes(16), NOW + LIFETIME_S, False, [LOCATOR])
TEXT = str(INVITATION)
ALPHABET = "abcdefghijklmnopqrstuvwxyz234567"

locators = st.builds(
    Locator,
    node=st.binary(min_size=32, max_size=32),
    hosts=st.lists(st.text(min_size=2, max_size=20), min_size=1, max_size=4),
    port=st.integers(1, 65535),
    sequence=st.integers(0, 2**53),
    expires_ms=st.integers(0, 2**53),
)
invitations = st.builds(
    Invitation,
    version=st.just(2),
    genesis=st.binary(min_size=32, max_size=32),
    root_sha256=st.binary(min_size=32, max_size=32),
    secret=st.binary(min_size=16, max_size=16),
    expires_s=st.integers(0, 2**40),
    mine=st.booleans(),
    locators=st.lists(locators, min_size=1, max_size=4),
)


@given(invitations)
def test_a_text_gives_the_invitation_back(invitation: Invitation) -> None:
    text = str(invitation)
    assert parse(text) == invitation
    assert text.startswith("hm1-")
    assert set(text.removeprefix("hm1-")) <= set(ALPHABET)


def test_the_text_has_a_frozen_form() -> None:
    """Tokens are in the hands of people: another form needs another version."""
    assert TEXT == (
        "hm1-"
        "acozoaweeaaacaqdaqcqmbyibefawdanbyhraeiscmkbkfqxdamrugy4dupb7rbaaaaaaaaaaaaaaaaa"
        "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaamieaaaaaaaaaaaaaaaaaaaaaaaaaazzvutyaqykiznrba"
        "aaaqeayeaudaocajbifqydiob4ibceqtcqkrmfyydenbwha5dypzdkzsgaydcotemi4duorrzuqpwaop"
        "aaaadiyylriabihozceky"
    )


@given(st.integers(0, len(TEXT) - 1))
def test_a_text_cut_short_is_called_incomplete(length: int) -> None:
    with pytest.raises(InvitationUnreadable) as refusal:
        parse(TEXT[:length])
    if length >= len("hm1-"):
        assert refusal.value.what == "The invitation is incomplete"
    if length >= len("hm1-") + 8:
        assert refusal.value.why == f"{length} of {len(TEXT)} characters are there"


@given(st.integers(4, len(TEXT) - 1), st.sampled_from(ALPHABET + "018!ä"))
def test_every_mistyped_character_is_found(position: int, character: str) -> None:
    typed = TEXT[:position] + character + TEXT[position + 1 :]
    if typed != TEXT:
        with pytest.raises(InvitationUnreadable):
            parse(typed)


@given(st.integers(4, len(TEXT) - 2))
def test_swapped_neighbours_are_found(position: int) -> None:
    typed = TEXT[:position] + TEXT[position + 1] + TEXT[position] + TEXT[position + 2 :]
    if typed != TEXT:
        with pytest.raises(InvitationUnreadable):
            parse(typed)


def test_white_space_of_a_terminal_does_not_count() -> None:
    wrapped = "  " + "\n".join(TEXT[i : i + 40] for i in range(0, len(TEXT), 40)) + " \r\n"
    assert parse(wrapped) == INVITATION


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "begins with hm1-"),
        ("https://example.org", "begins with hm1-"),
        (TEXT.upper(), "begins with hm1-"),
        ("hm1-" + TEXT[4:].upper(), "lower-case"),
        (TEXT + "=", "lower-case"),
        (TEXT + "aa", "characters"),
        (TEXT + TEXT[4:], "characters"),
        (TEXT[:20] + "1" + TEXT[21:], "'1' is not a character"),
        ("hm1-" + "a" * 5000, "longer than"),
    ],
)
def test_other_texts_are_refused_with_a_reason(text: str, says: str) -> None:
    with pytest.raises(InvitationUnreadable) as refusal:
        parse(text)
    assert says in str(refusal.value)
    assert "hm invite" in refusal.value.fix


def test_an_invitation_of_another_version_is_refused() -> None:
    later = msgspec.structs.replace(INVITATION, version=3)
    with pytest.raises(InvitationUnreadable, match="another version"):
        parse(str(later))


def test_it_ends_with_its_hour() -> None:
    INVITATION.check_time(NOW + LIFETIME_S)
    with pytest.raises(InvitationExpired, match="good until 2027-01-15 09:00 UTC"):
        INVITATION.check_time(NOW + LIFETIME_S + 1)
