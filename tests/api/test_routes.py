"""Every route, on both listeners: what it answers, and that its answer has the declared shape."""

from __future__ import annotations

import hashlib
import re
import secrets
import ssl
import time
from pathlib import Path
from typing import Any

import httpx
import msgspec
import pytest

from hypermesh.crypto.keys import QuantumKeys
from hypermesh.ledger.bundled import check_ledger
from hypermesh.node.api.routes import ROUTES
from hypermesh.node.membership import Membership
from hypermesh.stoq.endpoint import Endpoint
from hypermesh.stoq.errors import PeerRefused
from hypermesh.stoq.trust import Identity
from hypermesh.trustchain.bundle import Bundle
from hypermesh.wire.api.account import AccountView
from hypermesh.wire.api.asset import AssetView, Page
from hypermesh.wire.api.attempt import AttemptPage, AttemptResult
from hypermesh.wire.api.attestation import AttestationEvidence
from hypermesh.wire.api.caesar import CaesarView
from hypermesh.wire.api.catalog import CatalogView
from hypermesh.wire.api.certificate import CertificateDetail, CertificatePage
from hypermesh.wire.api.consensus import ConsensusStatus
from hypermesh.wire.api.ct import CtGrowth, CtKeys, CtView
from hypermesh.wire.api.dns import DnsLabelPage, DnsNamePage, DnsResolved, DnsView
from hypermesh.wire.api.event import BlockEvent
from hypermesh.wire.api.health import HealthView
from hypermesh.wire.api.job import JobOutput, JobPage, JobState, JobView
from hypermesh.wire.api.lease import LeasePage, LeaseView, SessionView
from hypermesh.wire.api.ledger import BlockPage, BlockView, TransactionDetail, TransactionView
from hypermesh.wire.api.memory import MeasurementTaken, MemoryPage, MemorySeries
from hypermesh.wire.api.mfn import RoutePage
from hypermesh.wire.api.network import InvitationView, NodePage, NodeView, StatusView
from hypermesh.wire.api.parcel import Box, ParcelDetail, ParcelPage, ParcelState, ParcelView
from hypermesh.wire.api.privacy import PrivacyPage, PrivacyPreview, PrivacyView
from hypermesh.wire.api.report import AuthorityReport
from hypermesh.wire.api.stoq import StoqLinkPage, StoqView
from hypermesh.wire.api.token import TokenCreated, TokenPage, TokenView
from hypermesh.wire.api.transfer import (
    DeliveryDocument,
    ReceivedPage,
    SenderPage,
    SenderView,
    TransferPage,
    TransferState,
    TransferView,
)
from hypermesh.wire.api.trust import IntroductionView, PartnerPage, WhatIfView
from hypermesh.wire.api.tunnel import ServicePage, ServiceView, TunnelPage, TunnelView
from hypermesh.wire.asset import LeaseState

from .nodes import Running, eventually, problem

MIB = 1 << 20
SEEN_S_MAX = 10.0


def read(answer: httpx.Response, kind: Any, status: int = 200) -> Any:
    assert answer.status_code == status, answer.text
    return msgspec.json.decode(answer.content, type=kind, strict=True)


def test_parcels(client: httpx.Client, alice: Running, bob: Running) -> None:
    path = "/v1/stoq/parcels"
    order = {"to": bob.node, "body": "aGVsbG8=", "service": 9, "lifetime_ms": 3_600_000}
    sent = read(client.post(path, json=order), ParcelView, 201)
    assert (sent.destination, sent.service, sent.box) == (bob.node, 9, Box.SENT)
    listed = read(client.get(path, params={"box": "sent"}), ParcelPage)
    assert sent.parcel in {each.parcel for each in listed.items}

    def received() -> ParcelDetail | None:
        with bob.over_socket() as there:
            page = read(there.get(path, params={"box": "received", "service": 9}), ParcelPage)
            if sent.parcel not in {each.parcel for each in page.items}:
                return None
            return read(there.get(f"/v1/stoq/parcels/{sent.parcel}"), ParcelDetail)

    assert eventually(received, "bob has it").body == b"hello"

    def is_over() -> bool:
        found = read(client.get(f"/v1/stoq/parcels/{sent.parcel}"), ParcelDetail)
        return found.parcel.state is ParcelState.DELIVERED

    eventually(is_over, "alice knows")
    assert read(client.delete(f"/v1/stoq/parcels/{sent.parcel}"), ParcelView).parcel == sent.parcel
    problem(client.get(f"/v1/stoq/parcels/{sent.parcel}"), 404)
    for wrong in ({"to": "ff"}, {"body": "%"}, {"service": 65536}, {"lifetime_ms": 1}):
        problem(client.post(path, json=order | wrong), 400)
    problem(client.post(path, json=order | {"to": "ab" * 32}), 404)
    problem(client.post(path, json=order | {"to": alice.node}), 400)
    for query in ({"box": "lost"}, {"service": -1}, {"cursor": "x"}):
        problem(client.get(path, params=query), 400)


def asset_of(client: httpx.Client, running: Running, kind: str) -> AssetView:
    page = read(client.get("/assets", params={"kind": kind}), Page)
    return next(each for each in page.items if each.host == running.node)


@pytest.fixture(params=["owner", "signed_in"])
def client(request: pytest.FixtureRequest) -> httpx.Client:
    """Each listener in turn, with all rights that it gives."""
    found: httpx.Client = request.getfixturevalue(request.param)
    return found


def test_the_tests_here_know_every_route() -> None:
    paths = {path for route in ROUTES for path in route.paths}  # type: ignore[union-attr]
    named = re.sub(r'\bf"', '"', Path(__file__).read_text())
    for path in paths:
        first = path.split("{")[0]
        assert f'"{first}' in named, f"no test here asks {path}"


def test_this_node(client: httpx.Client, alice: Running) -> None:
    status = read(client.get("/v1/network"), StatusView)
    assert (status.node, status.owner, status.role) == (alice.node, alice.owner, "sequencer")
    assert status.assurance == "trusted sequencer"
    assert status.network_class == "test"
    assert status.contact_age_ms is None


