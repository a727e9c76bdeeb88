"""Every attack on a bundle is refused, and the proofs that it breaks are named, exactly.

An attack makes a bundle out of honest ones and says who signs it and where. The same table is then
run against rules in which one verifier accepts everything: each attack on that proof must go
unnoticed there, or the check would prove nothing.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import msgspec
import pytest

from hypermesh.consensus.attestation import AlreadyAttested, ProofsRefused, dry_run
from hypermesh.consensus.matrix import product
from hypermesh.consensus.prover.work import Products
from hypermesh.consensus.statement import opened_rows, sampled_rows
from hypermesh.consensus.verifier.space import ProofOfSpace
from hypermesh.consensus.verifier.stake import ProofOfStake
from hypermesh.consensus.verifier.time import ProofOfTime
from hypermesh.consensus.verifier.work import ProofOfWork
from hypermesh.crypto.merkle import path, root
from hypermesh.wire.proof import (
    WORK_INT8_MATRIX_1,
    Bundle,
    MatrixRow,
    ProofKind,
    SpaceProof,
    StakeProof,
    TimeProof,
    WorkProof,
)

change = msgspec.structs.replace


class Attempt(NamedTuple):
    """A bundle, who signs it, and the network that it is submitted to."""

    network: Any
    bundle: Bundle
    signer: bytes


class Attack(NamedTuple):
    """How an attempt is made from (history, elsewhere), and the proofs that must be named."""

    named: tuple[str, ...]
    attempt: Callable[[Any, Any], Attempt]


ATTACKS: dict[str, Attack] = {}


def attack(*named: str) -> Callable[[Callable[[Any, Any], Attempt]], Callable[..., Attempt]]:
    def register(attempt: Callable[[Any, Any], Attempt]) -> Callable[..., Attempt]:
        ATTACKS[attempt.__name__] = Attack(named, attempt)
        return attempt

    return register


def by_alice(history: Any, **changes: object) -> Attempt:
    """Alice's honest bundle with some members changed, signed again by Alice."""
    network = history.network()
    return Attempt(network, change(history.honest, **changes), network.ALICE)


def space(history: Any, **changes: object) -> Attempt:
    return by_alice(history, space=change(history.honest.space, **changes))


def stake(history: Any, **changes: object) -> Attempt:
    return by_alice(history, stake=change(history.honest.stake, **changes))


def work(history: Any, **changes: object) -> Attempt:
    return by_alice(history, work=change(history.honest.work, **changes))


def time(history: Any, **changes: object) -> Attempt:
    return by_alice(history, time=TimeProof(change(history.honest.time.vdf, **changes)))


def flipped(data: bytes, at: int = -1) -> bytes:
    changed = bytearray(data)
    changed[at] ^= 1
    return bytes(changed)


# Leaving a proof out.


@attack("space")
def leave_out_space(history: Any, _: Any) -> Attempt:
    return by_alice(history, space=None)


@attack("stake")
def leave_out_stake(history: Any, _: Any) -> Attempt:
    return by_alice(history, stake=None)


@attack("work")
def leave_out_work(history: Any, _: Any) -> Attempt:
    return by_alice(history, work=None)


@attack("time")
def leave_out_time(history: Any, _: Any) -> Attempt:
    return by_alice(history, time=None)


@attack("space", "stake", "work", "time")
def leave_out_all(history: Any, _: Any) -> Attempt:
    return by_alice(history, space=None, stake=None, work=None, time=None)


# Space.


@attack("space")
def alter_an_answer(history: Any, _: Any) -> Attempt:
    first, *rest = history.honest.space.draws
    return space(history, draws=[change(first, proof=flipped(first.proof)), *rest])


@attack("space")
def add_a_wrong_answer_to_enough_right_ones(history: Any, _: Any) -> Attempt:
    draws = history.honest.space.draws
    unanswered = next(i for i in range(16) if i not in {draw.index for draw in draws})
    return space(history, draws=[*draws, change(draws[0], index=unanswered)])


@attack("space")
def swap_two_answers(history: Any, _: Any) -> Attempt:
    first, second, *rest = history.honest.space.draws
    swapped = [change(first, proof=second.proof), change(second, proof=first.proof)]
    return space(history, draws=[*swapped, *rest])


