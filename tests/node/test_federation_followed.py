"""Partner networks that move or replace their issuing CA, and listings that follow them, between
networks of real nodes. The tests follow one another."""

from __future__ import annotations

import time
from collections.abc import Iterator

import msgspec
import pytest
from tests.node.network import Network as Mesh
from tests.node.network import Node, call, eventually, hm, output

from hypermesh.crypto.keys import key_id
from hypermesh.ledger.federation import Partner
from hypermesh.node.partner_succession import Succession, SuccessionRefused, succession
from hypermesh.trustchain.federation import Introduction, introduction
from hypermesh.wire.api.trust import PartnerRequest, PartnerView
from hypermesh.wire.asset import AssetKind
from hypermesh.wire.codec import encode
from hypermesh.wire.errors import HyperMeshError
from hypermesh.wire.rpc import PartnerIntroduction
from hypermesh.wire.tx import PartnerService

from .test_federation import dial, visitor

WITHIN_S = 120.0

pytestmark = pytest.mark.timeout(600)


@pytest.fixture(scope="module")
def ours(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Mesh]:
    network = Mesh(tmp_path_factory.mktemp("o"))
    try:
        network.found("bob")
        yield network
    finally:
        network.end()


@pytest.fixture(scope="module")
def theirs(tmp_path_factory: pytest.TempPathFactory, ours: Mesh) -> Iterator[Mesh]:
    """Listed by ours and listing it; all its nodes may see assets, for 30 days."""
    network = Mesh(tmp_path_factory.mktemp("t"))
    try:
        network.found()
        let_in(ours, network)
        let_in(network, ours)
        eventually(lambda: sees(ours.bob, network), "bob sees their assets", WITHIN_S)
        yield network
    finally:
        network.end()


def introduced(network: Mesh) -> str:
    return network.alice.ask(lambda m: m.trust.introduction()).introduction


def let_in(at: Mesh, other: Mesh) -> None:
    wanted = PartnerRequest(
        introduction=introduced(other), services=[PartnerService.ASSETS], days=30
    )
    assert at.alice.ask(lambda m: m.trust.add(wanted)).code == "ok"


def id_of(network: Mesh) -> str:
    return network.alice.membership.genesis_id.hex()


def sees(node: Node, network: Mesh) -> bool:
    """Whether `node` gets to the other network and is let in there."""
    try:
        found = node.ask(lambda m: list(m.trust.assets(id_of(network))))
    except HyperMeshError:
        return False
    return network.alice.asset(AssetKind.MEMORY).asset in {each.asset for each in found}


def listed(node: Node) -> PartnerView:
    (view,) = node.ask(lambda m: list(m.trust.list()))
    return view


def terms(node: Node) -> tuple[object, ...]:
    view = listed(node)
    return view.permitted, view.excluded, view.services, view.not_after_ms


def port(node: Node) -> int:
    return node.configuration.settings.stoq_port


def moved(node: Node) -> int:
    """Start it at another port; which one."""
    before = port(node)
    while port(node) == before:
        assert node.stop() == 0
        node.start(stoq_port=0)
    return port(node)


def test_a_partner_that_moved_is_found_again(ours: Mesh, theirs: Mesh) -> None:
    before, height = terms(ours.bob), listed(ours.bob).height
    moved(theirs.alice)
    eventually(lambda: listed(ours.bob).height > height, "the listing follows", WITHIN_S)
    eventually(lambda: sees(ours.bob, theirs), "bob sees their assets", WITHIN_S)
    assert terms(ours.bob) == before


def test_another_issuing_ca_of_the_same_root_is_followed(ours: Mesh, theirs: Mesh) -> None:
    before, height = terms(ours.bob), listed(ours.bob).height
    words = ("cert", "rotate-issuer", "--reason", "its key was copied", "--yes", "--grace", "0s")
    assert hm(*words, data=theirs.alice.data).returncode == 0
    eventually(lambda: listed(ours.bob).height > height, "the listing follows", WITHIN_S)
    eventually(lambda: sees(ours.bob, theirs), "bob sees their assets", WITHIN_S)
    eventually(lambda: sees(theirs.alice, ours), "and they see ours", WITHIN_S)
    assert terms(ours.bob) == before


