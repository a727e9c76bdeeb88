"""Nodes cosign the authority's logs, over STOQ, and tell when a log shows another history."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from hypermesh.ledger.bundled import LedgerVerdict, check_ledger
from hypermesh.node import witnessing
from hypermesh.node.authority_logs import AuthorityLogs, InvitationAct
from hypermesh.trustchain.bundle import Bundle, BundleRefused, read_bundle
from hypermesh.trustchain.ct.errors import LogContradicted, ProofInvalid, WitnessEnded
from hypermesh.trustchain.ct.note import Note, read_note
from hypermesh.wire.api.ct import LogView
from hypermesh.wire.codec import decode
from hypermesh.wire.errors import NotAvailable, NotFound
from hypermesh.wire.rpc import CosignRequest, CosignResponse

from .network import Network, Node, call, dial, eventually, hm, output, replaced, stoq

pytestmark = pytest.mark.timeout(300)
PATIENCE_S = 90.0
"""Witnesses are asked every few seconds, and one that did not answer after half a minute."""


@pytest.fixture(scope="module")
def nodes(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Network]:
    """Alice, who has the authority, bob and carol: three owners."""
    network = Network(tmp_path_factory.mktemp("w"))
    try:
        network.found("bob", "carol")
        yield network
    finally:
        network.end()


def log_of(node: Node, purpose: str = "acts") -> LogView:
    logs = node.ask(lambda mesh: mesh.ct.get()).logs
    return next(each for each in logs if each.purpose == purpose and each.ended_height is None)


def size_of(node: Node, purpose: str = "acts") -> int:
    here = log_of(node, purpose).here
    assert here is not None
    return here.size


def cosigned(network: Network, purpose: str = "acts") -> int:
    """The size of alice's log, once bob and carol have cosigned it and the ledger has it."""

    def look() -> int | None:
        view = log_of(network.alice, purpose)
        assert view.here is not None
        everyone = {
            (network.bob.id.hex(), view.here.size, None),
            (network.carol.id.hex(), view.here.size, None),
        }
        found = {(each.node, each.size, each.refused) for each in view.here.witnesses}
        is_whole = found == everyone and view.anchored.size == view.here.size > 0
        return view.here.size if is_whole else None

    return eventually(look, f"{purpose} is cosigned as far as it goes", PATIENCE_S)


def bundle_of(node: Node, named: str = "me") -> Bundle:
    return read_bundle(node.ask(lambda mesh: mesh.certificates.bundle(named)))


def said_of(made: Bundle, node: Node) -> LedgerVerdict:
    said = check_ledger(made, node.membership.genesis_id)
    assert said is not None
    return said


def test_every_node_that_follows_cosigns_what_grew(nodes: Network) -> None:
    cosigned(nodes, "certificates")
    before = cosigned(nodes)
    nodes.invite()
    size = cosigned(nodes)
    assert size == before + 1
    for node in (nodes.bob, nodes.carol):
        witnessed = log_of(node).witnessed
        assert witnessed is not None
        assert (witnessed.size, witnessed.contradiction) == (size, None)
        assert b"by this node" in hm("cert", "log", data=node.data).stdout
    assert log_of(nodes.alice).witnessed is None
    assert b"by 2 nodes" in hm("cert", "log", data=nodes.alice.data).stdout


@pytest.mark.parametrize(("asking", "named"), [("alice", "carol"), ("bob", "bob")])
def test_a_bundle_carries_witnesses_that_the_ledger_knows(
    nodes: Network, tmp_path: Path, asking: str, named: str
) -> None:
    cosigned(nodes, "certificates")
    made = bundle_of(nodes[asking], nodes[named].id.hex())
    said = said_of(made, nodes.bob)
    assert {each.node for each in said.witnesses} == {nodes.bob.id, nodes.carol.id}
    assert {each.owner for each in said.witnesses} == {
        nodes.bob.membership.owner,
        nodes.carol.membership.owner,
    }
    assert not any(each.is_founders for each in said.witnesses)
    file = tmp_path / "bundle.json"
    file.write_bytes(made.encoded())
    genesis = nodes.bob.membership.genesis_id.hex()
    told = output(
        hm("cert", "verify", str(file), "--genesis", genesis, "--cosigned", "2", "--output", "json")
    )
    assert len(told["ledger"]["witnesses"]) == 2
    more = hm("cert", "verify", str(file), "--genesis", genesis, "--cosigned", "3")
    assert more.returncode == BundleRefused.exit_code
    assert b"2 owners" in more.stderr


def is_refused(bundle: Bundle, genesis_id: bytes) -> bool:
    try:
        check_ledger(bundle, genesis_id)
    except BundleRefused:
        return True
    return False


def test_a_bundle_with_a_false_witness_is_refused(nodes: Network) -> None:
    cosigned(nodes, "certificates")
    made = bundle_of(nodes.bob)
    assert made.ledger is not None
    first, second = made.ledger.witnesses
    note = read_note(made.checkpoint.encode())
    name = next(line.name for line in note.lines if first.node[:8].hex() in line.name)

    def with_witnesses(*witnesses: object) -> Bundle:
        return replaced(made, ledger=replaced(made.ledger, witnesses=witnesses))

    def with_lines(keep: Callable[[int], bool]) -> Bundle:
        """Of the lines of `first`, those that `keep` wants."""
        own = [line for line in note.lines if line.name == name]
        left = [line for line in note.lines if line not in own or keep(own.index(line))]
        return replaced(made, checkpoint=Note(note.text, tuple(left)).encoded().decode())

    flipped = replaced(first, row=replaced(first.row, value=(first.row.value or b"")[:-1] + b"\7"))
    planted = {
        "twice": with_witnesses(first, first),
        "another's row": with_witnesses(replaced(first, row=second.row), second),
        "an altered row": with_witnesses(flipped, second),
        "no row": with_witnesses(replaced(first, row=replaced(first.row, value=None))),
        "no lines": with_lines(lambda _: False),
        "Ed25519 alone": with_lines(lambda at: at == 0),
        "FALCON alone": with_lines(lambda at: at == 1),
    }
    genesis_id = nodes.bob.membership.genesis_id
    assert [what for what, each in planted.items() if not is_refused(each, genesis_id)] == []
    # Lines that nobody vouches for count for nothing.
    said = check_ledger(with_witnesses(), genesis_id)
    assert said is not None
    assert said.witnesses == ()


