"""The five levels: every requester at every level, for both operations, against a table written
out by hand."""

from __future__ import annotations

import pytest

from hypermesh.assets.privacy import (
    BONUS_BASIS_POINTS,
    PRESETS,
    AccessRefused,
    Caller,
    Operation,
    Terms,
    decide,
    may_discover,
    may_lease,
    parse_level,
)
from hypermesh.wire.asset import Audience, ConsumerIdentity, PrivacyLevel
from hypermesh.wire.errors import InvalidInput

OWNER, FRIEND, STRANGER = b"o" * 32, b"f" * 32, b"s" * 32
OWN_NODE, NAMED_NODE, OTHER_NODE = b"1" * 32, b"2" * 32, b"3" * 32
NAMED_TRUSTED, NAMED_UNTRUSTED, UNNAMED = b"T" * 32, b"U" * 32, b"X" * 32

AUDIENCE = Audience(nodes=[NAMED_NODE], networks=[NAMED_TRUSTED, NAMED_UNTRUSTED])

REQUESTERS = {
    "own node": Caller(OWN_NODE, OWNER, frozenset({UNNAMED})),
    "own account": Caller(None, OWNER),
    "named node": Caller(NAMED_NODE, FRIEND, frozenset({UNNAMED})),
    "trusted network": Caller(OTHER_NODE, FRIEND, frozenset({NAMED_TRUSTED})),
    "untrusted network": Caller(OTHER_NODE, FRIEND, frozenset({NAMED_UNTRUSTED})),
    "certified stranger": Caller(OTHER_NODE, STRANGER, frozenset({UNNAMED})),
    "account alone": Caller(None, STRANGER),
    "nobody": Caller(),
}

ADMITTED = {
    PrivacyLevel.PRIVATE: {"own node", "own account"},
    PrivacyLevel.PRIVATE_NETWORK: {"own node", "own account", "trusted network"},
    PrivacyLevel.P2P: {"own node", "own account", "named node"},
    PrivacyLevel.PUBLIC_NETWORK: {
        "own node",
        "own account",
        "trusted network",
        "untrusted network",
    },
    PrivacyLevel.FULL_PUBLIC: set(REQUESTERS),
}


def terms(level: PrivacyLevel, identity: ConsumerIdentity = ConsumerIdentity.ANONYMOUS) -> Terms:
    return Terms(OWNER, level, AUDIENCE, identity, frozenset({NAMED_TRUSTED}))


@pytest.mark.parametrize("identity", ConsumerIdentity)
@pytest.mark.parametrize("operation", [Operation.DISCOVER, Operation.LEASE])
@pytest.mark.parametrize("name", REQUESTERS)
@pytest.mark.parametrize("level", PrivacyLevel)
def test_level_by_requester_by_operation(
    level: PrivacyLevel, name: str, operation: Operation, identity: ConsumerIdentity
) -> None:
    caller = REQUESTERS[name]
    expected = name in ADMITTED[level]
    if operation is Operation.LEASE:
        expected &= caller.owner is not None
        expected &= identity is ConsumerIdentity.ANONYMOUS or caller.node is not None
    decision = decide(operation, terms(level, identity), caller)
    assert decision.allowed is expected
    assert decision.reason
    if expected:
        decision.require()
    else:
        with pytest.raises(AccessRefused) as refused:
            decision.require()
        assert refused.value.why == decision.reason


def test_an_audience_opens_only_its_own_level() -> None:
    empty = Terms(OWNER, PrivacyLevel.P2P, Audience(networks=[NAMED_TRUSTED]))
    assert not may_discover(empty, REQUESTERS["trusted network"]).allowed
    nodes = Terms(OWNER, PrivacyLevel.PUBLIC_NETWORK, Audience(nodes=[NAMED_NODE]))
    assert not may_discover(nodes, REQUESTERS["named node"]).allowed


def test_private_network_says_which_half_is_missing() -> None:
    refused = may_lease(terms(PrivacyLevel.PRIVATE_NETWORK), REQUESTERS["untrusted network"])
    assert "does not trust" in refused.reason


def test_the_bonus_rises_with_the_level() -> None:
    assert [BONUS_BASIS_POINTS[level] for level in PrivacyLevel] == [0, 2_500, 5_000, 7_500, 10_000]


def test_older_words() -> None:
    assert PRESETS["private"].level is PrivacyLevel.PRIVATE
    assert PRESETS["public"].level is PrivacyLevel.FULL_PUBLIC
    assert (PRESETS["anonymous"].level, PRESETS["anonymous"].identity) == (
        None,
        ConsumerIdentity.ANONYMOUS,
    )
    assert (PRESETS["verified"].level, PRESETS["verified"].identity) == (
        None,
        ConsumerIdentity.VERIFIED,
    )


@pytest.mark.parametrize("level", PrivacyLevel)
def test_a_level_is_parsed_however_it_is_written(level: PrivacyLevel) -> None:
    assert parse_level(level.value) is level
    assert parse_level(level.value.replace("_", "-").upper()) is level
    assert parse_level(level.value.replace("_", "").title()) is level


def test_an_unknown_level_is_refused_with_the_known_ones() -> None:
    with pytest.raises(InvalidInput, match="p2p"):
        parse_level("secret")