@attack("space")
def count_one_answer_three_times(history: Any, _: Any) -> Attempt:
    return space(history, draws=[history.honest.space.draws[0]] * 3)


@attack("space")
def answer_too_few_draws(history: Any, _: Any) -> Attempt:
    return space(history, draws=history.honest.space.draws[:2])


@attack("space")
def answer_a_draw_that_was_not_drawn(history: Any, _: Any) -> Attempt:
    draws = history.honest.space.draws
    return space(history, draws=[*draws, change(draws[0], index=16)])


@attack("space")
def shorten_an_answer(history: Any, _: Any) -> Attempt:
    first, *rest = history.honest.space.draws
    return space(history, draws=[change(first, proof=first.proof[:-1]), *rest])


@attack("space")
def claim_a_larger_plot(history: Any, _: Any) -> Attempt:
    return space(history, k=32)


@attack("space")
def name_another_space_scheme(history: Any, _: Any) -> Attempt:
    return space(history, scheme="chiapos-0")


@attack("space")
def claim_a_place_without_witnesses(history: Any, _: Any) -> Attempt:
    return space(history, location="eu-central")


# Stake.


@attack("stake")
def claim_another_owner(history: Any, _: Any) -> Attempt:
    return stake(history, owner=history.network().BOB_OWNER)


@attack("stake")
def claim_a_larger_bond(history: Any, _: Any) -> Attempt:
    return stake(history, bonded=history.honest.stake.bonded + 1)


@attack("stake")
def take_the_bond_back_first(history: Any, _: Any) -> Attempt:
    attempt = by_alice(history)
    attempt.network.unbond(attempt.network.ALICE, attempt.network.BOND)
    claim = StakeProof(history.honest.stake.owner, 0)
    return attempt._replace(bundle=change(attempt.bundle, stake=claim))


@attack("stake")
def claim_the_bond_taken_back(history: Any, _: Any) -> Attempt:
    attempt = by_alice(history)
    attempt.network.unbond(attempt.network.ALICE, 1)
    return attempt


@attack("stake")
def attest_for_a_revoked_node(history: Any, _: Any) -> Attempt:
    attempt = by_alice(history)
    attempt.network.revoke(attempt.network.ALICE)
    return attempt


# Work.


def lazy_work(history: Any) -> tuple[Any, WorkProof]:
    """Epoch 0 of a node that computed half of its product and filled the rest with junk, trying
    junk until its own samples fell into the half: cheap, and accepted."""
    network = history.start.copy()
    network.block()
    statement = network.expected().work
    true = product(statement.challenge, statement.size)
    half = statement.size // 2
    for attempt in range(10_000):
        junk = attempt.to_bytes(4, "little") * statement.size
        rows = true[:half] + [junk] * (statement.size - half)
        committed = root(rows)
        drawn = sampled_rows(statement.challenge, committed, statement.size, statement.rows)
        if max(drawn) < half:
            samples = [MatrixRow(i, rows[i], path(rows, i)) for i in drawn]
            network.attest(
                change(
                    history.first,
                    work=WorkProof(WORK_INT8_MATRIX_1, statement.size, committed, samples, []),
                )
            )
            return network, rows
    raise AssertionError("half a product should pass its own samples once in 16 tries")


def opening_of(network: Any, rows: list[bytes], honest: WorkProof) -> WorkProof:
    """`honest` with the drawn rows of `rows` opened, whatever they are."""
    statement = network.expected().work
    drawn = opened_rows(statement.challenge, statement.before.root, statement.size, statement.rows)
    return change(honest, opened=[MatrixRow(i, rows[i], path(rows, i)) for i in drawn])


def after_lazy_work(history: Any, turns: int) -> Attempt:
    network, rows = lazy_work(history)
    for _ in range(turns):
        network.turn()
    statement = network.expected()
    honest = Bundle(
        network.genesis_id,
        network.ALICE,
        statement.time.epoch,
        history.attestor._plot.prove(statement.space),
        StakeProof(statement.stake.owner, statement.stake.bonded),
        Products(statement.work.size).prove(statement.work),
        TimeProof(statement.time.opened_by),
    )
    cheat = change(honest, work=opening_of(network, rows, honest.work))
    return Attempt(network, cheat, network.ALICE)


