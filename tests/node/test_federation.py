"""Two networks of real processes: let in, used, held to their names, dropped and cut off."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from hypermesh.assets.privacy import AccessRefused
from hypermesh.node.authority_logs import PartnerAct, PartnerDropAct
from hypermesh.node.partner_succession import PartnerNotListed
from hypermesh.node.partners import ServiceNotAgreed
from hypermesh.node.revoking import OwnerElsewhere
from hypermesh.stoq.connection import Connection
from hypermesh.stoq.endpoint import Endpoint
from hypermesh.stoq.errors import NameForbidden, NotForPartners, WrongNetwork
from hypermesh.stoq.trust import Identity
from hypermesh.trustchain.ca.authority import root_authority
from hypermesh.trustchain.certificate import Validity, cross_certificate, serial_number
from hypermesh.trustchain.federation import (
    POLICY_REACH,
    IntroductionMalformed,
    Partnership,
    node_name,
    zone,
)
from hypermesh.wire.api.privacy import PrivacyChange
from hypermesh.wire.api.trust import PartnerRequest, PartnerView
from hypermesh.wire.asset import AssetKind, PrivacyLevel
from hypermesh.wire.codec import decode
from hypermesh.wire.errors import Forbidden, HyperMeshError, Unreachable
from hypermesh.wire.rpc import (
    ALPN_NODE,
    ALPN_PARTNER,
    SERVICE_ECHO,
    SERVICE_TUNNEL,
    AssetView,
    BlocksRequest,
    DescribeRequest,
    PartnerAssets,
    PartnerAssetsRequest,
)
from hypermesh.wire.tx import PartnerService

from .acts import acts
from .network import Network, Node, call, eventually, hm, output, problem

WITHIN_S = 60.0
PARTNER_KINDS = (PartnerAct.kind, PartnerDropAct.kind)


@dataclass(frozen=True)
class Two:
    """Theirs, of one node; ours, of two."""

    theirs: Network
    ours: Network

    def introduction(self, of: Network) -> str:
        return of.alice.ask(lambda m: m.trust.introduction()).introduction

    def let_in(self, at: Network, other: Network, **terms: object) -> None:
        wanted = PartnerRequest(introduction=self.introduction(other), **terms)  # type: ignore[arg-type]
        assert at.alice.ask(lambda m: m.trust.add(wanted)).code == "ok"

    def listed(self, at: Node) -> list[PartnerView]:
        return at.ask(lambda m: list(m.trust.list()))


@pytest.fixture(scope="module")
def two(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Two]:
    theirs = Network(tmp_path_factory.mktemp("t"))
    ours = Network(tmp_path_factory.mktemp("o"))
    try:
        ours.found("bob")
        theirs.found()
        yield Two(theirs, ours)
    finally:
        theirs.end()
        ours.end()


@contextmanager
def visitor(of: Network, towards: Network) -> Iterator[Endpoint]:
    """An endpoint with the keys of the founder's node of `of`, which trusts the other network."""
    member, other = of.alice.membership, towards.alice.membership
    now_s = int(time.time())
    cross = cross_certificate(
        other.genesis.issuing_certificate,
        root_authority(member.store, member.genesis.root_certificate),
        [zone(other.genesis_id)],
        [],
        [POLICY_REACH],
        Validity(now_s - 300, now_s + 3600),
        serial_number(b"t" * 19),
    )
    partnership = Partnership(
        other.genesis_id,
        other.genesis.root_certificate,
        other.genesis.issuing_certificate,
        cross,
        now_s + 3600,
    )
    policy = member.policy(frozenset(), partnerships=[partnership])
    identity = Identity(member.chain, member.keys)
    with Endpoint.bind("::1", policy=policy, identity=identity) as endpoint:
        yield endpoint


def dial(endpoint: Endpoint, node: Node, alpn: str = ALPN_PARTNER) -> Connection:
    port = node.configuration.settings.stoq_port
    return endpoint.connect("::1", port, peer=node.id, alpn=alpn, timeout_ms=30_000)


def refusal(endpoint: Endpoint, node: Node) -> type[HyperMeshError] | None:
    """Why `node` does not let `endpoint` in; none where it does."""
    try:
        dial(endpoint, node).close()
    except HyperMeshError as error:
        return type(error)
    return None


def test_nobody_is_let_in_unasked(two: Two) -> None:
    assert two.listed(two.ours.alice) == []
    with visitor(two.theirs, two.ours) as endpoint:
        for node in two.ours.nodes.values():
            assert refusal(endpoint, node) is WrongNetwork
            with pytest.raises(WrongNetwork):
                dial(endpoint, node, ALPN_NODE)
    network = two.theirs.alice.membership.genesis_id.hex()
    with two.ours.alice.mesh() as mesh, pytest.raises(PartnerNotListed):
        list(mesh.trust.assets(network))


