"""Health in words: every fact that matters is seen, and a healthy node is left in peace."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from hypermesh.node import health as rules
from hypermesh.node.health import Facts, Member, OwnAsset, WaitingLease, health, span
from hypermesh.wire.api.health import ActionView
from hypermesh.wire.asset import AssetKind, PrivacyLevel

HOUR_MS = 60 * 60 * 1000
GIB = 1 << 30

WELL = Facts(
    data=Path("/data/my node"),
    now_ms=1_800_000_000_000,
    ledger_failure=None,
    height=41,
    block_age_ms=2_400,
    epoch_ms=60_000,
    contact_age_ms=900,
    settled="ok",
    attested=True,
    certificate_ends_in_ms=20 * HOUR_MS,
    keys_protected=True,
    disk_free_bytes=50 * GIB,
    disk_total_bytes=100 * GIB,
    clock_off_ms=-40,
    members=[Member("bob", True, None), Member("carol", True, None)],
    leases=[WaitingLease(ended=False, waits_ms=900)],
    assets=[OwnAsset(AssetKind.CPU, PrivacyLevel.FULL_PUBLIC, True)],
)


def the_action(**changed: Any) -> ActionView:
    """The one action that a healthy node's facts lead to when they are `changed`."""
    found = health(replace(WELL, **changed))
    (action,) = found.actions
    assert found.level == ("ok" if action.level == "note" else action.level)
    assert action.what
    assert action.why
    assert action.fix
    return action


def test_a_healthy_network_needs_nothing() -> None:
    found = health(WELL)
    assert found.level == "ok"
    assert found.actions == []
    assert found.summary == "All 3 nodes agree; last block 2 s ago"
    assert found.time_ms == WELL.now_ms


def test_a_node_alone_says_so() -> None:
    found = health(replace(WELL, members=[], contact_age_ms=None))
    assert found.summary == "This node is alone in its network; last block 2 s ago"
    assert found.level == "ok"


def test_a_network_without_a_block_says_so() -> None:
    found = health(replace(WELL, height=0, block_age_ms=9 * HOUR_MS))
    assert found.summary == "This network has no block yet"
    assert found.actions == []


def test_a_stopped_ledger_is_failing_and_comes_first() -> None:
    found = health(replace(WELL, ledger_failure="the disk is gone", keys_protected=False))
    assert found.level == "failing"
    assert found.summary == "The ledger has stopped at block 41"
    assert [action.name for action in found.actions] == ["ledger_stopped", "keys_unprotected"]
    assert "the disk is gone" in found.actions[0].why
    assert found.actions[0].fix == (
        "hm down --data '/data/my node' && hm up --data '/data/my node'"
    )


@pytest.mark.parametrize(("age_ms", "silent"), [(15_000, False), (15_001, True), (None, False)])
def test_a_silent_sequencer_is_failing(age_ms: int | None, silent: bool) -> None:
    found = health(replace(WELL, contact_age_ms=age_ms))
    assert (found.level == "failing") is silent
    assert [action.name for action in found.actions] == ["sequencer_silent"] * silent
    if silent:
        assert found.summary.startswith("The sequencer has not been heard for 15 s")


def test_blocks_that_stay_away_are_seen() -> None:
    assert not health(replace(WELL, block_age_ms=180_000)).actions
    action = the_action(block_age_ms=180_001)
    assert (action.name, action.level) == ("no_block", "attention")


def test_a_node_that_is_not_settled_says_why() -> None:
    action = the_action(settled="not yet: the faucet is empty", attested=True)
    assert (action.name, action.level) == ("not_settled", "attention")
    assert "the faucet is empty" in action.why


def test_a_node_without_attestation_is_seen_and_counted() -> None:
    action = the_action(attested=False)
    assert (action.name, action.level) == ("no_attestation", "attention")
    found = health(replace(WELL, attested=False))
    assert found.summary == "2 of 3 nodes agree; last block 2 s ago"


def test_a_node_that_still_settles_is_not_told_twice() -> None:
    assert the_action(settled="not yet: busy", attested=False).name == "not_settled"


def test_a_certificate_near_its_end_is_seen() -> None:
    assert not health(replace(WELL, certificate_ends_in_ms=4 * HOUR_MS)).actions
    action = the_action(certificate_ends_in_ms=4 * HOUR_MS - 1)
    assert (action.name, action.level) == ("certificate_near_end", "attention")
    assert "ends in 3 h" in action.what


def test_a_certificate_that_has_ended_is_failing() -> None:
    assert the_action(certificate_ends_in_ms=1).name == "certificate_near_end"
    action = the_action(certificate_ends_in_ms=0)
    assert (action.name, action.level) == ("certificate_ended", "failing")