def test_the_nodes(client: httpx.Client, alice: Running, bob: Running) -> None:
    page = read(client.get("/v1/nodes"), NodePage)
    assert page.next_cursor is None
    nodes = {each.node: each for each in page.items}
    assert nodes[alice.node].name == "alice"
    assert nodes[bob.node].owner == bob.owner != alice.owner
    assert all(each.attested and not each.revoked for each in nodes.values())
    assert read(client.get("/v1/nodes/me"), NodeView).node == alice.node
    assert read(client.get(f"/v1/nodes/{bob.node}"), NodeView).name == "bob"
    problem(client.get("/v1/nodes/" + "0" * 64), 404)
    problem(client.get("/v1/nodes/x"), 400)
    problem(client.get("/v1/nodes", params={"limit": 0}), 400)
    problem(client.get("/v1/nodes", params={"cursor": "x"}), 400)


def test_health_in_words(client: httpx.Client, bob: Running) -> None:
    del bob
    found = read(client.get("/v1/network/health"), HealthView)
    assert found.level in ("ok", "attention", "failing")
    assert "2 nodes agree" in found.summary
    assert all(each.what and each.why and each.fix for each in found.actions)


def test_events_begin_with_the_first_block(client: httpx.Client) -> None:
    with client.stream("GET", "/events", params={"since": "0.0", "kinds": "block"}) as answer:
        assert answer.status_code == 200
        lines = answer.iter_lines()
        data = next(line for line in lines if line.startswith("data: "))
    assert msgspec.json.decode(data.removeprefix("data: "), type=BlockEvent).height == 1
    problem(client.get("/events", params={"since": "x"}), 400)
    problem(client.get("/events", headers={"last-event-id": "x"}), 400)


def test_remote_memory_in_use(client: httpx.Client, bob: Running) -> None:
    asset = asset_of(client, bob, "memory")
    body = {"amount": MIB, "duration_ms": 60_000, "keep": True}
    made = client.put(f"/assets/{asset.asset}/allocate", json=body)
    lease = read(made, SessionView, 201).lease.lease
    measured = {"operation": "read", "count": 3, "bytes": 192, "seconds": 0.001}
    measured |= {"p50_us": 40.0, "p99_us": 60.5}
    report = {"window_ms": 500, "measurements": [measured]}
    path = f"/v1/leases/{lease}/measurements"
    assert read(client.post(path, json=report), MeasurementTaken).next_ms > 0
    assert problem(client.post(path, json=report), 429)["code"] == "HM-API-0031"
    for wrong in ({"count": 0}, {"bytes": -1}, {"operation": "erase"}, {"p50_us": "fast"}):
        bad = report | {"measurements": [measured | wrong]}
        problem(client.post(path, json=bad), 400)
    problem(client.post("/v1/leases/" + "0" * 64 + "/measurements", json=report), 404)
    series = read(client.get(f"/v1/memory/{lease}"), MemorySeries)
    assert [point.read.count for point in series.reported if point.read] == [3]
    deadline = time.monotonic() + SEEN_S_MAX
    while lease not in {each.lease for each in read(client.get("/v1/memory"), MemoryPage).items}:
        assert time.monotonic() < deadline, "the node looks once a second"
        time.sleep(0.05)
    problem(client.get("/v1/memory/" + "0" * 64), 404)
    client.delete(f"/assets/{asset.asset}/release", params={"lease": lease})


def test_assets_are_listed_and_shown(client: httpx.Client, alice: Running, bob: Running) -> None:
    mine = asset_of(client, alice, "memory")
    theirs = asset_of(client, bob, "memory")
    assert mine.mine
    assert not theirs.mine
    assert theirs.capacity
    assert theirs.price
    for each in (mine, theirs):
        shown = read(client.get(f"/assets/{each.asset}"), AssetView)
        assert (shown.address, shown.kind, shown.unit) == (each.address, each.kind, "byte")
        assert shown.free is not None
        assert shown.enforcement == "allocation"


def test_assets_come_in_pages(client: httpx.Client, bob: Running) -> None:
    whole = read(client.get("/assets"), Page)
    assert whole.next_cursor is None
    ids = [each.asset for each in whole.items]
    assert len(ids) >= 6
    assert ids == sorted(ids)
    for limit in (1, 2, len(ids) - 1, len(ids), 500):
        found: list[str] = []
        query: dict[str, Any] = {"limit": limit}
        while True:
            page = read(client.get("/assets", params=query), Page)
            assert len(page.items) <= limit
            found += [each.asset for each in page.items]
            if page.next_cursor is None:
                break
            assert len(page.items) == limit
            query["cursor"] = page.next_cursor
        assert found == ids


@pytest.mark.parametrize("limit", ["0", "501", "-1", "x", ""])
def test_a_page_has_a_size_within_bounds(owner: httpx.Client, limit: str) -> None:
    assert "limit" in problem(owner.get("/assets", params={"limit": limit}), 400)["cause"]


def test_privacy(client: httpx.Client, alice: Running, bob: Running) -> None:
    asset = asset_of(client, alice, "storage").asset
    change = {"asset": asset, "level": "p2p", "nodes": [bob.node]}
    changed = read(client.put("/privacy/level", json=change), PrivacyView)
    assert (changed.level, changed.nodes) == ("p2p", [bob.node])
    settings = read(client.get("/privacy/settings"), PrivacyPage)
    assert settings.next_cursor is None
    assert next(each for each in settings.items if each.asset == asset) == changed
    assert asset_of(client, alice, "storage").level == "p2p"
    back = {"asset": asset, "level": "private"}
    assert read(client.put("/privacy/level", json=back), PrivacyView).nodes == [bob.node]
    none = {"asset": asset, "nodes": []}
    assert read(client.put("/privacy/level", json=none), PrivacyView).nodes == []


def test_settings_come_in_pages(client: httpx.Client) -> None:
    whole = read(client.get("/privacy/settings"), PrivacyPage).items
    first = read(client.get("/privacy/settings", params={"limit": 1}), PrivacyPage)
    assert [each.asset for each in first.items] == [whole[0].asset]
    rest = client.get("/privacy/settings", params={"cursor": first.next_cursor or ""})
    assert read(rest, PrivacyPage).items == whole[1:]


def test_a_preview_changes_nothing(client: httpx.Client, alice: Running, bob: Running) -> None:
    asset = asset_of(client, alice, "storage")
    change = {"asset": asset.asset, "level": "p2p", "nodes": [bob.node]}
    answer = client.put("/privacy/level", json=change, params={"preview": "true"})
    preview = read(answer, PrivacyPreview)
    assert preview.after.level == "p2p"
    assert {each.node: each.discover.allowed for each in preview.requesters}[bob.node]
    assert asset_of(client, alice, "storage") == asset