def test_what_is_asked_wrongly_is_refused(nodes: Network) -> None:
    size = cosigned(nodes)
    shown = log_of(nodes.alice).here
    assert shown is not None
    note = shown.checkpoint.encode()
    with stoq(nodes.carol.membership) as carol:
        bob, alice = dial(carol, nodes.bob), dial(carol, nodes.alice)
        request = CosignRequest(size, [], note)
        again = decode(CosignResponse, call(bob, "log.cosign", request))
        assert (again.size, bool(again.lines)) == (size, True)
        late = decode(CosignResponse, call(bob, "log.cosign", replaced(request, old=0)))
        assert (late.size, late.lines) == (size, b"")
        with pytest.raises(NotAvailable):
            call(alice, "log.cosign", request)
        renamed = note.replace(b"/acts", b"/else")
        with pytest.raises(NotFound):
            call(bob, "log.cosign", replaced(request, note=renamed))
    assert log_of(nodes.bob).witnessed == replaced(
        log_of(nodes.bob).witnessed, size=size, contradiction=None
    )


def grown(network: Network, data: Path, secret: bytes, old: int) -> CosignRequest:
    """One more act in alice's log as it lies in `data`, and how a witness is asked about it."""
    membership = network.alice.membership
    logs = AuthorityLogs(data, membership.store, membership.keys, membership.genesis_id)
    try:
        view = logs.present.acts
        logs.invited(InvitationAct(secret, None, 1_800_000_000))
        proof = view.consistency(old, old + 1)
        return CosignRequest(old, proof, view.checkpoint(old + 1))
    finally:
        logs.close()


def test_a_fork_is_refused_and_shown(nodes: Network, tmp_path: Path) -> None:
    """Alice's log is put back from a copy before the ledger knows what bob has cosigned of it, and
    goes on with another entry."""
    alice, bob, carol = nodes.alice, nodes.bob, nodes.carol
    size = cosigned(nodes)
    alice.stop()
    shutil.copytree(alice.data / "ct", tmp_path / "copy" / "ct")
    shown = grown(nodes, alice.data, b"1" * 32, size)
    with stoq(alice.membership) as authority:
        first = decode(CosignResponse, call(dial(authority, bob), "log.cosign", shown))
        assert (first.size, bool(first.lines)) == (size + 1, True)
    bob.kill()
    bob.begin()
    bob.ready()
    shutil.rmtree(alice.data / "ct")
    shutil.copytree(tmp_path / "copy" / "ct", alice.data / "ct")
    forked = grown(nodes, alice.data, b"2" * 32, size)
    stranger = nodes.carol.membership
    with stoq(stranger) as member:
        # A proof that leads nowhere says nothing of a log where anybody could have sent it.
        connection = dial(member, carol)
        with pytest.raises(ProofInvalid):
            call(connection, "log.cosign", replaced(forked, proof=[b"\1" * 32]))
    assert log_of(carol).witnessed == replaced(log_of(carol).witnessed, contradiction=None)
    with stoq(alice.membership) as authority, pytest.raises(LogContradicted):
        call(dial(authority, bob), "log.cosign", replaced(forked, old=size + 1, proof=[]))

    alice.start()
    nodes.invite()

    def told() -> bool:
        here = log_of(alice).here
        assert here is not None
        said = {each.node: (each.size, each.refused) for each in here.witnesses}
        return said.get(carol.id.hex()) == (here.size, None) and "begin" in (
            said.get(bob.id.hex(), (0, None))[1] or ""
        )

    eventually(told, "carol cosigns what bob refuses, and alice knows why", PATIENCE_S)
    for node in (alice, bob):
        health = node.ask(lambda mesh: mesh.network.health())
        (action,) = [each for each in health.actions if each.name == "log_contradicted"]
        assert (health.level, action.level) == ("failing", "failing")
        assert log_of(alice).origin in action.why
    assert carol.ask(lambda mesh: mesh.network.health()).level != "failing"
    witnessed = log_of(bob).witnessed
    assert witnessed is not None
    assert witnessed.size == size + 1
    assert b"CONTRADICTED" in hm("cert", "log", data=bob.data).stdout
    bob.stop()
    bob.start()
    assert log_of(bob).witnessed == witnessed


def test_a_node_that_was_restored_cosigns_no_more(nodes: Network) -> None:
    """It has forgotten what it cosigned."""
    carol = nodes.carol
    here = log_of(nodes.alice).here
    assert here is not None
    request = CosignRequest(here.size, [], here.checkpoint.encode())
    carol.stop()
    witnessing.end(carol.data, "it was restored")
    carol.start()
    with stoq(nodes.bob.membership) as member, pytest.raises(WitnessEnded, match="restored"):
        call(dial(member, carol), "log.cosign", request)
