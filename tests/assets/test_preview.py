"""Previews: the verdicts are the rules', and the words say what is set."""

from __future__ import annotations

import msgspec
import pytest

from hypermesh.assets import preview, provider
from hypermesh.assets.preview import Access, Known, access, changes, summary, words
from hypermesh.assets.privacy import Caller, Decision, may_discover, may_lease
from hypermesh.wire.asset import (
    AssetKind,
    Audience,
    ConsumerIdentity,
    Price,
    PrivacyLevel,
    Requirement,
    Sharing,
)

OWNER, FRIEND = b"o" * 32, b"f" * 32
OWN, NAMED, OTHER = (bytes([each]) * 32 for each in b"123")
NETWORK = b"N" * 32
HOUR_MS = 3_600_000

KNOWN = [
    Known(OWN, OWNER, False, True, 10),
    Known(NAMED, FRIEND, False, True, 10),
    Known(OTHER, FRIEND, False, False, 0),
    Known(b"4" * 32, FRIEND, True, True, 10),
]


def sharing(level: PrivacyLevel = PrivacyLevel.P2P, **terms: object) -> Sharing:
    made = Sharing(
        level,
        Audience(nodes=[NAMED], networks=[NETWORK]),
        ConsumerIdentity.VERIFIED,
        Requirement(),
        Price(300_000, 1000, HOUR_MS),
        5_000,
        4,
        1,
        24 * HOUR_MS,
        "",
        bytes(16),
    )
    return msgspec.structs.replace(made, **terms)


def names(node: bytes) -> str:
    return {OWN: "desk", NAMED: "bob"}.get(node, "somebody")


@pytest.mark.parametrize("level", PrivacyLevel)
@pytest.mark.parametrize("known", KNOWN)
def test_a_verdict_is_what_the_rules_say_when_the_node_asks(
    level: PrivacyLevel, known: Known
) -> None:
    requirement = Requirement(attested=True, bond_min=5)
    terms = provider.terms_of(
        OWNER, level, sharing(level, requirement=requirement), frozenset({NETWORK})
    )
    found = access(terms, known, frozenset({NETWORK}))
    caller = Caller(known.node, known.owner, frozenset({NETWORK}), known.attested, known.bonded)
    if known.revoked:
        assert not found.discover.allowed
        assert "revoked" in found.lease.reason
    else:
        assert found == Access(may_discover(terms, caller), may_lease(terms, caller))


def test_only_what_differs_is_a_change() -> None:
    before = sharing()
    assert changes(AssetKind.CPU, before, before, names) == []
    after = sharing(share=2_500, price=Price(1, 1, 1), salt=b"x" * 16)
    assert changes(AssetKind.CPU, before, after, names) == [
        ("share", "50 %", "25 %"),
        ("price", "0.0003 CAES/core-hour", "3.6 CAES/core-hour"),
    ]


def test_every_term_but_the_salt_has_words() -> None:
    """A term that was forgotten would change unseen."""
    other = {
        "level": PrivacyLevel.PRIVATE,
        "audience": Audience(nodes=[OTHER]),
        "identity": ConsumerIdentity.ANONYMOUS,
        "requirement": Requirement(True, 7),
        "price": Price(7, 1000, HOUR_MS),
        "share": 1,
        "concurrent_max": 9,
        "duration_ms_min": 2,
        "duration_ms_max": 3,
        "region": "north",
    }
    assert {*other, "salt"} == {each.name for each in msgspec.structs.fields(Sharing)}
    for name, value in other.items():
        assert changes(AssetKind.CPU, sharing(), sharing(**{name: value}), names), name


@pytest.mark.parametrize(
    ("level", "terms", "said"),
    [
        (PrivacyLevel.PRIVATE, {}, "Only the owner's own nodes can see and lease it."),
        (PrivacyLevel.P2P, {}, "these can see it: bob."),
        (PrivacyLevel.P2P, {"audience": Audience()}, "no node is named"),
        (PrivacyLevel.PUBLIC_NETWORK, {}, "every node of 1 named network."),
        (PrivacyLevel.PUBLIC_NETWORK, {"audience": Audience()}, "no network is named"),
        (PrivacyLevel.PRIVATE_NETWORK, {}, "that the owner trusts"),
        (PrivacyLevel.FULL_PUBLIC, {}, "Anyone can see it."),
        (PrivacyLevel.FULL_PUBLIC, {}, "for everybody to read"),
        (PrivacyLevel.P2P, {"requirement": Requirement(True, 0)}, "four proofs in force"),
        (PrivacyLevel.P2P, {"requirement": Requirement(False, 10**9)}, "a bond of 1 CAES"),
        (PrivacyLevel.P2P, {"identity": ConsumerIdentity.ANONYMOUS}, "or without"),
        (PrivacyLevel.P2P, {}, "at most 4 at once, together at most 50 % of it"),
    ],
)
def test_the_summary_says_who_and_how(
    level: PrivacyLevel, terms: dict[str, object], said: str
) -> None:
    yes, no = Decision(True, ""), Decision(False, "")
    lines = summary(
        AssetKind.CPU, sharing(level, **terms), names, [Access(yes, yes), Access(yes, no)]
    )
    assert said in " ".join(lines)
    assert lines[-1] == "Of 2 nodes known here, 2 could see it and 1 lease it."


@pytest.mark.parametrize(
    ("kind", "price", "said"),
    [
        (AssetKind.CPU, Price(300_000, 1000, HOUR_MS), "0.0003 CAES/core-hour"),
        (AssetKind.MEMORY, Price(40_000, 1 << 30, HOUR_MS), "0.00004 CAES/GiB-hour"),
        (AssetKind.GPU, Price(3, 1, HOUR_MS), "0.000000003 CAES/device-hour"),
        (AssetKind.CPU, Price(1, 1 << 40, 2**50), "0.000000001 CAES/core-hour"),
    ],
)
def test_prices_in_units_that_people_think_in(kind: AssetKind, price: Price, said: str) -> None:
    assert preview.price(kind, price) == said


@pytest.mark.parametrize(
    ("milliseconds", "said"),
    [(1, "1 ms"), (1_500, "1500 ms"), (2_000, "2 s"), (120_000, "2 min"), (HOUR_MS * 48, "2 d")],
)
def test_durations(milliseconds: int, said: str) -> None:
    assert preview.duration(milliseconds) == said
    assert (
        words(AssetKind.CPU, sharing(duration_ms_min=milliseconds), names)["shortest lease"] == said
    )