def test_unprotected_keys_are_a_note_and_no_failure() -> None:
    action = the_action(keys_protected=False)
    assert (action.name, action.level) == ("keys_unprotected", "note")


@pytest.mark.parametrize(
    ("free", "total", "level"),
    [
        (256 << 20, 100 * GIB, "attention"),
        ((256 << 20) - 1, 100 * GIB, "failing"),
        (2 * GIB - 1, 10 * GIB, "attention"),
        (4 * GIB, 100 * GIB, "attention"),
    ],
)
def test_a_disk_nearly_full_is_seen(free: int, total: int, level: str) -> None:
    action = the_action(disk_free_bytes=free, disk_total_bytes=total)
    assert (action.name, action.level) == ("disk_short", level)
    assert "du -xh '/data/my node'" in action.fix


def test_a_small_disk_with_room_is_no_trouble() -> None:
    assert not health(replace(WELL, disk_free_bytes=2 * GIB, disk_total_bytes=40 * GIB)).actions


@pytest.mark.parametrize(
    ("off_ms", "level", "direction"),
    [
        (10_000, "attention", "behind"),
        (-10_000, "attention", "ahead of"),
        (rules.CLOCK_BROKEN_MS, "failing", "behind"),
    ],
)
def test_a_clock_that_is_off_is_seen(off_ms: int, level: str, direction: str) -> None:
    action = the_action(clock_off_ms=off_ms)
    assert (action.name, action.level) == ("clock_off", level)
    assert direction in action.what
    assert not health(replace(WELL, clock_off_ms=9_999)).actions


def test_a_follower_sees_who_has_no_attestation() -> None:
    found = health(replace(WELL, members=[Member("bob", False, None), Member("carol", True, None)]))
    assert found.summary == "2 of 3 nodes agree; last block 2 s ago"
    assert [action.what for action in found.actions] == ["bob has no attestation in force"]
    assert found.level == "attention"


@pytest.mark.parametrize("attested", [True, False])
def test_the_sequencer_sees_who_is_silent(attested: bool) -> None:
    quiet = [Member("bob", attested, 20_000), Member("carol", True, 500)]
    assert not health(replace(WELL, contact_age_ms=None, members=quiet)).actions
    silent = [Member("bob", attested, 200_000), Member("carol", True, 500)]
    told = health(replace(WELL, contact_age_ms=None, members=silent)).summary
    assert told == "2 of 3 nodes agree; last block 2 s ago"
    action = the_action(contact_age_ms=None, members=silent)
    assert action.what == "bob has not been heard for 3 min"
    assert action.name == "node_silent"
    assert ("lapses" in action.why) is attested


@pytest.mark.parametrize(
    ("ended", "name"), [(False, "leases_not_activated"), (True, "leases_unsettled")]
)
def test_leases_that_wait_are_counted(ended: bool, name: str) -> None:
    one = [WaitingLease(ended=ended, waits_ms=30_000)]
    assert the_action(leases=one).name == name
    assert the_action(leases=one).what.startswith("A lease waits")
    two = [*one, WaitingLease(ended=ended, waits_ms=90_000)]
    assert the_action(leases=two).what.startswith("2 leases wait")
    assert "90 s" in the_action(leases=two).why
    assert not health(replace(WELL, leases=[WaitingLease(ended=ended, waits_ms=29_999)])).actions


@pytest.mark.parametrize(
    ("asset_level", "level"),
    [
        (PrivacyLevel.PRIVATE, "note"),
        (PrivacyLevel.PRIVATE_NETWORK, "note"),
        (PrivacyLevel.P2P, "attention"),
        (PrivacyLevel.PUBLIC_NETWORK, "attention"),
        (PrivacyLevel.FULL_PUBLIC, "attention"),
    ],
)
def test_an_unenforced_asset_matters_where_strangers_use_it(
    asset_level: PrivacyLevel, level: str
) -> None:
    action = the_action(assets=[OwnAsset(AssetKind.CPU, asset_level, enforced=False)])
    assert (action.name, action.level) == ("asset_unenforced", level)
    assert "cpu" in action.what


def test_the_worst_comes_first_and_decides() -> None:
    found = health(
        replace(WELL, keys_protected=False, attested=False, certificate_ends_in_ms=-HOUR_MS)
    )
    assert [action.level for action in found.actions] == ["failing", "attention", "note"]
    assert found.level == "failing"


@pytest.mark.parametrize(
    ("duration_ms", "words"),
    [
        (0, "0 s"),
        (119_999, "119 s"),
        (120_000, "2 min"),
        (2 * HOUR_MS, "2 h"),
        (48 * HOUR_MS, "2 days"),
    ],
)
def test_durations_are_for_people(duration_ms: int, words: str) -> None:
    assert span(duration_ms) == words