def test_what_a_partner_says_of_another_network_is_refused(ours: Mesh, theirs: Mesh) -> None:
    said = PartnerIntroduction(encode(introduction(introduced(ours))))
    with visitor(theirs, ours) as endpoint, dial(endpoint, ours.alice) as connection:
        with pytest.raises(SuccessionRefused, match="another network"):
            call(connection, "partner.changed", said)
        own = PartnerIntroduction(encode(introduction(introduced(theirs))))
        # What is listed already is no news.
        assert call(connection, "partner.changed", own) == encode([False])


def test_one_command_follows_a_partner_that_says_nothing(ours: Mesh, theirs: Mesh) -> None:
    """Theirs does not list ours any more, so it has nobody to tell."""
    network = id_of(theirs)
    assert theirs.alice.ask(lambda m: m.trust.drop(id_of(ours))).code == "ok"
    before = terms(ours.bob)
    to = moved(theirs.alice)
    words = ("trust", "follow", network[:16], "--at", f"[::1]:{to}", "--output", "json")
    done = output(hm(*words, data=ours.alice.data))
    assert (done["moved"], done["reissued"], done["port"]) == (True, False, to)
    eventually(lambda: listed(ours.bob).height == done["height"], "bob has the block", WITHIN_S)
    assert terms(ours.bob) == before
    again = hm("trust", "follow", network[:16], data=ours.alice.data)
    assert again.returncode == 0
    assert b"nothing was changed" in again.stdout
    # Another node of that machine is no partner, whatever its address.
    other = hm(
        "trust", "follow", network[:16], "--at", f"[::1]:{port(ours.bob)}", data=ours.alice.data
    )
    assert other.returncode != 0
    elsewhere = hm("trust", "follow", network[:16], data=ours.bob.data)
    assert elsewhere.returncode != 0
    assert terms(ours.bob) == before


def test_only_what_the_agreed_root_has_signed_follows(ours: Mesh, theirs: Mesh) -> None:
    now = introduction(introduced(theirs))
    genesis, first = now.genesis, now.genesis.issuing_certificate
    network, now_s = theirs.alice.membership.genesis_id, int(time.time())
    assert now.issuing != first

    def found(theirs_now: Introduction, listed_issuing: bytes = first) -> Succession:
        row = Partner(
            name=genesis.name,
            root=genesis.root_certificate,
            issuing=listed_issuing,
            sequencer=key_id(genesis.sequencer),
            cross=b"x",
            permitted=[],
            excluded=[],
            services=[],
            not_after_ms=1,
            locators=now.locators,
            height=1,
            by=bytes(32),
        )
        return succession(row, network, theirs_now, now_s)

    assert found(now)[2:] == (True, False)
    assert found(now, now.issuing)[2:] == (False, False)
    place = msgspec.structs.replace(now.locators[0], port=now.locators[0].port ^ 1)
    assert found(msgspec.structs.replace(now, locators=[place]), now.issuing)[2:] == (False, True)
    foreign = introduction(introduced(ours))
    nobody = msgspec.structs.replace(now.locators[0], hosts=["ff02::1"])
    for wrong, why in (
        (foreign, "another network"),
        (msgspec.structs.replace(now, issuing=foreign.issuing), "HM-"),
        (msgspec.structs.replace(now, locators=[]), "names no place"),
        (msgspec.structs.replace(now, locators=foreign.locators), "names no place"),
        (msgspec.structs.replace(now, locators=[nobody]), "names no place"),
    ):
        with pytest.raises(SuccessionRefused) as refused:
            found(wrong)
        assert why in refused.value.why
    with pytest.raises(SuccessionRefused) as refused:
        found(msgspec.structs.replace(now, issuing=first), now.issuing)
    assert "older" in refused.value.why