def test_only_the_founder_adds_and_a_no_is_a_no(two: Two, tmp_path: Path) -> None:
    text = two.introduction(two.theirs)
    with two.ours.bob.mesh() as mesh, pytest.raises(OwnerElsewhere):
        mesh.trust.add(PartnerRequest(introduction=text))
    with two.ours.alice.mesh() as mesh, pytest.raises(IntroductionMalformed):
        mesh.trust.add(PartnerRequest(introduction=text[:-400]))
    file = tmp_path / "theirs.txt"
    file.write_text(text)
    words = ("trust", "add", str(file), "--service", "assets", "--days", "30")
    declined = hm(*words, data=two.ours.alice.data, stdin=b"n\n")
    assert declined.returncode != 0
    network = two.theirs.alice.membership.genesis_id
    said = problem(declined)
    for shown in (network.hex(), zone(network), "discover assets", "nothing else", "cuts them off"):
        assert shown in said
    assert two.listed(two.ours.alice) == []


def test_a_network_is_added_and_used(two: Two, tmp_path: Path) -> None:
    """Both list the other; then a node of the one asks the other for its assets."""
    file = tmp_path / "theirs.txt"
    file.write_text(two.introduction(two.theirs))
    words = ("trust", "add", str(file), "--service", "assets", "--yes", "--output", "json")
    assert output(hm(*words, data=two.ours.alice.data))["code"] == "ok"
    two.let_in(two.theirs, two.ours)

    ours = two.ours.alice.membership.genesis_id.hex()
    found = two.theirs.alice.ask(lambda m: list(m.trust.assets(ours)))
    expected = {two.ours[name].asset(AssetKind.MEMORY).asset for name in ("alice", "bob")}
    assert expected <= {each.asset for each in found}

    network = two.theirs.alice.membership.genesis_id.hex()
    with two.ours.alice.mesh() as mesh, pytest.raises(ServiceNotAgreed):
        list(mesh.trust.assets(network))

    def heard() -> PartnerView | None:
        (view,) = two.listed(two.ours.bob)
        return view if view.list_height else None

    view = eventually(heard, "bob has heard of the partner", WITHIN_S)
    assert (view.network, view.services) == (network, [PartnerService.ASSETS])
    assert (view.failure, view.in_force, view.excluded) == (None, True, [])
    assert view.permitted == [zone(two.theirs.alice.membership.genesis_id)]
    listed = hm("trust", "ls", data=two.ours.bob.data)
    assert network[:16] in listed.stdout.decode()


def test_a_partner_may_do_what_was_agreed_and_nothing_else(two: Two) -> None:
    bob = two.ours.bob
    asset = bytes.fromhex(bob.asset(AssetKind.MEMORY).asset)
    with visitor(two.theirs, two.ours) as endpoint, dial(endpoint, bob) as connection:
        assert connection.request(SERVICE_ECHO, b"hello") == b"hello"
        page = decode(PartnerAssets, call(connection, "partner.assets", PartnerAssetsRequest(b"")))
        assert asset in {each.asset for each in page.items}
        shown = decode(AssetView, call(connection, "asset.inspect", DescribeRequest(asset)))
        assert shown.host == bob.id
        with pytest.raises(Forbidden, match="cannot be called over hm-partner/1"):
            call(connection, "asset.describe", DescribeRequest(asset))
        with pytest.raises(Forbidden, match="cannot be called over hm-partner/1"):
            call(connection, "ledger.blocks", BlocksRequest(1, 1, 0))
        with pytest.raises(NotForPartners):
            connection.request(SERVICE_TUNNEL, b"x")

        with bob.mesh() as mesh:
            change = PrivacyChange(asset=asset.hex(), level=PrivacyLevel.PRIVATE)
            mesh.privacy.change(change)
        with pytest.raises(AccessRefused, match="Private"):
            call(connection, "asset.inspect", DescribeRequest(asset))
        page = decode(PartnerAssets, call(connection, "partner.assets", PartnerAssetsRequest(b"")))
        assert asset not in {each.asset for each in page.items}
        with pytest.raises(WrongNetwork):
            dial(endpoint, bob, ALPN_NODE)