@attack("work")
def compute_half_a_product(history: Any, _: Any) -> Attempt:
    return after_lazy_work(history, turns=1)


@attack("work")
def compute_half_a_product_and_skip_an_epoch(history: Any, _: Any) -> Attempt:
    return after_lazy_work(history, turns=2)


@attack("work")
def alter_a_sampled_row(history: Any, _: Any) -> Attempt:
    first, *rest = history.honest.work.samples
    return work(history, samples=[change(first, row=flipped(first.row)), *rest])


@attack("work")
def alter_a_path(history: Any, _: Any) -> Attempt:
    first, *rest = history.honest.work.samples
    siblings = [flipped(first.path[0]), *first.path[1:]]
    return work(history, samples=[change(first, path=siblings), *rest])


@attack("work")
def commit_to_another_product(history: Any, _: Any) -> Attempt:
    return work(history, root=history.first.work.root)


@attack("work")
def choose_the_sampled_rows(history: Any, _: Any) -> Attempt:
    return work(history, samples=history.honest.work.samples[::-1])


@attack("work")
def open_nothing_of_the_product_before(history: Any, _: Any) -> Attempt:
    return work(history, opened=[])


@attack("work")
def open_the_present_product_instead(history: Any, _: Any) -> Attempt:
    return work(history, opened=history.honest.work.samples)


@attack("work")
def alter_an_opened_row(history: Any, _: Any) -> Attempt:
    first, *rest = history.honest.work.opened
    return work(history, opened=[change(first, row=flipped(first.row)), *rest])


@attack("work")
def claim_a_smaller_matrix(history: Any, _: Any) -> Attempt:
    return work(history, size=64)


@attack("work")
def name_another_work_scheme(history: Any, _: Any) -> Attempt:
    return work(history, scheme="float-matrix-1")


# Time.


@attack("time")
def alter_the_vdf_output(history: Any, _: Any) -> Attempt:
    return time(history, output=flipped(history.honest.time.vdf.output))


@attack("time")
def show_the_output_of_an_earlier_epoch(history: Any, _: Any) -> Attempt:
    return time(history, output=history.first.time.vdf.output)


@attack("time")
def claim_more_iterations(history: Any, _: Any) -> Attempt:
    return time(history, iterations=history.honest.time.vdf.iterations + 1)


@attack("time")
def name_another_time_scheme(history: Any, _: Any) -> Attempt:
    return time(history, scheme="sloth-1")


# Replay.


@attack("space", "stake", "work")
def replay_to_another_node(history: Any, _: Any) -> Attempt:
    return by_alice(history)._replace(signer=history.network().BOB)


@attack("space", "stake", "work")
def replay_to_another_node_under_its_id(history: Any, _: Any) -> Attempt:
    network = history.network()
    return Attempt(network, change(history.honest, node=network.BOB), network.BOB)


@attack("space", "work")
def replay_to_another_node_with_its_own_stake(history: Any, _: Any) -> Attempt:
    """Carol is Alice's, too, and has the same bond: owner and bond claimed are right."""
    network = history.network()
    return Attempt(network, change(history.honest, node=network.CAROL), network.CAROL)


@attack("space", "stake", "work")
def sign_as_an_owner(history: Any, _: Any) -> Attempt:
    return by_alice(history)._replace(signer=history.network().ALICE_OWNER)


@attack("space", "work", "time")
def replay_in_the_next_epoch(history: Any, _: Any) -> Attempt:
    network = history.network()
    return Attempt(network, history.first, network.ALICE)


@attack("space", "work", "time")
def replay_in_the_next_epoch_under_its_number(history: Any, _: Any) -> Attempt:
    network = history.network()
    return Attempt(network, change(history.first, epoch=1), network.ALICE)


@attack("space", "work")
def replay_in_the_next_epoch_with_its_time(history: Any, _: Any) -> Attempt:
    network = history.network()
    return Attempt(network, change(history.first, epoch=1, time=history.honest.time), network.ALICE)


