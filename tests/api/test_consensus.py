"""What the API says of the four proofs: their parameters, their challenges, dry runs."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from typing import Any

import httpx
import msgspec
import pytest

from hypermesh.crypto.digest import digest, digest_of
from hypermesh.wire.api.consensus import ChallengeView, ConsensusStatus
from hypermesh.wire.codec import decode, encode
from hypermesh.wire.proof import Bundle, ProofKind
from hypermesh.wire.tx import ConsensusAttest, SignedTransaction

from .nodes import Running, problem

replace = msgspec.structs.replace
CONTEXT = "hypermesh/v1/"


def status_of(client: httpx.Client) -> ConsensusStatus:
    return msgspec.json.decode(client.get("/consensus/status").content, type=ConsensusStatus)


def test_status_says_what_the_proofs_are_worth(owner: httpx.Client, alice: Running) -> None:
    status = status_of(owner)
    assert status.network_class == "test"
    assert status.space_k == 18
    assert status.plot_bytes > 1 << 20
    assert status.draws == 16
    assert 3 <= status.draws_valid_min <= status.draws
    assert status.vdf_bits >= 512
    assert status.vdf_iterations > 0
    assert status.matrix_size >= 64
    assert status.seed_origin
    assert status.assurance.startswith("trusted sequencer; ")
    assert status.attested_nodes >= 1
    assert status.height >= 1
    assert status.epoch >= 0


def challenges(client: httpx.Client, node: str | None = None) -> list[ChallengeView]:
    answer = client.post("/consensus/challenge", json={} if node is None else {"node": node})
    return msgspec.json.decode(answer.content, type=list[ChallengeView])


def test_every_challenge_can_be_recomputed(owner: httpx.Client, alice: Running) -> None:
    read: dict[str, Callable[[str], Any]] = {"bytes": bytes.fromhex, "integer": int, "text": str}
    views = challenges(owner)
    for view in views:
        values = [read[each.type](each.value) for each in view.inputs]
        if not view.function:
            assert [value.hex() for value in values] == [view.result]
            continue
        assert view.function.startswith(CONTEXT)
        name = view.function.removeprefix(CONTEXT)
        assert digest_of(name, values).hex() == view.result
        assert encode(values).hex() == view.encoded
        assert digest(name, bytes.fromhex(view.encoded)).hex() == view.result
    status = status_of(owner)
    by_what = {(view.proof, view.what): view for view in views}
    assert {"space", "work", "time"} == {view.proof for view in views}
    assert sum(view.what.startswith("draw ") for view in views) == status.draws
    of_space = {each.name: each.value for each in by_what["space", "challenge"].inputs}
    assert of_space["node"] == alice.node
    assert of_space["genesis"] == alice.mesh.network.status().genesis
    assert of_space["seed"] == by_what["time", "seed"].result


def test_challenges_are_each_nodes_own(owner: httpx.Client, alice: Running, bob: Running) -> None:
    def of(node: str) -> set[str]:
        return {view.result for view in challenges(owner, node) if view.what != "seed"}

    assert of(alice.node).isdisjoint(of(bob.node))
    for node in ("x", "0" * 63, "A" * 64):
        problem(owner.post("/consensus/challenge", json={"node": node}), 400)


def attestations(running: Running) -> list[SignedTransaction]:
    """Accepted attestations, oldest first."""
    found = []
    for height in range(1, running.mesh.network.status().height + 1):
        block = running.mesh.ledger.block(height)
        for entry, kind, code in zip(block.entries, block.types, block.codes, strict=True):
            if kind == "consensus.attest" and code == "ok":
                found.append(decode(SignedTransaction, bytes.fromhex(entry)))
    return found


def newest(running: Running, node: str) -> SignedTransaction:
    return [each for each in attestations(running) if each.transaction.signer.hex() == node][-1]


def bundle_in(signed: SignedTransaction) -> Bundle:
    body = signed.transaction.body
    assert isinstance(body, ConsensusAttest)
    return body.bundle


def named(client: httpx.Client, **given: bytes) -> set[str]:
    """The proofs that fail, after checks on the answer's form."""
    answer = client.post(
        "/consensus/validate", json={name: value.hex() for name, value in given.items()}
    )
    assert answer.status_code == 200, answer.text
    verdict = answer.json()
    assert verdict["valid"] == (not verdict["failures"])
    assert all(failure["reason"] for failure in verdict["failures"])
    return {failure["proof"] for failure in verdict["failures"]}