def test_only_its_owner_changes_an_asset(client: httpx.Client, bob: Running) -> None:
    theirs = asset_of(client, bob, "memory").asset
    for answer in (
        client.put("/privacy/level", json={"asset": theirs, "level": "private"}),
        client.put(f"/assets/{theirs}/state", json={"state": "suspended"}),
        client.post(f"/assets/{theirs}/transfer", json={"to": "ab" * 32}),
        client.post(f"/assets/{theirs}/offer", json={"price": 5}),
        client.delete(f"/assets/{theirs}/offer"),
    ):
        assert problem(answer, 403)["code"] == "HM-TX-ASSET-0005"
    assert problem(client.post(f"/assets/{theirs}/accept", json={"price": 5}), 404)["code"] == (
        "HM-TX-TITLE-0004"
    )


def test_the_evidence_of_a_node(client: httpx.Client, bob: Running) -> None:
    evidence = read(client.get(f"/v1/nodes/{bob.node}/attestation"), AttestationEvidence)
    assert evidence.attestation.in_force
    assert [each.proof for each in evidence.proofs] == ["space", "stake", "work", "time"]
    if evidence.attestation.epoch == evidence.present_epoch:
        verdict = client.post("/consensus/validate", json={"bundle": evidence.encoded}).json()
        assert verdict == {"valid": True, "failures": []}
    problem(client.get(f"/v1/nodes/{'0' * 64}/attestation"), 404)
    problem(client.get("/v1/nodes/zz/attestation"), 400)


def test_more_of_this_machine_is_declared(client: httpx.Client, alice: Running) -> None:
    body = {"kind": "storage", "share_basis_points": 100, "level": "private"}
    declared = read(client.post("/assets/register", json=body), AssetView, 201)
    assert declared.mine
    assert declared.capacity
    assert read(client.get(f"/assets/{declared.asset}"), AssetView) == declared
    too_much = {"kind": "cpu", "share_basis_points": 9_000}
    assert (
        "declared already" in problem(client.post("/assets/register", json=too_much), 409)["detail"]
    )
    problem(client.post("/assets/register", json={"kind": "package"}), 404)


def test_a_lease_from_allocation_to_settlement(
    client: httpx.Client, owner: httpx.Client, alice: Running, bob: Running
) -> None:
    memory = asset_of(client, bob, "memory")
    before = read(client.get("/v1/accounts/me"), AccountView)
    body = {"amount": MIB, "duration_ms": 60_000, "keep": True}
    session = read(client.put(f"/assets/{memory.asset}/allocate", json=body), SessionView, 201)
    lease = session.lease
    assert (lease.state, lease.amount, lease.provider) == (LeaseState.ACTIVE, MIB, bob.node)
    assert (lease.consumer, lease.address) == (alice.owner, memory.address)
    assert lease.end_ms - lease.start_ms == 60_000
    assert lease.host
    assert lease.port
    held = read(client.get("/v1/accounts/me"), AccountView)
    assert held.balance == before.balance - lease.escrow
    assert held.in_escrow == before.in_escrow + lease.escrow
    listed = read(client.get("/v1/leases"), LeasePage).items
    assert lease.lease in [each.lease for each in listed]
    kept = read(owner.get(f"/v1/leases/{lease.lease}/session"), SessionView)
    assert kept.secret
    assert kept.lease == lease

    released = client.delete(f"/assets/{memory.asset}/release", params={"lease": lease.lease})
    settled = read(released, LeaseView)
    assert settled.state is LeaseState.SETTLED
    assert settled.paid is not None
    assert settled.fee is not None
    assert settled.paid + settled.fee + (settled.refund or 0) == lease.escrow
    after = read(client.get("/v1/accounts/me"), AccountView)
    assert after.balance == before.balance - settled.paid - settled.fee
    assert after.in_escrow == before.in_escrow
    problem(owner.get(f"/v1/leases/{lease.lease}/session"), 404)
    again = client.delete(f"/assets/{memory.asset}/release", params={"lease": lease.lease})
    assert read(again, LeaseView) == settled


def test_only_kept_sessions_are_kept(owner: httpx.Client, bob: Running) -> None:
    memory = asset_of(owner, bob, "memory")
    session = read(
        owner.put(f"/assets/{memory.asset}/allocate", json={"amount": 64}), SessionView, 201
    )
    assert session.secret
    problem(owner.get(f"/v1/leases/{session.lease.lease}/session"), 404)
    owner.delete(f"/assets/{memory.asset}/release", params={"lease": session.lease.lease})


def test_keys_of_a_session_never_cross_tcp(signed_in: httpx.Client, bob: Running) -> None:
    memory = asset_of(signed_in, bob, "memory")
    body = {"amount": 64, "keep": True}
    session = read(signed_in.put(f"/assets/{memory.asset}/allocate", json=body), SessionView, 201)
    assert session.secret is None
    lease = session.lease.lease
    problem(signed_in.get(f"/v1/leases/{lease}/session"), 403)
    signed_in.delete(f"/assets/{memory.asset}/release", params={"lease": lease})


def test_a_lease_is_asked_for_within_reason(owner: httpx.Client, bob: Running) -> None:
    memory = asset_of(owner, bob, "memory")
    path = f"/assets/{memory.asset}/allocate"
    for body in (
        {"amount": 0},
        {"amount": -1},
        {"amount": 2**63},
        {"amount": 1.5},
        {"amount": True},
        {"amount": 1, "duration_ms": 999},
        {"amount": 1, "duration_ms": 86_400_001},
        {"amount": 1, "price": 0},
        {},
        [],
        None,
    ):
        problem(owner.put(path, json=body), 400)
    free = memory.free or 0
    refused = problem(owner.put(path, json={"amount": free + 1, "duration_ms": 1000}), 409)
    assert refused["exit_code"] == 8
    problem(owner.put(f"/assets/{'0' * 32}/allocate", json={"amount": 1}), 404)
    problem(owner.delete(f"/assets/{memory.asset}/release"), 400)
    problem(owner.delete(f"/assets/{memory.asset}/release", params={"lease": "0" * 64}), 404)
    problem(owner.delete(f"/assets/{memory.asset}/release", params={"lease": "zz"}), 400)