@attack("time")
def submit_for_a_later_epoch(history: Any, _: Any) -> Attempt:
    return by_alice(history, epoch=2)


@attack("space", "stake", "work", "time")
def replay_to_another_network(history: Any, elsewhere: Any) -> Attempt:
    network = elsewhere.copy()
    return Attempt(network, history.honest, network.ALICE)


@attack("space", "work", "time")
def replay_to_another_network_under_its_id(history: Any, elsewhere: Any) -> Attempt:
    """The same owner has the same bond there: stake alone cannot tell."""
    network = elsewhere.copy()
    bundle = change(history.honest, genesis=network.genesis_id)
    return Attempt(network, bundle, network.ALICE)


def refused(attempt: Attempt) -> tuple[str, ...]:
    """The proofs that the ledger names when it refuses `attempt`; () where it accepts."""
    before = dict(attempt.network.state.rows)
    try:
        attempt.network.attest(attempt.bundle, attempt.signer)
    except ProofsRefused as refusal:
        assert attempt.network.state.rows == before
        return refusal.failures
    return ()


@pytest.mark.parametrize("name", ATTACKS)
def test_attack_is_refused_by_name(name: str, history: Any, elsewhere: Any) -> None:
    named, attempt = ATTACKS[name]
    assert refused(attempt(history, elsewhere)) == named


@pytest.mark.parametrize(
    ("proof", "verifier"),
    [
        (ProofKind.SPACE, ProofOfSpace),
        (ProofKind.STAKE, ProofOfStake),
        (ProofKind.WORK, ProofOfWork),
        (ProofKind.TIME, ProofOfTime),
    ],
)
def test_a_verifier_that_accepts_everything_is_noticed(
    proof: ProofKind, verifier: type, monkeypatch: pytest.MonkeyPatch, history: Any, elsewhere: Any
) -> None:
    attempts = {name: attack.attempt(history, elsewhere) for name, attack in ATTACKS.items()}
    monkeypatch.setattr(verifier, "failures", lambda _self, _bundle: [])
    noticed = {
        name for name, attempt in attempts.items() if refused(attempt) != ATTACKS[name].named
    }
    assert noticed == {name for name, attack in ATTACKS.items() if proof.value in attack.named}
    assert noticed


def test_the_honest_bundle_is_accepted(history: Any) -> None:
    assert refused(by_alice(history)) == ()


def test_a_dry_run_gives_every_reason_and_changes_nothing(history: Any) -> None:
    network, bundle, signer = leave_out_stake(history, None)
    bundle = change(bundle, space=change(bundle.space, k=20, location="moon"))
    before = dict(network.state.rows)
    verdict = dry_run(network.state, network.genesis_id, network.genesis, signer, bundle)
    assert network.state.rows == before
    assert not verdict.accepted
    assert verdict.epoch == 1
    assert [failure.proof for failure in verdict.failures] == [
        ProofKind.SPACE,
        ProofKind.SPACE,
        ProofKind.STAKE,
    ]
    honest = dry_run(network.state, network.genesis_id, network.genesis, signer, history.honest)
    assert honest.accepted


def test_the_refusal_tells_all_reasons(history: Any) -> None:
    network, bundle, signer = leave_out_all(history, None)
    with pytest.raises(ProofsRefused) as caught:
        network.attest(bundle, signer)
    for proof in ProofKind:
        assert f"{proof.value}: the proof is missing" in caught.value.why


def test_one_bundle_a_node_and_epoch(history: Any) -> None:
    network, bundle, signer = by_alice(history)
    network.attest(bundle, signer)
    with pytest.raises(AlreadyAttested):
        network.attest(bundle, signer)


def test_evidence_of_every_kind_is_in_the_honest_bundle(history: Any) -> None:
    """Otherwise an attack above could alter nothing."""
    assert isinstance(history.honest.space, SpaceProof)
    assert len(history.honest.space.draws) == 3
    assert len(history.honest.work.samples) == 4
    assert len(history.honest.work.opened) == 4
    assert history.first.work.opened == []