def judged(client: httpx.Client, running: Running, change: Callable[[Bundle], Bundle]) -> set[str]:
    """The proofs that fail of bob's present bundle after `change`; judged within one epoch."""
    while True:
        epoch = status_of(client).epoch
        bundle = bundle_in(newest(running, running.node))
        if bundle.epoch != epoch:
            continue
        verdict = named(client, bundle=encode(change(bundle)))
        if status_of(client).epoch == epoch:
            return verdict


def flipped(data: bytes) -> bytes:
    middle = len(data) // 2
    return data[:middle] + bytes([data[middle] ^ 1]) + data[middle + 1 :]


def altered(bundle: Bundle, kind: ProofKind) -> Bundle:
    space, stake, work, time = bundle.space, bundle.stake, bundle.work, bundle.time
    assert space
    assert stake
    assert work
    assert time
    match kind:
        case ProofKind.SPACE:
            draw = replace(space.draws[0], proof=flipped(space.draws[0].proof))
            return replace(bundle, space=replace(space, draws=[draw, *space.draws[1:]]))
        case ProofKind.STAKE:
            return replace(bundle, stake=replace(stake, bonded=stake.bonded + 1))
        case ProofKind.WORK:
            return replace(bundle, work=replace(work, root=flipped(work.root)))
        case ProofKind.TIME:
            vdf = replace(time.vdf, output=flipped(time.vdf.output))
            return replace(bundle, time=replace(time, vdf=vdf))


def test_a_good_bundle_is_valid(owner: httpx.Client, bob: Running) -> None:
    assert judged(owner, bob, lambda bundle: bundle) == set()


@pytest.mark.parametrize("kind", list(ProofKind))
def test_a_proof_left_out_is_named(owner: httpx.Client, bob: Running, kind: ProofKind) -> None:
    assert judged(owner, bob, lambda bundle: replace(bundle, **{kind.value: None})) == {kind}


@pytest.mark.parametrize("kind", list(ProofKind))
def test_an_altered_proof_is_named(owner: httpx.Client, bob: Running, kind: ProofKind) -> None:
    assert judged(owner, bob, lambda bundle: altered(bundle, kind)) == {kind}


def test_no_proof_at_all(owner: httpx.Client, bob: Running) -> None:
    nothing = judged(
        owner, bob, lambda bundle: replace(bundle, space=None, stake=None, work=None, time=None)
    )
    assert nothing == set(ProofKind)


def test_a_bundle_replayed_as_another_nodes(
    owner: httpx.Client, alice: Running, bob: Running
) -> None:
    failed = judged(owner, bob, lambda bundle: replace(bundle, node=bytes.fromhex(alice.node)))
    assert failed >= {"space", "stake", "work"}


def test_a_bundle_replayed_in_another_epoch(owner: httpx.Client, bob: Running) -> None:
    assert "time" in judged(owner, bob, lambda bundle: replace(bundle, epoch=bundle.epoch + 1))


def test_a_bundle_replayed_on_another_network(owner: httpx.Client, bob: Running) -> None:
    other = hashlib.sha256(b"another network").digest()
    assert judged(owner, bob, lambda bundle: replace(bundle, genesis=other))


def test_a_transaction_is_judged_as_its_signers(owner: httpx.Client, bob: Running) -> None:
    signed = newest(bob, bob.node)
    verdict = named(owner, transaction=encode(signed))
    assert verdict <= {"time", "space", "work"}
    stranger = replace(signed, transaction=replace(signed.transaction, signer=bytes(32)))
    assert {"space", "stake", "work"} <= named(owner, transaction=encode(stranger))


def test_nothing_is_submitted(owner: httpx.Client, bob: Running) -> None:
    signed = newest(bob, bob.node)
    count = len(attestations(bob))
    epoch = status_of(owner).epoch
    named(owner, transaction=encode(signed))
    if status_of(owner).epoch == epoch:
        assert len(attestations(bob)) == count


def test_what_is_no_bundle(owner: httpx.Client, bob: Running) -> None:
    bundle = encode(bundle_in(newest(bob, bob.node)))
    for body in (
        {},
        {"bundle": "zz"},
        {"bundle": ""},
        {"bundle": bundle.hex(), "transaction": "00"},
        {"bundle": (bundle + b"\0").hex()},
        {"bundle": bundle[:-1].hex()},
        {"transaction": bundle.hex()},
        {"bundle": "0" * (512 * 1024 + 2)},
    ):
        problem(owner.post("/consensus/validate", json=body), 400)