def test_a_job(client: httpx.Client, bob: Running) -> None:
    program = b"import sys; print(sys.argv[1:], sys.stdin.read())"
    body = {
        "engine": "python",
        "program": program.hex(),
        "arguments": ["a", "b"],
        "stdin": b"in".hex(),
        "cpu_millicores": 100,
        "wall_ms": 20_000,
    }
    done = read(client.post("/v1/jobs", json=body), JobView, 201)
    assert (done.exit_code, done.reason, done.stdout) == (0, "exited", "['a', 'b'] in\n")
    assert done.provider == bob.node
    assert done.paid >= 1
    assert set(done.enforced) == {"cpu", "memory"}


def test_a_job_that_is_not_waited_for(client: httpx.Client) -> None:
    body = {"engine": "python", "program": b"print(9)".hex(), "cpu_millicores": 50}
    taken = read(client.post("/v1/jobs?wait=false", json=body), JobView, 202)
    said, wait = "", {"wait_ms": 30_000}
    piece = read(client.get(f"/v1/jobs/{taken.job}/output", params=wait), JobOutput)
    while not piece.ended:
        said += piece.stdout
        after = {**wait, "stdout": piece.stdout_next, "stderr": piece.stderr_next}
        piece = read(client.get(f"/v1/jobs/{taken.job}/output", params=after), JobOutput)
    assert said + piece.stdout == "9\n"
    assert read(client.get(f"/v1/jobs/{taken.job}"), JobView).state is JobState.DONE
    assert read(client.delete(f"/v1/jobs/{taken.job}"), JobView).state is JobState.DONE
    listed = read(client.get("/v1/jobs", params={"state": "done"}), JobPage)
    assert taken.job in {each.job for each in listed.items}


def test_a_job_can_be_sent_to_one_asset(owner: httpx.Client, alice: Running) -> None:
    mine = asset_of(owner, alice, "cpu").asset
    body = {"engine": "python", "program": b"print(7)".hex(), "cpu_millicores": 50, "asset": mine}
    done = read(owner.post("/v1/jobs", json=body), JobView, 201)
    assert (done.provider, done.stdout) == (alice.node, "7\n")


@pytest.mark.parametrize(
    ("change", "status"),
    [
        ({"program": "zz"}, 400),
        ({"program": ""}, 400),
        ({"stdin": "abc"}, 400),
        ({"cpu_millicores": 0}, 400),
        ({"memory_bytes": 1}, 400),
        ({"memory_bytes": 1 << 50}, 400),
        ({"wall_ms": 0}, 400),
        ({"arguments": ["x"] * 65}, 400),
        ({"engine": "cobol"}, 400),
        ({"asset": "0" * 32}, 404),
        ({"asset": "x"}, 400),
        ({"cpu_millicores": 1_000_000}, 404),
        ({"surprise": 1}, 400),
    ],
)
def test_a_job_that_cannot_run(
    owner: httpx.Client, alice: Running, bob: Running, change: dict[str, Any], status: int
) -> None:
    body = {"engine": "python", "program": b"print()".hex(), "cpu_millicores": 50}
    problem(owner.post("/v1/jobs", json=body | change), status)
    running = [each for each in alice.mesh.leases.list() if each.state is LeaseState.ACTIVE]
    assert running == []


def test_money(client: httpx.Client, alice: Running, bob: Running) -> None:
    before = read(client.get(f"/v1/accounts/{bob.owner}"), AccountView)
    paid = {"to": bob.owner, "amount": 5, "memo": "tea"}
    done = read(client.post("/v1/accounts/transfer", json=paid), TransactionView, 201)
    assert (done.code, done.failures) == ("ok", [])
    after = read(client.get(f"/v1/accounts/{bob.owner}"), AccountView)
    assert after.balance == before.balance + 5
    assert after.anchor == "none"
    block = read(client.get(f"/v1/blocks/{done.height}"), BlockView)
    assert block.types[done.index] == "bank.transfer"
    assert block.codes[done.index] == "ok"
    for amount in (0, -1, 2**63, "five", 1.5, None):
        problem(client.post("/v1/accounts/transfer", json=paid | {"amount": amount}), 400)
    too_much = problem(client.post("/v1/accounts/transfer", json=paid | {"amount": 2**63 - 1}), 402)
    assert too_much["exit_code"] == 8
    problem(client.get("/v1/accounts/x"), 400)


def test_blocks(client: httpx.Client) -> None:
    first, second = (read(client.get(f"/v1/blocks/{height}"), BlockView) for height in (1, 2))
    assert second.previous == first.hash
    assert first.types[0] == "system.block"
    assert len(first.entries) == len(first.types) == len(first.codes)
    problem(client.get("/v1/blocks/999999999"), 404)
    problem(client.get("/v1/blocks/0"), 404)
    problem(client.get("/v1/blocks/x"), 404)


def test_invitations(client: httpx.Client) -> None:
    for body in ({}, {"mine": True}):
        made = read(client.post("/v1/network/invitations", json=body), InvitationView, 201)
        assert made.token.startswith("hm1-")
    problem(client.post("/v1/network/invitations", json={"mine": "perhaps"}), 400)


def test_tokens(client: httpx.Client) -> None:
    body = {"name": "laptop", "scopes": ["read", "jobs"], "lifetime_ms": 60_000}
    made = read(client.post("/v1/network/tokens", json=body), TokenCreated, 201)
    assert made.token.startswith("hm_")
    assert made.remote.root_certificate.startswith("-----BEGIN CERTIFICATE-----")
    page = read(client.get("/v1/network/tokens", params={"limit": 500}), TokenPage)
    assert made.view in page.items
    gone = read(client.delete(f"/v1/network/tokens/{made.view.id}"), TokenView)
    assert gone == made.view
    problem(client.delete(f"/v1/network/tokens/{made.view.id}"), 404)


def test_tunnels(client: httpx.Client) -> None:
    offer = {"name": "db", "to": "tcp:[::1]:9"}
    made = read(client.post("/v1/stoq/tunnels/services", json=offer), ServiceView, 201)
    problem(client.post("/v1/stoq/tunnels/services", json=offer), 409)
    problem(client.post("/v1/stoq/tunnels/services", json=offer | {"name": "B"}), 400)
    assert made in read(client.get("/v1/stoq/tunnels/services"), ServicePage).items
    wanted = {"address": made.address, "listen": "tcp:[::1]:0"}
    opened = read(client.post("/v1/stoq/tunnels", json=wanted), TunnelView, 201)
    assert opened.listening
    assert opened in read(client.get("/v1/stoq/tunnels"), TunnelPage).items
    assert read(client.delete(f"/v1/stoq/tunnels/{opened.id}"), TunnelView).id == opened.id
    problem(client.delete(f"/v1/stoq/tunnels/{opened.id}"), 404)
    assert read(client.delete("/v1/stoq/tunnels/services/db"), ServiceView) == made
    problem(client.delete("/v1/stoq/tunnels/services/db"), 404)


