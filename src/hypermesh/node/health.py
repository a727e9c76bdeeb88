"""How a node is, in words: a pure function over facts.

One line says it all ("All 3 nodes agree; last block 2 s ago"); under it stands what its owner
should see to, the worst first. A node agrees that has attested the present epoch: its challenges
follow from the hash of a block, so it cannot without the same ledger.
"""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from hypermesh.wire.api.health import ActionView, HealthView, Level
from hypermesh.wire.asset import AssetKind, PrivacyLevel

SEQUENCER_SILENT_MS = 15_000
"""A follower hears from the sequencer at least every 10 s: that long an empty answer waits."""
EPOCHS_OVERDUE = 3
"""A block is made at least every epoch."""
CERTIFICATE_SHORT_MS = 4 * 60 * 60 * 1000
"""Renewal begins 8 hours before the end; half of that without success is trouble."""
DISK_FULL_BYTES = 256 << 20
DISK_SHORT_BYTES = 2 << 30
DISK_SHORT_PERCENT = 5
CLOCK_OFF_MS = 10_000
CLOCK_BROKEN_MS = 5 * 60 * 1000
"""Certificates are backdated by about as much, and transactions are good for ten minutes."""
LEASE_WAITING_MS = 30_000
NODE_SILENT_MS = 20_000
"""A node that follows asks the sequencer anew at least every 10 s."""
SHARED = frozenset({PrivacyLevel.P2P, PrivacyLevel.PUBLIC_NETWORK, PrivacyLevel.FULL_PUBLIC})
"""Levels at which others than the network's own people use an asset."""

_RANK = {"failing": 0, "attention": 1, "note": 2}


@dataclass(frozen=True, slots=True)
class Member:
    """Another node, not revoked. `silent_ms`: how long the sequencer, whom everybody calls, has not
    heard it; None at a follower, for followers call each other only when they need something."""

    name: str
    attested: bool
    silent_ms: int | None


@dataclass(frozen=True, slots=True)
class OwnAsset:
    """A leasable asset of this node."""

    kind: AssetKind
    level: PrivacyLevel
    enforced: bool


@dataclass(frozen=True, slots=True)
class WaitingLease:
    """A lease of this owner that waits for somebody: reserved and not activated, or ended and not
    paid."""

    ended: bool
    waits_ms: int


@dataclass(frozen=True, slots=True)
class Facts:
    """What health is judged by. Times and durations in milliseconds."""

    data: Path
    now_ms: int
    ledger_failure: str | None
    height: int
    block_age_ms: int
    epoch_ms: int
    contact_age_ms: int | None
    """None on the sequencer itself."""
    settled: str
    """`ok`, or what is not settled yet."""
    attested: bool
    certificate_ends_in_ms: int
    keys_protected: bool
    disk_free_bytes: int
    disk_total_bytes: int
    clock_off_ms: int
    """Block time less this machine's clock."""
    members: Sequence[Member]
    leases: Sequence[WaitingLease]
    assets: Sequence[OwnAsset]
    contradictions: Sequence[str] = ()
    """Why transparency logs of the network are not to be believed."""


def health(facts: Facts) -> HealthView:
    """The line, the level and the actions."""
    actions = sorted(_actions(facts), key=lambda action: _RANK[action.level])
    level: Level = "ok"
    if actions and actions[0].level != "note":
        level = actions[0].level
    return HealthView(level, _summary(facts), actions, facts.now_ms)


def _summary(facts: Facts) -> str:
    if facts.ledger_failure is not None:
        return f"The ledger has stopped at block {facts.height}"
    if _sequencer_is_silent(facts):
        return (
            f"The sequencer has not been heard for {span(facts.contact_age_ms or 0)}; "
            f"what is read here is as old"
        )
    if not facts.height:
        return "This network has no block yet"
    last = f"last block {span(facts.block_age_ms)} ago"
    everybody = 1 + len(facts.members)
    agreeing = facts.attested + sum(_agrees(member) for member in facts.members)
    if everybody == 1:
        return f"This node is alone in its network; {last}"
    if agreeing == everybody:
        return f"All {everybody} nodes agree; {last}"
    return f"{agreeing} of {everybody} nodes agree; {last}"


def _agrees(member: Member) -> bool:
    """An attestation outlives by some minutes the node that made it."""
    return member.attested and (member.silent_ms or 0) <= NODE_SILENT_MS


def _actions(facts: Facts) -> Iterator[ActionView]:
    yield from _ledger(facts)
    yield from _logs(facts)
    yield from _this_node(facts)
    yield from _machine(facts)
    yield from _others(facts)
    yield from _leases(facts)
    yield from _assets(facts)


def _ledger(facts: Facts) -> Iterator[ActionView]:
    if facts.ledger_failure is not None:
        yield ActionView(
            "ledger_stopped",
            "failing",
            "The ledger has stopped",
            f"{facts.ledger_failure}. Nothing can be written, and what is read stays as it was",
            f"hm down{_at(facts)} && hm up{_at(facts)}",
        )
    elif _sequencer_is_silent(facts):
        yield ActionView(
            "sequencer_silent",
            "failing",
            f"The sequencer has not been heard for {span(facts.contact_age_ms or 0)}",
            "Nothing can be written until it is back; reads go on from this node's copy",
            "hm up    # on the machine of the sequencer",
        )
    elif facts.height and facts.block_age_ms > EPOCHS_OVERDUE * facts.epoch_ms:
        yield ActionView(
            "no_block",
            "attention",
            f"No block for {span(facts.block_age_ms)}",
            f"One is due at least every {span(facts.epoch_ms)}; attestations lapse without",
            f"tail -n 50 {_quoted(facts.data / 'node.log')}",
        )


