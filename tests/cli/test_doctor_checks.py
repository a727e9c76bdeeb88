"""Every check of `hm doctor` finds its fault in the facts, and nothing in those of a sound node."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import pytest

from hypermesh.cli.doctor.checks import CHECKS, State, examine, is_healthy
from hypermesh.cli.doctor.facts import (
    Answers,
    Database,
    Directory,
    Facts,
    Ledger,
    Machine,
    Member,
    Process,
    Secret,
)
from hypermesh.wire.api.dns import DnsPlace, DnsView
from hypermesh.wire.api.health import ActionView, HealthView
from hypermesh.wire.api.network import StatusView

NOW_MS = 1_790_000_000_000
HOUR_MS = 3_600_000
DATA = Path("/home/ada/hm")


def status(**other: Any) -> StatusView:
    """What a node says of itself: whatever it is, of the right kind."""
    samples: dict[str, Any] = {"str": "x", "int": 1, "int | None": None, "str | None": None}
    known = {"block_time_ms": NOW_MS - 500, "contact_age_ms": 900, **other}
    fields = StatusView.__struct_fields__
    kinds = StatusView.__annotations__
    return StatusView(**{name: known.get(name, samples.get(kinds[name], "x")) for name in fields})


def served(port: int | None, failure: str | None = None) -> DnsView:
    """What a node says of its names that shall be at port 5353."""
    return DnsView(
        phase=3,
        phase_name="ledger only",
        zone="0001020304.hm.internal",
        listen="[::1]:5353",
        addresses=[] if port is None else [DnsPlace("udp", "::1", port)],
        failure="taken" if port is None else failure,
        upstream=[],
        height=900,
        names=1,
        zones=[],
        counters={},
    )


SOUND = Facts(
    version="1.0",
    directory=Directory(DATA, 0o700, 1000, "", 50 << 30, 100 << 30),
    machine=Machine(
        user=1000,
        now_ms=NOW_MS,
        api_ports=32,
        files_max=20_000,
        memory=8 << 30,
        memory_free=4 << 30,
        udp_buffers={"net.core.rmem_max": 4 << 20, "net.core.wmem_max": 4 << 20},
    ),
    settings_file=DATA / "settings.json",
    member=Member(
        is_founder=False,
        certificate_ends_ms=NOW_MS + 20 * HOUR_MS,
        plot_bytes=4 << 20,
        has_plot=True,
        secrets=(Secret("node", sealed=True),),
    ),
    ledger=Ledger((Database(DATA / "ledger" / "ledger.sqlite"),), 900, NOW_MS - 500, 900),
    process=Process(4711, None, False, True, 0o600),
    answers=Answers(
        version="1.0",
        status=status(),
        readiness={"ledger": "ok", "settled": "ok"},
        attested=True,
        health=HealthView("ok", "All is well", [], NOW_MS),
        names=served(5353),
    ),
)
ASLEEP = dataclasses.replace(SOUND, answers=None, process=Process())


def but(base: Facts = SOUND, **parts: dict[str, Any]) -> Facts:
    """`base` with members of some of its parts changed."""
    changed = {name: dataclasses.replace(getattr(base, name), **new) for name, new in parts.items()}
    return dataclasses.replace(base, **changed)


def test_ways_past_the_socket_are_told_and_no_fault() -> None:
    seen = but(machine={"bypasses": {"io_uring": "it does not pay"}})
    (found,) = [each for each in examine(seen) if each.id == "udp-bypasses"]
    assert (found.state, found.why) == (State.OK, "io_uring is not used: it does not pay")
    assert is_healthy(examine(seen))


def action(level: Any) -> HealthView:
    view = ActionView("n", level, "Two nodes are silent", "no word for 2 min", "hm node ls")
    return HealthView("attention", "Look", [view], NOW_MS)


LEDGER = DATA / "ledger" / "ledger.sqlite"
DAMAGED = Database(LEDGER, "database disk image is malformed")
PLANTED: list[tuple[str, State, Facts]] = [
    ("configuration", State.FAIL, dataclasses.replace(SOUND, configuration_trouble=("bad", "x"))),
    ("settings", State.FAIL, dataclasses.replace(SOUND, settings_trouble="no JSON")),
    ("directory", State.NOTE, but(ASLEEP, directory={"mode": None, "user": None})),
    ("directory", State.FAIL, but(directory={"mode": None, "trouble": "cannot be made"})),
    ("directory", State.FAIL, but(directory={"user": 0})),
    ("directory", State.FAIL, but(directory={"trouble": "read-only"})),
    ("directory", State.WARN, but(directory={"mode": 0o755})),
    ("disk", State.FAIL, but(directory={"free": 1 << 20})),
    ("disk", State.WARN, but(directory={"free": 512 << 20})),
    ("disk", State.WARN, but(member={"has_plot": False, "plot_bytes": 60 << 30})),
    ("membership", State.FAIL, but(member={"trouble": "genesis is gone", "fix": "x"})),
    ("keys", State.FAIL, but(member={"secrets_trouble": "permission denied"})),
    ("keys", State.FAIL, but(member={"secrets_missing": ("node",)})),
    ("keys", State.FAIL, but(member={"secrets": (Secret("node", True, "mode 644", "chmod"),)})),
    ("keys-at-rest", State.NOTE, but(member={"secrets": (Secret("node", sealed=False),)})),
    ("certificate", State.FAIL, but(member={"certificate_ends_ms": NOW_MS - 1000})),
    ("certificate", State.WARN, but(member={"certificate_ends_ms": NOW_MS + HOUR_MS})),
    ("process", State.FAIL, ASLEEP),
    ("process", State.FAIL, but(process={"is_stopped": True})),
    ("process", State.FAIL, but(answers={"trouble": "no answer", "status": None})),
    ("socket", State.FAIL, but(process={"has_socket": False})),
    ("socket", State.FAIL, but(process={"socket_mode": 0o666})),
    ("socket", State.FAIL, but(process={"socket_mode": 0})),
    ("ready", State.FAIL, but(answers={"readiness": {"ledger": "stopped: disk full"}})),
    ("ready", State.NOTE, but(answers={"readiness": {"settled": "not yet: busy"}})),
    ("sequencer", State.FAIL, but(answers={"status": status(contact_age_ms=120_000)})),
    ("attestation", State.WARN, but(answers={"attested": False})),
    ("index", State.WARN, but(ledger={"index_height": 700})),
    ("health", State.WARN, but(answers={"health": action("attention")})),
    ("health", State.FAIL, but(answers={"health": action("failing")})),
    ("version", State.WARN, but(answers={"version": "0.9"})),
    ("clock", State.WARN, but(answers={"status": status(block_time_ms=NOW_MS - HOUR_MS)})),
    ("clock", State.WARN, but(answers={"status": status(block_time_ms=NOW_MS + HOUR_MS)})),
    ("clock", State.FAIL, but(ASLEEP, ledger={"last_block_ms": NOW_MS + HOUR_MS})),
    (
        "clock",
        State.WARN,
        but(ASLEEP, ledger={"last_block_ms": NOW_MS - 25 * HOUR_MS}, member={"is_founder": True}),
    ),
    ("ipv6", State.FAIL, but(machine={"ipv6_trouble": "Cannot assign requested address"})),
    ("stoq-port", State.FAIL, but(ASLEEP, machine={"stoq_port_taken": 4433})),
    ("api-port", State.NOTE, but(ASLEEP, machine={"api_ports_taken": (5173,)})),
    ("api-port", State.FAIL, but(ASLEEP, machine={"api_ports_taken": tuple(range(5173, 5205))})),
    ("names", State.NOTE, but(ASLEEP, machine={"dns_taken": "[::1]:5353"})),
    ("names", State.NOTE, but(answers={"names": served(5354)})),
    ("names", State.WARN, but(answers={"names": served(None)})),
    ("names", State.WARN, but(answers={"names": served(5353, "[::1]:8853: taken")})),
    ("sandbox", State.WARN, but(machine={"sandbox_trouble": "no bwrap", "sandbox_fix": "apt"})),
    ("limits", State.WARN, but(machine={"limits_unenforced": ("memory",)})),
    ("ledger", State.FAIL, but(ledger={"databases": (DAMAGED,)})),
    ("ledger", State.NOTE, but(ledger={"databases": (Database(LEDGER, checked=False),)})),
    ("databases", State.FAIL, but(ledger={"databases": (Database(LEDGER), DAMAGED)})),
    ("open-files", State.WARN, but(machine={"files_max": 256})),
    ("memory", State.WARN, but(machine={"memory_free": 20 << 20})),
    ("udp-buffers", State.NOTE, but(machine={"udp_buffers": {"net.core.rmem_max": 212_992}})),
]


def found(facts: Facts) -> dict[str, State]:
    return {each.id: each.state for each in examine(facts) if each.state is not State.OK}


def test_a_sound_node_has_nothing() -> None:
    assert found(SOUND) == {}
    assert is_healthy(examine(SOUND))


@pytest.mark.parametrize(("id_", "state", "facts"), PLANTED)
def test_a_fault_is_found_and_comes_with_its_fix(id_: str, state: State, facts: Facts) -> None:
    assert found(facts)[id_] is state
    result = next(each for each in examine(facts) if each.id == id_)
    assert result.why
    assert result.fix
    assert is_healthy(examine(facts)) == (set(found(facts).values()) <= {State.NOTE})


@pytest.mark.parametrize(("id_", "state", "facts"), PLANTED)
def test_a_fault_raises_no_other_alarm(id_: str, state: State, facts: Facts) -> None:
    # That nothing runs is told of everything that was planted into a node at rest.
    assert set(found(facts)) <= {id_, "process"}


def test_every_check_is_seen_to_find_something() -> None:
    told = {"udp-bypasses"}  # no fault, whatever it finds
    assert {id_ for id_, _, _ in PLANTED} | told == {check.id for check in CHECKS}
    assert len(CHECKS) == len({check.id for check in CHECKS})


def test_what_is_unknown_is_no_fault() -> None:
    nothing = Facts(version="1.0", directory=Directory(DATA, 0o700, 0))
    assert found(nothing) == {}
    mute = dataclasses.replace(SOUND, answers=Answers())
    assert found(mute) == {}


def test_a_node_on_its_way_up_is_not_called_unattested() -> None:
    facts = but(answers={"attested": False, "readiness": {"settled": "not yet: busy"}})
    assert found(facts) == {"ready": State.NOTE}


def test_a_silent_sequencer_is_not_taken_for_a_wrong_clock() -> None:
    view = status(contact_age_ms=HOUR_MS, block_time_ms=NOW_MS - HOUR_MS)
    assert found(but(answers={"status": view})) == {"sequencer": State.FAIL}