def test_files_sent_and_received(
    client: httpx.Client, alice: Running, bob: Running, tmp_path: Path
) -> None:
    sent = tmp_path / "data.bin"
    sent.write_bytes(b"x" * 1000)
    with bob.over_socket() as there:
        limit = read(
            there.put(f"/v1/inbox/senders/{alice.owner}", json={"bytes_max": MIB}), SenderView
        )
        assert (limit.owner, limit.bytes_max) == (alice.owner, MIB)
        assert read(there.get("/v1/inbox/senders"), SenderPage).items == [limit]
        order = {"path": str(sent), "to": bob.node[:16]}
        begun = read(client.post("/v1/transfers", json=order), TransferView, 202)
        path = f"/v1/transfers/{begun.transfer}"
        view = eventually(
            lambda: (found := read(client.get(path), TransferView)).ended_ms and found,
            "the file is delivered",
        )
        assert (view.state, view.size) == (TransferState.DONE, 1000)
        waited = client.get(path, params={"wait_ms": 20_000, "seen": "sending", "done": 0})
        assert read(waited, TransferView) == view
        assert view in read(client.get("/v1/transfers"), TransferPage).items
        proof = read(client.get(f"{path}/proof"), DeliveryDocument)
        assert (proof.sender, proof.receiver, proof.root) == (alice.node, bob.node, view.root)
        [came] = [
            each
            for each in read(there.get("/v1/inbox"), ReceivedPage).items
            if each.transfer == begun.transfer
        ]
        assert Path(came.path).read_bytes() == sent.read_bytes()
        assert read(there.get(f"/v1/inbox/{begun.transfer}/proof"), DeliveryDocument) == proof
        assert read(client.delete(path), TransferView) == view
        assert read(there.delete(f"/v1/inbox/senders/{alice.owner}"), SenderView) == limit
        problem(there.delete(f"/v1/inbox/senders/{alice.owner}"), 404)
    problem(client.get(f"/v1/transfers/{'0' * 32}"), 404)
    problem(client.get(f"/v1/inbox/{'0' * 32}/proof"), 404)
    problem(client.post("/v1/transfers", json={**order, "path": "data.bin"}), 400)


def test_who_does_not_hold_the_ca_says_so(bob: Running) -> None:
    with bob.over_socket() as client:
        refused = problem(client.post("/v1/network/invitations", json={}), 501)
    assert "founder" in refused["detail"]


def test_transactions(client: httpx.Client) -> None:
    for text in ("", "00", "zz", "9" * 1000):
        problem(client.post("/v1/transactions", json={"transaction": text}), 400)


def test_attempts_to_cheat(client: httpx.Client) -> None:
    listed = read(client.get("/v1/attempts"), AttemptPage)
    assert {"forge-space", "overspend", "tamper-block"} <= {each.name for each in listed.items}
    result = read(client.post("/v1/attempts/overspend", json={}), AttemptResult)
    assert result.refused
    problem(client.post("/v1/attempts/no-such", json={}), 404)
    problem(client.post("/v1/attempts/overspend", json={"content": "zz"}), 400)


def test_consensus_is_described(client: httpx.Client) -> None:
    status = read(client.get("/consensus/status"), ConsensusStatus)
    assert status.network_class == "test"
    assert client.post("/consensus/challenge", json={}).status_code == 200
    problem(client.post("/consensus/validate", json={}), 400)


def test_what_is_not_there_says_so(client: httpx.Client) -> None:
    said = problem(client.post("/privacy/proxy"), 501)
    assert said["code"] == "HM-0003"
    assert "STATUS.md" in said["fix"]


def test_health(client: httpx.Client) -> None:
    assert client.get("/livez").text == "ok"
    ready = client.get("/readyz")
    assert ready.status_code == 200
    assert ready.json() == dict.fromkeys(("ledger", "certificate", "settled", "threads"), "ok")


def test_performance(client: httpx.Client, bob: Running) -> None:
    memory = asset_of(client, bob, "memory").asset
    body = {"amount": 64, "duration_ms": 1000}
    lease = read(client.put(f"/assets/{memory}/allocate", json=body), SessionView, 201).lease
    client.delete(f"/assets/{memory}/release", params={"lease": lease.lease})
    measured = client.get("/metrics/performance").json()
    for operation in ("lease", "settle"):
        assert measured[operation]["count"] >= 1
        assert 0 < measured[operation]["p50_us"] <= measured[operation]["p99_us"]


def test_a_stranger_is_told_nothing_of_private_assets(alice: Running, bob: Running) -> None:
    private = next(each.asset for each in alice.mesh.assets.list() if each.level == "private")
    with bob.over_socket() as client:
        listed = read(client.get("/assets"), Page)
        assert private not in [each.asset for each in listed.items]
        problem(client.get(f"/assets/{private}"), 403)
        problem(client.put(f"/assets/{private}/allocate", json={"amount": 1}), 403)
        problem(client.get(f"/assets/{secrets.token_hex(16)}"), 404)


def test_the_openapi_document_is_served(client: httpx.Client) -> None:
    document = client.get("/v1/openapi.json").json()
    assert document["openapi"].startswith("3.1")
    assert "/metrics" in document["paths"]


def test_blocks_and_their_transactions_decoded(client: httpx.Client) -> None:
    newest = read(client.get("/v1/blocks", params={"limit": 1}), BlockPage).items[0]
    whole = read(client.get(f"/v1/blocks/{newest.height}"), BlockView)
    assert whole.operations == newest.operations
    page = read(client.get("/v1/blocks"), BlockPage)
    tx = next(each.tx for block in page.items for each in block.operations if each.tx)
    assert read(client.get(f"/v1/transactions/{tx}"), TransactionDetail).tx == tx


def test_the_authority_lists_what_it_issued(
    client: httpx.Client, alice: Running, bob: Running
) -> None:
    page = read(client.get("/v1/certificates"), CertificatePage)
    assert {alice.node, bob.node} <= {each.node for each in page.items}
    assert {each.known_by for each in page.items} == {"authority"}
    assert all(each.serial and each.not_before_ms for each in page.items)
    walked, cursor = [], None
    while True:
        params = {"limit": 1} | ({"cursor": cursor} if cursor else {})
        part = read(client.get("/v1/certificates", params=params), CertificatePage)
        walked += part.items
        if (cursor := part.next_cursor) is None:
            break
    assert walked == page.items
    for wrong in ("x", "-1", "9" * 20):
        problem(client.get("/v1/certificates", params={"cursor": wrong}), 400)


