"""Phases switched by a command: there and back, kept, in the log of acts before they are obeyed."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator, Sequence
from pathlib import Path

import httpx
import pytest

from hypermesh.standalone.trust.errors import PhaseImpossible, PhasesDamaged
from hypermesh.standalone.trust.phases import SWITCH_KIND, Phases, Switch, require_possible
from hypermesh.trustchain.ct.entry import read_act, read_bundle
from hypermesh.trustchain.dns.records import name
from hypermesh.trustchain.dns.resolution import Phase
from hypermesh.trustchain.evidence import Act, LogUnavailable
from hypermesh.wire.codec import decode
from hypermesh.wire.errors import NotFound

from .conftest import Server, checkpoint_of, eventually, founded, running, trustchain
from .test_rereading import FAR, SAID, asked_of, rewritten

pytestmark = pytest.mark.timeout(400)

ZONE, OTHER = "example.internal", "second.internal"
A, B = name(ZONE), name(OTHER)


@pytest.fixture
def above(tmp_path: Path) -> Iterator[Server]:
    """Another server, whose names are found through the first."""
    with running(tmp_path / "above") as made:
        with made.client() as client:
            for zone in (ZONE, OTHER):
                client.put(f"/v1/dns/zones/{zone}", json={"address": "::1"})
                put_address(client, zone, "2001:db8::1")
        yield made


def put_address(client: httpx.Client, zone: str, address: str) -> None:
    owner = f"/v1/dns/zones/{zone}/far.{zone}/AAAA"
    assert client.put(owner, json={"data": [address]}).status_code == 200


def test_one_command_switches_a_zone_there_and_back(above: Server, tmp_path: Path) -> None:
    made = founded(tmp_path / "data", upstream=f"[::1]:{above.port('dns')}")
    file = made.data / "trustchain.toml"
    text = file.read_text().replace("phased = []", f'phased = ["{ZONE}", "{OTHER}"]')
    file.write_text(text.replace("phase = 3", "phase = 0"))
    tokens = {role: tmp_path / role for role in ("operator", "auditor")}
    for role, kept in tokens.items():
        kept.write_text(made.token_of(role))

    def phase(*words: str, role: str = "operator") -> subprocess.CompletedProcess[str]:
        told = ("--server", made.https, "--token-file", str(tokens[role]))
        return trustchain("phase", *words, *told, data=made.data)

    def source(zone: str) -> str:
        with made.client() as client:
            answer = client.get(f"/v1/dns/names/far.{zone}/AAAA")
        if answer.status_code == 503:
            return "the upstream did not answer in time"
        told = answer.json()
        assert (told["data"] == ["2001:db8::7"]) == (told["source"] == "ledger"), told
        return f"{told['source']} {told['agreement']}"

    def require(answer: tuple[list[str], str], said: str, of_other: str) -> None:
        """What is answered for both zones; asked again, for on a busy machine the upstream may be
        too late once, and then another answer stands in its place."""
        wanted = (answer, said, of_other)
        eventually(
            lambda: (asked_of(made, FAR), source(ZONE), source(OTHER)) == wanted, f"{wanted}"
        )

    made.start()
    try:
        with made.client() as client:
            for zone in (ZONE, OTHER):
                assert client.put(f"/v1/dns/zones/{zone}", json={"address": "::1"}).is_success
                put_address(client, zone, "2001:db8::7")
        shown = phase()
        assert shown.stdout.splitlines() == [
            f"{ZONE}  0 (other DNS)  as the settings say",
            f"{OTHER}  0 (other DNS)  as the settings say",
        ], shown.stderr
        from_dns = (["2001:db8::1"], "from dns")
        require(from_dns, "dns not asked", "dns not asked")

        answers = [
            ("1", (["2001:db8::1"], "from dns; ledger differs"), "dns differs"),
            ("2", (["2001:db8::7"], "from ledger"), "ledger not asked"),
            ("3", (["2001:db8::7"], "signed"), "ledger not asked"),
            ("0", from_dns, "dns not asked"),
            ("2", (["2001:db8::7"], "from ledger"), "ledger not asked"),
        ]
        for number, answer, said in answers:
            if number in "12":
                with made.client() as client:
                    body = {"phase": int(number)}
                    done = client.put(f"/v1/dns/phases/{ZONE}", json=body)
                assert (done.status_code, done.json()["phase"]) == (200, int(number)), done.text
            else:
                commanded = phase(ZONE, number)
                assert commanded.returncode == 0, commanded.stderr
                assert commanded.stdout.startswith(f"{ZONE}  {number} (")
            # Each zone has its own phase.
            require(answer, said, "dns not asked")

        # The settings rule what no command switched.
        assert SAID in rewritten(made, ("phase = 0", "phase = 2"))
        here = (["2001:db8::7"], "from ledger")
        require(here, "ledger not asked", "ledger not asked")
        assert SAID in rewritten(made, ("phase = 2", "phase = 1"))
        require(here, "ledger not asked", "dns differs")

        refused = phase(ZONE, "1", role="auditor")
        assert (refused.returncode, "HM-TRUST-0205" in refused.stderr) == (4, True)
        assert "(the zone here first)" in phase(ZONE, role="auditor").stdout
        with made.client() as client:
            client.put("/v1/dns/zones/plain.internal", json={"address": "::1"})
            plain = client.put("/v1/dns/phases/plain.internal", json={"phase": 1})
            assert plain.status_code == 404, "a zone that is not phased has no phase"
            wrong = client.put(f"/v1/dns/phases/{ZONE}", json={"phase": 4})
            assert wrong.status_code == 400
            audit = client.get("/v1/audit", params={"limit": 1000}).json()["items"]
        switches = [each for each in audit if each["kind"] == SWITCH_KIND]
        assert [each["subject"] for each in switches] == [ZONE] * len(answers)
        assert all(each["actor"].startswith("token:") for each in switches)
        require_logged(made, [int(number) for number, *_ in answers])

        made.kill()
        made.start()
        require(here, "ledger not asked", "dns differs")  # Kept over a restart.
    finally:
        made.kill()


def require_logged(server: Server, phases: list[int]) -> None:
    """The log of acts holds the switches to `phases`, in this order."""
    with server.client() as client:
        told = client.get("/v1/dns/phases").json()["items"][0]
        size = int(checkpoint_of(client, told["leaf"] + 1, "/acts/checkpoint").splitlines()[1])
        assert size < 256, "one tile"
        bundle = client.get(f"/acts/tile/entries/000.p/{size}").content
    acts = [read_act(leaf) for leaf in read_bundle(bundle)]
    found = [decode(Switch, act.document) for act in acts if act.kind == SWITCH_KIND]
    assert [each.phase for each in found] == phases
    assert {each.apex for each in found} == {A}
    assert acts[told["leaf"]].kind == SWITCH_KIND


class Acts:
    """A log of acts, which refuses while `error` is set."""

    def __init__(self) -> None:
        self.recorded: list[Act] = []
        self.error: BaseException | None = None

    def record(self, acts: Sequence[Act]) -> list[int]:
        if self.error is not None:
            raise self.error
        begin = len(self.recorded)
        self.recorded += acts
        return list(range(begin, len(self.recorded)))


@pytest.fixture
def acts() -> Acts:
    return Acts()


def phases_of(file: Path, acts: Acts, initial: Phase = Phase.TRADITIONAL) -> Phases:
    return Phases(file, acts, lambda: 5, [A, B], initial)


class Obeyed(list[tuple[bytes, Phase]]):
    def __call__(self, apex: bytes, phase: Phase) -> None:
        self.append((apex, phase))


def test_a_log_that_refuses_leaves_everything_as_it_was(tmp_path: Path, acts: Acts) -> None:
    phases, obeyed = phases_of(tmp_path / "phases", acts), Obeyed()
    acts.error = LogUnavailable()
    with pytest.raises(LogUnavailable):
        phases.switch(A, Phase.BOTH, "me", obeyed)
    assert obeyed == []
    acts.error = None
    assert phases_of(tmp_path / "phases", acts).all == {A: Phase.TRADITIONAL, B: Phase.TRADITIONAL}
    assert acts.recorded == []


def test_what_a_crash_left_pending_is_finished_at_the_start(tmp_path: Path, acts: Acts) -> None:
    phases, obeyed = phases_of(tmp_path / "phases", acts), Obeyed()
    acts.error = KeyboardInterrupt()
    with pytest.raises(KeyboardInterrupt):
        phases.switch(A, Phase.BOTH, "me", obeyed)
    acts.error = None
    again = phases_of(tmp_path / "phases", acts)
    assert again.all == {A: Phase.BOTH, B: Phase.TRADITIONAL}
    assert again.phase_of(name(f"deep.below.{ZONE}")) is Phase.BOTH
    assert again.phase_of(name("elsewhere.internal")) is None
    (act,) = acts.recorded
    assert decode(Switch, act.document) == Switch(A, Phase.TRADITIONAL, Phase.BOTH, "me", 5)
    assert phases_of(tmp_path / "phases", acts).all == again.all
    assert len(acts.recorded) == 1, "once is enough"


def test_what_was_left_pending_is_obeyed_before_the_next(tmp_path: Path, acts: Acts) -> None:
    phases, obeyed = phases_of(tmp_path / "phases", acts), Obeyed()
    acts.error = KeyboardInterrupt()
    with pytest.raises(KeyboardInterrupt):
        phases.switch(A, Phase.BOTH, "me", obeyed)
    acts.error = None
    phases.switch(B, Phase.LEDGER_FIRST, "me", obeyed)
    assert obeyed == [(A, Phase.BOTH), (B, Phase.LEDGER_FIRST)]
    assert [decode(Switch, each.document).apex for each in acts.recorded] == [A, B]


def test_the_settings_rule_what_was_never_switched(tmp_path: Path, acts: Acts) -> None:
    phases, obeyed = phases_of(tmp_path / "phases", acts), Obeyed()
    phases.switch(A, Phase.LEDGER_ONLY, "me", obeyed)
    obeyed.clear()
    phases.begin_with(Phase.LEDGER_FIRST, obeyed)
    assert obeyed == [(A, Phase.LEDGER_ONLY), (B, Phase.LEDGER_FIRST)]
    switched = phases.switched(A)
    assert switched is not None
    assert (switched.leaf, switched.switch.author) == (0, "me")
    assert phases.switched(B) is None
    with pytest.raises(NotFound):
        phases.switch(name("third.internal"), Phase.BOTH, "me", obeyed)


def test_a_damaged_file_is_named(tmp_path: Path, acts: Acts) -> None:
    file = tmp_path / "phases"
    phases_of(file, acts).switch(A, Phase.BOTH, "me", Obeyed())
    file.write_bytes(file.read_bytes()[:-1])
    with pytest.raises(PhasesDamaged, match=str(file)):
        phases_of(file, acts)


def test_without_anybody_to_ask_the_zone_here_is_alone() -> None:
    require_possible(Phase.LEDGER_ONLY, has_upstream=False)
    for phase in (Phase.TRADITIONAL, Phase.BOTH, Phase.LEDGER_FIRST):
        require_possible(phase, has_upstream=True)
        with pytest.raises(PhaseImpossible):
            require_possible(phase, has_upstream=False)