def test_a_name_that_is_not_agreed_on_is_refused_everywhere(two: Two) -> None:
    member = two.theirs.alice.membership
    with visitor(two.theirs, two.ours) as endpoint:
        live = {name: dial(endpoint, two.ours[name]) for name in ("alice", "bob")}
        two.let_in(two.ours, two.theirs, without=[member.keys.id.hex()])
        for name, connection in live.items():
            ended = eventually(lambda: connection.ended, f"{name} cuts it off", WITHIN_S)  # noqa: B023
            assert isinstance(ended, WrongNetwork), name
            assert refusal(endpoint, two.ours[name]) is NameForbidden
        (view,) = two.listed(two.ours.alice)
        assert view.excluded == [node_name(member.keys.id, member.genesis_id)]

        two.let_in(two.ours, two.theirs, nodes=[member.keys.id.hex()])
        for node in two.ours.nodes.values():
            eventually(lambda: refusal(endpoint, node) is None, "let in again", WITHIN_S)  # noqa: B023


def test_a_partner_that_is_away_loses_nothing_and_that_is_said(two: Two) -> None:
    """Its certificates stay good, and the list says what is not known meanwhile."""
    alice = two.theirs.alice
    with visitor(two.theirs, two.ours) as endpoint:
        alice.stop()
        with two.ours.alice.mesh() as mesh, pytest.raises(Unreachable):
            list(mesh.trust.assets(alice.membership.genesis_id.hex()))

        def says() -> str | None:
            (view,) = two.listed(two.ours.alice)
            return view.says[0] if view.failure else None

        said = eventually(says, "it is said that the partner is away", WITHIN_S)
        assert "stay valid to their end, 24 h at most" in said
        assert refusal(endpoint, two.ours.alice) is None
    alice.start()


def test_whatif_names_what_dropping_the_network_would_cut_off(two: Two) -> None:
    """Recorded by the processes themselves, and replayed after a restart of one."""
    alice, member = two.ours.alice, two.theirs.alice.membership
    network = member.genesis_id.hex()
    with visitor(two.theirs, two.ours) as endpoint, dial(endpoint, two.ours.bob) as connection:
        assert connection.request(SERVICE_ECHO, b"x") == b"x"
    for node in (alice, two.ours.bob):
        found = node.ask(lambda m: m.trust.whatif(network))
        assert (found.kind, found.target) == ("partner", network)
        assert {each.peer for each in found.failures} == {member.keys.id.hex()}
        assert {each.service for each in found.failures} == {ALPN_PARTNER}
        assert 0 < found.failed < found.records
    before = {each.at_ms for each in found.failures}
    two.ours.bob.kill()
    two.ours.bob.start()
    again = two.ours.bob.ask(lambda m: m.trust.whatif(network))
    assert before <= {each.at_ms for each in again.failures}
    told = hm("trust", "whatif", "revoke", network[:12], data=alice.data)
    assert told.returncode == 0, problem(told)
    assert "would have failed" in told.stdout.decode()
    assert len(two.listed(alice)) == 1, "nothing was revoked"


def test_dropping_a_network_cuts_its_nodes_off(two: Two) -> None:
    network = two.theirs.alice.membership.genesis_id.hex()
    with visitor(two.theirs, two.ours) as endpoint:
        live = {name: dial(endpoint, two.ours[name]) for name in ("alice", "bob")}
        words = ("trust", "drop", network[:8], "--reason", "over")
        declined = hm(*words, data=two.ours.alice.data, stdin=b"n\n")
        assert declined.returncode != 0
        assert all(connection.ended is None for connection in live.values())
        assert output(hm(*words, "--yes", "--output", "json", data=two.ours.alice.data))
        for name, connection in live.items():
            ended = eventually(lambda: connection.ended, f"{name} cuts it off", WITHIN_S)  # noqa: B023
            assert isinstance(ended, WrongNetwork), name
            with pytest.raises(WrongNetwork):
                connection.request(SERVICE_ECHO, b"x")
            assert refusal(endpoint, two.ours[name]) is WrongNetwork
    assert two.listed(two.ours.bob) == []
    bob = two.ours.bob
    bob.kill()
    bob.start()
    with visitor(two.theirs, two.ours) as endpoint:
        assert refusal(endpoint, bob) is WrongNetwork
    preview = PartnerRequest(introduction=two.introduction(two.theirs))
    shown = two.ours.alice.ask(lambda m: m.trust.preview(preview))
    assert "It was dropped before: over" in shown.consequences


def test_what_was_agreed_is_in_the_log_of_acts(two: Two) -> None:
    def said() -> list[str]:
        return [each.kind for each in acts(two.ours.alice) if each.kind in PARTNER_KINDS]

    eventually(lambda: said()[-1:] == [PartnerDropAct.kind], "the log says that it was dropped")
    assert said()[0] == PartnerAct.kind
    (dropped,) = (each for each in acts(two.ours.alice) if each.kind == PartnerDropAct.kind)
    act = decode(PartnerDropAct, dropped.document)
    assert (act.network, act.reason) == (two.theirs.alice.membership.genesis_id, "over")