def test_one_certificate(client: httpx.Client, alice: Running, bob: Running) -> None:
    of_bob = read(client.get(f"/v1/certificates/{bob.node}"), CertificateDetail)
    view = of_bob.certificate
    assert (view.node, view.owner, view.name) == (bob.node, bob.owner, "bob")
    assert view.current
    assert not view.revoked
    assert of_bob.chain
    leaf = ssl.PEM_cert_to_DER_cert(of_bob.chain[0])
    assert hashlib.sha256(leaf).hexdigest() == view.sha256
    assert read(client.get(f"/v1/certificates/{view.sha256}"), CertificateDetail) == of_bob
    own = read(client.get("/v1/certificates/me"), CertificateDetail)
    status = read(client.get("/v1/network"), StatusView)
    assert own.certificate.sha256 == status.certificate_sha256
    assert own.certificate.not_after_ms == status.certificate_expires_ms
    assert own.certificate.node == alice.node
    assert own.certificate.known_by == "self"
    problem(client.get("/v1/certificates/" + "0" * 64), 404)
    problem(client.get("/v1/certificates/x"), 400)


def test_a_revocation_names_a_node_and_a_reason(client: httpx.Client, bob: Running) -> None:
    """And one that the ledger refuses changes nothing. test_revocation.py has the rest."""
    path = f"/v1/certificates/{bob.node}/revoke"
    for body in ({}, {"reason": ""}, {"reason": "x" * 201}, {"reason": 1}):
        problem(client.post(path, json=body), 400)
    problem(client.post("/v1/certificates/bob/revoke", json={"reason": "x"}), 400)
    unknown = problem(client.post(f"/v1/certificates/{'0' * 64}/revoke", json={"reason": "x"}), 404)
    assert unknown["code"].startswith("HM-TX-ID-")
    detail = read(client.get(f"/v1/certificates/{bob.node}"), CertificateDetail)
    assert not detail.certificate.revoked


def test_elsewhere_certificates_are_known_as_far_as_the_ledger_tells(
    alice: Running, bob: Running
) -> None:
    with bob.over_socket() as client:
        items = read(client.get("/v1/certificates"), CertificatePage).items
        by_node = {each.node: each for each in items}
        assert by_node[bob.node].known_by == "self"
        assert by_node[bob.node].serial
        other = by_node[alice.node]
        assert (other.known_by, other.serial, other.not_before_ms) == ("ledger", None, None)
        assert other.sha256 == alice.mesh.network.status().certificate_sha256
        for named in (alice.node, other.sha256):
            found = read(client.get(f"/v1/certificates/{named}"), CertificateDetail)
            assert (found.certificate, found.chain) == (other, None)
        assert read(client.get("/v1/certificates/me"), CertificateDetail).chain
        first = read(client.get("/v1/certificates?limit=1"), CertificatePage)
        after = {"limit": 1, "cursor": first.next_cursor}
        second = read(client.get("/v1/certificates", params=after), CertificatePage)
        assert first.items + second.items == items[:2]
        problem(client.get("/v1/certificates", params={"cursor": "1-x"}), 400)
        problem(client.get("/v1/certificates/" + "0" * 64), 404)


def test_the_transport(client: httpx.Client, bob: Running) -> None:
    memory = asset_of(client, bob, "memory")
    body = {"amount": MIB, "duration_ms": 60_000}
    made = client.put(f"/assets/{memory.asset}/allocate", json=body)
    lease = read(made, SessionView, 201).lease
    here = read(client.get("/v1/stoq"), StoqView)
    assert here.key_exchange == "X25519MLKEM768"
    assert here.alpns == ["hm/1", "hm-enrol/1", "hm-session/1"]
    assert here.limits.body_bytes_max == 4 * MIB
    assert f"]:{here.port}" in read(client.get("/v1/network"), StatusView).stoq
    for nowhere in (here.port, 70_000, -1):
        problem(client.post("/v1/stoq/move", json={"port": nowhere}), 400)
    to_bob = next(each for each in here.connections if each.node == bob.node)
    assert (to_bob.name, to_bob.alpn) == ("bob", "hm/1")
    assert to_bob.bytes_sent > 0
    assert to_bob.bytes_received > 0
    assert to_bob.since_ms <= time.time_ns() // 1_000_000
    assert here.connections_open >= len(here.connections)

    there = bob.mesh.stoq.status().regions
    assert there.count >= 1
    assert there.bytes >= MIB
    client.delete(f"/assets/{memory.asset}/release", params={"lease": lease.lease})
    gone = bob.mesh.stoq.status().regions
    assert (gone.count, gone.bytes) == (there.count - 1, there.bytes - MIB)


def test_connections_and_what_they_wait_for(client: httpx.Client, bob: Running) -> None:
    page = read(client.get("/v1/stoq/connections"), StoqLinkPage)
    to_bob = next(each for each in page.items if each.node == bob.node and each.opened)
    assert (to_bob.name, to_bob.key_exchange) == ("bob", "X25519MLKEM768")
    assert to_bob.path is not None
    assert to_bob.path.tier == "loopback"
    assert to_bob.path.waits_for in to_bob.path.shares_bp
    assert sum(to_bob.path.shares_bp.values()) in range(9_990, 10_011)
    first = read(client.get("/v1/stoq/connections", params={"limit": 1}), StoqLinkPage)
    assert len(first.items) == 1
    if first.next_cursor is not None:
        rest = {"cursor": first.next_cursor}
        later = read(client.get("/v1/stoq/connections", params=rest), StoqLinkPage)
        assert all(each.key > first.items[0].key for each in later.items)
    problem(client.get("/v1/stoq/connections", params={"cursor": "first"}), 400)


def test_a_peer_that_is_refused_is_counted(client: httpx.Client, alice: Running) -> None:
    def refused(view: StoqView, code: str) -> int:
        return sum(each.count for each in view.refusals if each.code == code)

    before = read(client.get("/v1/stoq"), StoqView)
    membership = Membership.open(alice.data)
    assert membership is not None
    uncertified = Identity.of_keys(QuantumKeys.generate())
    policy = membership.policy(frozenset())
    with (
        Endpoint.bind(policy=policy, identity=uncertified) as stranger,
        pytest.raises(PeerRefused) as said,
    ):
        stranger.connect("::1", before.port)
    code = said.value.code

    def counted() -> StoqView | None:
        view: StoqView = read(client.get("/v1/stoq"), StoqView)
        return view if refused(view, code) > refused(before, code) else None

    view = eventually(counted, "the refusal is told")
    assert view.refused > before.refused
    assert view.refusals[0].code == code