def _logs(facts: Facts) -> Iterator[ActionView]:
    for why in facts.contradictions:
        yield ActionView(
            "log_contradicted",
            "failing",
            "A transparency log of the network shows another history than before",
            f"{why}. It was put back from an older copy, or its keys are in other hands",
            f"hm cert log{_at(facts)}",
        )


def _this_node(facts: Facts) -> Iterator[ActionView]:
    if facts.settled != "ok":
        yield ActionView(
            "not_settled",
            "attention",
            "This node is not settled yet",
            facts.settled,
            f"tail -n 50 {_quoted(facts.data / 'node.log')}",
        )
    elif not facts.attested:
        yield ActionView(
            "no_attestation",
            "attention",
            "This node has no attestation in force",
            "Until its four proofs are on the ledger nobody can lease what it offers",
            f"tail -n 50 {_quoted(facts.data / 'node.log')}",
        )
    ends_in_ms = facts.certificate_ends_in_ms
    if ends_in_ms <= 0:
        yield ActionView(
            "certificate_ended",
            "failing",
            f"The certificate of this node ended {span(-ends_in_ms)} ago",
            "No other node talks to it before it has a new one",
            f"hm down{_at(facts)} && hm up{_at(facts)}",
        )
    elif ends_in_ms < CERTIFICATE_SHORT_MS:
        yield ActionView(
            "certificate_near_end",
            "attention",
            f"The certificate of this node ends in {span(ends_in_ms)}",
            "It should have been renewed hours ago; the founder's node does that",
            "hm up    # on the machine of the founder",
        )
    if not facts.keys_protected:
        yield ActionView(
            "keys_unprotected",
            "note",
            "The keys of this node are not sealed by a passphrase",
            "Whoever can read its data directory can act as this node and its owner",
            "HYPERMESH_PASSPHRASE=... hm up --data NEW    # keys are sealed when a node is made",
        )


def _machine(facts: Facts) -> Iterator[ActionView]:
    free, total = facts.disk_free_bytes, facts.disk_total_bytes
    is_full = free < DISK_FULL_BYTES
    if is_full or free < DISK_SHORT_BYTES or free * 100 < total * DISK_SHORT_PERCENT:
        yield ActionView(
            "disk_short",
            "failing" if is_full else "attention",
            f"The disk of the data directory is {'full' if is_full else 'nearly full'}",
            f"{free >> 20} MiB of {total >> 20} MiB are free; without room the ledger stops",
            f"du -xh {_quoted(facts.data)} | sort -h | tail",
        )
    off_ms = abs(facts.clock_off_ms)
    if off_ms >= CLOCK_OFF_MS:
        direction = "behind" if facts.clock_off_ms > 0 else "ahead of"
        yield ActionView(
            "clock_off",
            "failing" if off_ms >= CLOCK_BROKEN_MS else "attention",
            f"The clock of this machine is {span(off_ms)} {direction} the network's",
            "Certificates and transactions are good for a time by the clock",
            "sudo timedatectl set-ntp true",
        )


def _others(facts: Facts) -> Iterator[ActionView]:
    for member in facts.members:
        if member.silent_ms is None:
            if member.attested:
                continue
            what = f"{member.name} has no attestation in force"
            why = "It is away, or its proofs fail; nothing of it can be leased"
        elif member.silent_ms > NODE_SILENT_MS:
            what = f"{member.name} has not been heard for {span(member.silent_ms)}"
            why = "What it lends cannot be reached; its attestation lapses with the next epochs"
            if not member.attested:
                why = "It has no attestation in force any more; nothing of it can be leased"
        else:
            # It is here; without an attestation it is new, or at work on its proofs.
            continue
        fix = f"hm up    # on the machine of {member.name}"
        yield ActionView("node_silent", "attention", what, why, fix)


def _leases(facts: Facts) -> Iterator[ActionView]:
    waiting = [each for each in facts.leases if each.waits_ms >= LEASE_WAITING_MS]
    for ended, name, words, why in (
        (False, "leases_not_activated", "for its provider", "It frees itself if nobody comes"),
        (True, "leases_unsettled", "to be paid", "After the claim window its escrow returns"),
    ):
        of_kind = [each for each in waiting if each.ended is ended]
        if of_kind:
            longest = span(max(each.waits_ms for each in of_kind))
            count = f"{len(of_kind)} leases wait" if len(of_kind) > 1 else "A lease waits"
            yield ActionView(
                name,
                "attention",
                f"{count} {words}",
                f"For {longest} by now. {why}",
                f"hm lease ls{_at(facts)}",
            )


def _assets(facts: Facts) -> Iterator[ActionView]:
    for asset in facts.assets:
        if asset.enforced:
            continue
        yield ActionView(
            "asset_unenforced",
            "attention" if asset.level in SHARED else "note",
            f"Nothing on this machine enforces the limits of its {asset.kind.value} asset",
            f"At level {asset.level.value} a lease could take more than was agreed; "
            "cgroups (v2, or v1) would keep it",
            f"hm doctor{_at(facts)}",
        )


def _sequencer_is_silent(facts: Facts) -> bool:
    return facts.contact_age_ms is not None and facts.contact_age_ms > SEQUENCER_SILENT_MS


def span(duration_ms: int) -> str:
    """A duration for people, in its largest unit."""
    seconds = duration_ms // 1000
    if seconds < 120:
        return f"{seconds} s"
    if seconds < 2 * 3600:
        return f"{seconds // 60} min"
    if seconds < 48 * 3600:
        return f"{seconds // 3600} h"
    return f"{seconds // 86_400} days"


def _at(facts: Facts) -> str:
    return f" --data {_quoted(facts.data)}"


def _quoted(path: Path) -> str:
    return shlex.quote(str(path))