def test_what_can_be_run(client: httpx.Client) -> None:
    view = read(client.get("/v1/catalog"), CatalogView)
    engines = {each.name: each for each in view.engines}
    assert {"python", "wasm", "microvm"} <= engines.keys()
    assert not engines["microvm"].available
    assert engines["microvm"].runtime is None
    python = engines["python"]
    body = {"engine": "python", "program": b"print(1)".hex(), "cpu_millicores": 50}
    done = read(client.post("/v1/jobs", json=body), JobView, 201)
    assert python.isolation == done.isolation
    assert done.enforced == {"cpu": python.cpu, "memory": python.memory}
    assert {each.name for each in view.packages} == set(python.packages)
    kept = {each.name: each.kept_by for each in view.limits}
    assert (kept["cpu"], kept["wall time"]) == (python.cpu, "node")
    assert view.jobs_max == 16


def test_the_economy(client: httpx.Client) -> None:
    view = read(client.get("/v1/caesar"), CaesarView)
    assert view.conservation.holds
    assert view.anchor == read(client.get("/v1/accounts/me"), AccountView).anchor == "none"
    assert view.supply.minted == view.supply.faucet + view.supply.circulating
    assert view.bonded > 0
    assert view.height <= read(client.get("/v1/network"), StatusView).height


def test_what_the_router_has_learned(client: httpx.Client, bob: Running) -> None:
    body = {"engine": "python", "program": b"print(1)".hex(), "cpu_millicores": 50}
    assert read(client.post("/v1/jobs", json=body), JobView, 201).provider == bob.node
    page = read(client.get("/v1/mfn"), RoutePage)
    route = next(each for each in page.items if each.host == bob.node)
    assert (route.host_name, route.last_outcome, route.in_flight) == ("bob", "completed", 0)
    assert route.expected_us == route.service_us > 0
    assert route.silence_us == 0
    assert route.last_outcome_ms_ago is not None
    problem(client.get("/v1/mfn", params={"cursor": "x"}), 400)
    assert read(client.get("/v1/mfn", params={"cursor": "f" * 64}), RoutePage).items == []


def test_the_names_of_the_mesh(client: httpx.Client, alice: Running, bob: Running) -> None:
    view = read(client.get("/v1/dns"), DnsView)
    assert (view.phase, view.phase_name, view.failure) == (3, "ledger only", None)
    assert {each.transport for each in view.addresses} == {"udp", "tcp", "tls", "quic"}
    assert view.height is not None
    named = f"{bob.node[:16]}.{view.zones[0].zone}"
    deadline = time.monotonic() + SEEN_S_MAX
    while not (found := read(resolved(client, named), DnsResolved)).exists:
        assert time.monotonic() < deadline, "a name follows its block at once"
        time.sleep(0.05)
    assert (found.origin, found.agreement, found.type) == ("ledger", "not asked", "AAAA")
    items, cursor = [], None
    while True:
        query = {"limit": "5"} | ({} if cursor is None else {"cursor": cursor})
        page = read(client.get("/v1/dns/names", params=query), DnsNamePage)
        items += [each.name for each in page.items]
        cursor = page.next_cursor
        if cursor is None:
            break
    assert named in items
    assert len(items) == len(set(items))
    problem(client.get("/v1/dns/names", params={"cursor": "a..b"}), 400)
    problem(client.get("/v1/dns/resolve"), 400)
    problem(resolved(client, "a..b"), 400)
    problem(resolved(client, named, "NOTHING"), 400)
    assert problem(resolved(client, "www.example.org"), 404)["code"] == "HM-DNS-0022"
    assert problem(client.put("/v1/dns/phase", json={"phase": 1}), 409)["code"] == "HM-DNS-0021"
    problem(client.put("/v1/dns/phase", json={"phase": 4}), 400)
    assert read(client.put("/v1/dns/phase", json={"phase": 3}), DnsView).phase == 3
    local = read(resolved(client, "trust.hypermesh.online"), DnsResolved)
    assert (local.origin, local.data) == ("local", ["::1"])
    assert not read(resolved(client, "nobody.hypermesh.online"), DnsResolved).exists


def test_what_owners_call_their_nodes(client: httpx.Client, alice: Running, bob: Running) -> None:
    path = "/v1/dns/labels"
    for label in ("first", "second"):
        done = read(
            client.put(f"/v1/dns/labels/{label}", json={"node": alice.node}), TransactionView
        )
        assert done.code == "ok"
    page = read(client.get(path, params={"limit": 1}), DnsLabelPage)
    assert [each.label for each in page.items] == ["first"]
    page = read(client.get(path, params={"cursor": page.next_cursor}), DnsLabelPage)
    assert [(each.label, each.node, each.mine) for each in page.items] == [
        ("second", alice.node, True)
    ]
    refused = client.put("/v1/dns/labels/third", json={"node": bob.node})
    assert problem(refused, 403)["code"] == "HM-TX-NAME-0003"
    assert problem(client.put("/v1/dns/labels/www", json={"node": alice.node}), 400)
    for wrong in ({}, {"node": alice.node, "asset": "0" * 32}, {"node": "x"}, {"what": "x"}):
        problem(client.put("/v1/dns/labels/third", json=wrong), 400)
    problem(client.put("/v1/dns/labels/Third", json={"node": alice.node}), 400)
    problem(client.delete("/v1/dns/labels/third"), 404)
    for label in ("first", "second"):
        assert read(client.delete(f"/v1/dns/labels/{label}"), TransactionView).code == "ok"
    assert read(client.get(path), DnsLabelPage).items == []


def resolved(client: httpx.Client, name: str, kind: str = "AAAA") -> httpx.Response:
    return client.get("/v1/dns/resolve", params={"name": name, "type": kind})


def test_labels_are_given_listed_and_given_up(client: httpx.Client, alice: Running) -> None:
    read(client.put("/v1/dns/labels/front", json={"node": alice.node}), TransactionView)
    page = read(client.get("/v1/dns/labels"), DnsLabelPage)
    assert "front" in {each.label for each in page.items}
    read(client.delete("/v1/dns/labels/front"), TransactionView)
    page = read(client.get("/v1/dns/labels"), DnsLabelPage)
    assert "front" not in {each.label for each in page.items}


def test_an_issuing_ca_is_replaced_for_a_reason_alone(client: httpx.Client) -> None:
    for wrong in ({}, {"reason": ""}, {"reason": "stolen", "grace_ms": -1}):
        problem(client.post("/v1/certificates/issuer", json=wrong), 400)


def test_the_transparency_logs(client: httpx.Client, alice: Running, bob: Running) -> None:
    def anchored() -> CtView | None:
        view = read(client.get("/v1/ct"), CtView)
        own = view.certificate
        return view if len(view.logs) == 2 and own is not None and own.anchored else None

    view = eventually(anchored, "the logs are anchored")
    assert [each.purpose for each in view.logs] == ["acts", "certificates"]
    assert view.failure is None
    for each in view.logs:
        assert each.here is not None
        assert each.here.size >= each.anchored.size > 0
        assert each.here.checkpoint.startswith(each.origin + "\n")
    for named in ("me", alice.node, bob.node):
        made = read(client.get(f"/v1/certificates/{named}/bundle"), Bundle)
        said = check_ledger(made)
        assert said is not None
        assert said.node.hex() == (bob.node if named == bob.node else alice.node)
    detail = read(client.get(f"/v1/certificates/{bob.node}"), CertificateDetail)
    assert detail.logged is not None
    with bob.over_socket() as there:
        theirs = read(there.get("/v1/ct"), CtView)
        assert all(each.here is None for each in theirs.logs)
    for log in ("certificates", "acts"):
        shown = client.get(f"/v1/ct/{log}/checkpoint")
        assert shown.status_code == 200
        assert shown.headers["cache-control"] == "no-cache"
    problem(client.get("/v1/ct/certificates/elsewhere"), 404)
    growth = read(client.get("/v1/ct/growth"), CtGrowth)
    for grown in growth.logs:
        sizes = [each.size for each in grown.items]
        assert sizes == sorted(set(sizes))
        assert grown.anchors == len(grown.items)
        shown = next(each for each in view.logs if each.origin == grown.origin)
        assert shown.anchored in grown.items
    assert [each.purpose for each in growth.logs] == ["certificates", "acts"]
    keys = read(client.get("/v1/ct/keys"), CtKeys)
    assert {keys.certificates.origin, keys.acts.origin} == {each.origin for each in view.logs}
    with bob.over_socket() as there:
        assert read(there.get("/v1/ct/keys"), CtKeys) == keys
        relayed = there.get("/v1/ct/authority/acts/checkpoint")
        assert relayed.text.startswith(keys.acts.origin + "\n")
        problem(there.get("/v1/ct/authority/acts/elsewhere"), 404)
        problem(there.get("/v1/ct/authority/names/checkpoint"), 404)
        problem(there.get("/v1/ct/report"), 501)
    report = read(client.get("/v1/ct/report"), AuthorityReport)
    assert report.issued >= 2
    assert {alice.node, bob.node} <= {each.node for each in report.certificates}
    assert read(client.get("/v1/ct/report?from=1&to=2"), AuthorityReport).issued == 0
    for wrong in ("from=2&to=1", "from=x", "from=-1"):
        problem(client.get(f"/v1/ct/report?{wrong}"), 400)
    assert client.get("/v1/crl").headers["content-type"] == "application/pkix-crl"
    # A request that is none has an answer of OCSP's own that says so (RFC 6960 section 2.3).
    assert client.post("/v1/ocsp", content=b"x").content == b"\x30\x03\x0a\x01\x01"
    problem(client.get("/v1/certificates/" + "0" * 64 + "/bundle"), 404)
    problem(client.get("/v1/certificates/x/bundle"), 400)


def test_other_networks(client: httpx.Client, alice: Running) -> None:
    """None is let in; `tests/node/test_federation.py` has two."""
    assert read(client.get("/v1/trust"), PartnerPage) == PartnerPage([], None)
    own = read(client.get("/v1/trust/introduction"), IntroductionView)
    assert own.zone == f"{own.network[:10]}.hm.internal"
    order = {"introduction": own.introduction}
    answer = client.post("/v1/trust", json=order, params={"preview": "true"})
    problem(answer, 400)
    assert "own network" in answer.text
    for wrong in (
        {"introduction": "x"},
        order | {"days": 0},
        order | {"nodes": ["x"]},
        order | {"services": ["everything"]},
        order | {"more": 1},
    ):
        problem(client.post("/v1/trust", json=wrong), 400)
    unknown = f"/v1/trust/{'ab' * 32}"
    assert problem(client.delete(unknown), 404)["code"] == "HM-TX-FED-0009"
    problem(client.get(f"{unknown}/assets"), 404)
    assert problem(client.post(f"{unknown}/follow", json={}), 404)["code"] == "HM-TRUST-0303"
    problem(client.post(f"{unknown}/follow", json={"port": 0}), 400)
    problem(client.get("/v1/trust/ab/assets"), 400)


def test_what_a_revocation_would_cut_off(
    client: httpx.Client, alice: Running, bob: Running
) -> None:
    """Bob follows alice's ledger, over connections that are on record."""

    def asked(revoke: str) -> WhatIfView:
        found = client.get("/v1/trust/whatif", params={"revoke": revoke})
        view: WhatIfView = read(found, WhatIfView)
        return view

    view = asked(bob.node)
    assert (view.kind, view.target) == ("node", bob.node)
    assert 0 < view.failed <= view.records
    assert {each.peer for each in view.failures} == {bob.node}
    assert {each.name for each in view.failures} == {"bob"}
    assert asked("root").failed >= view.failed
    assert asked(asked("issuing").target).kind == "authority"
    assert not any(each.revoked for each in alice.mesh.certificates.list())
    problem(client.get("/v1/trust/whatif", params={"revoke": "ab" * 32}), 404)
    for wrong in ({"revoke": "x"}, {}):
        problem(client.get("/v1/trust/whatif", params=wrong), 400)


@pytest.mark.parametrize("path", ["/v1/proxy", "/v1/senate", "/v1/ngauge"])
def test_what_is_promised_is_told_apart_from_what_is_unknown(
    client: httpx.Client, path: str
) -> None:
    said = problem(client.get(path), 501)
    assert said["code"] == "HM-0003"
    assert "STATUS.md" in said["fix"]
    problem(client.get(path + "x"), 404)
