"""Epochs begin with a VDF output and turn with one, never early and never on a false one."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hypermesh.consensus.epoch import EpochNotTurned, current_epoch, derivation, turns_at
from hypermesh.consensus.module import Consensus, status
from hypermesh.consensus.parameters import checked, parameters_of
from hypermesh.consensus.prover.time import evaluate
from hypermesh.consensus.statement import founding_input
from hypermesh.consensus.verifier.time import FORM_BYTES, vdf_faults
from hypermesh.crypto.digest import digest_of
from hypermesh.ledger.module import Context, InvariantBroken
from hypermesh.wire.block import Genesis, NetworkClass
from hypermesh.wire.errors import InvalidInput, NotAvailable
from hypermesh.wire.proof import VdfOutput

change = msgspec.structs.replace
SEED = b"\x07" * 32


@pytest.fixture(scope="module")
def vdf(genesis: Genesis) -> VdfOutput:
    """An evaluation over `SEED`."""
    return evaluate(SEED, genesis.proofs)


def faults(vdf: VdfOutput, genesis: Genesis, seed: bytes = SEED) -> list[str]:
    parameters = genesis.proofs
    return vdf_faults(
        vdf, seed=seed, bits=parameters.vdf_bits, iterations=parameters.vdf_iterations
    )


def begin(genesis: Genesis, state: Any) -> None:
    genesis_id = digest_of("genesis", genesis)
    Consensus().begin(Context(state, genesis_id, genesis, 0, genesis.created_ms, genesis_id))


def test_epoch_0_follows_from_genesis(history: Any) -> None:
    network = history.start
    epoch = current_epoch(network.state)
    assert epoch.number == 0
    assert epoch.seed == network.genesis_id
    assert epoch.opened_by == network.genesis.vdf
    assert faults(epoch.opened_by, network.genesis, founding_input(network.genesis)) == []


def test_genesis_without_a_true_vdf_output_is_refused(history: Any, vdf: VdfOutput) -> None:
    for false in (None, vdf, change(history.start.genesis.vdf, iterations=1)):
        with pytest.raises(InvalidInput):
            begin(change(history.start.genesis, vdf=false), history.start.copy().state)


def test_another_genesis_cannot_reuse_the_vdf_output(history: Any) -> None:
    with pytest.raises(InvalidInput):
        begin(change(history.start.genesis, name="other"), history.start.copy().state)


def test_an_epoch_turns_on_time_and_changes_the_seed(history: Any) -> None:
    network = history.start.copy()
    before = current_epoch(network.state)
    due_ms = turns_at(network.state, network.genesis.proofs)
    output = evaluate(before.seed, network.genesis.proofs)
    network.block(due_ms - network.time_ms - 1)
    assert current_epoch(network.state) == before
    context = network.block(1, output)
    after = current_epoch(network.state)
    assert (after.number, after.opened_ms, after.opened_height) == (1, due_ms, 2)
    assert after.previous == context.previous
    assert after.opened_by == output
    assert after.seed == digest_of(
        "epoch-seed", [network.genesis_id, 1, context.previous, output.output[:FORM_BYTES]]
    )


def test_an_early_turn_refuses_the_block(history: Any) -> None:
    network = history.start.copy()
    output = evaluate(current_epoch(network.state).seed, network.genesis.proofs)
    early_ms = turns_at(network.state, network.genesis.proofs) - network.time_ms - 1
    with pytest.raises(EpochNotTurned) as caught:
        network.block(early_ms, output)
    assert caught.value.failures == ("time",)
    assert current_epoch(network.state).number == 0


def test_a_block_without_an_output_turns_nothing(history: Any) -> None:
    network = history.start.copy()
    network.block(10 * network.genesis.proofs.epoch_ms)
    assert current_epoch(network.state).number == 0


def test_the_output_of_another_epoch_turns_nothing(history: Any) -> None:
    network = history.network()
    for stale in (current_epoch(network.state).opened_by, network.genesis.vdf):
        with pytest.raises(EpochNotTurned):
            network.block(network.genesis.proofs.epoch_ms, stale)


def test_an_evaluation_verifies_over_its_seed_alone(vdf: VdfOutput, genesis: Genesis) -> None:
    assert faults(vdf, genesis) == []
    assert faults(vdf, genesis, bytes(32)) != []


def test_the_work_of_an_evaluation_cannot_be_understated(vdf: VdfOutput, genesis: Genesis) -> None:
    more = change(genesis, proofs=change(genesis.proofs, vdf_iterations=vdf.iterations + 1))
    assert faults(vdf, more) != []
    assert faults(change(vdf, iterations=vdf.iterations + 1), more) != []


@given(bit=st.integers(0, 2 * FORM_BYTES * 8 - 1))
@settings(max_examples=100, deadline=None)
def test_no_bit_of_an_output_can_change(bit: int, vdf: VdfOutput, genesis: Genesis) -> None:
    output = bytearray(vdf.output)
    output[bit // 8] ^= 1 << (bit % 8)
    assert faults(change(vdf, output=bytes(output)), genesis) != []


@given(output=st.binary(min_size=1, max_size=300) | st.binary(min_size=200, max_size=200))
@settings(max_examples=100, deadline=None)
def test_bytes_that_are_no_output_are_refused(output: bytes, genesis: Genesis) -> None:
    iterations = genesis.proofs.vdf_iterations
    scheme = genesis.vdf.scheme if genesis.vdf else ""
    assert faults(VdfOutput(scheme, iterations, output), genesis) != []


def test_a_derivation_can_be_followed_step_by_step(history: Any) -> None:
    for network in (history.start, history.network()):
        epoch = current_epoch(network.state)
        steps = derivation(network.genesis_id, network.genesis, epoch, network.ALICE)
        assert steps[0].result == epoch.seed
        for step in steps:
            values = [value for _, value in step.inputs]
            assert step.result == (digest_of(step.function, values) if step.function else values[0])
        statement = network.expected()
        results = [step.result for step in steps]
        assert statement.space.plot_id in results
        assert statement.space.challenge in results
        assert statement.work.challenge in results
        assert len([step for step in steps if step.what.startswith("draw")]) == 16


def test_challenges_differ_by_node_epoch_network_and_proof(history: Any, elsewhere: Any) -> None:
    at_0, at_1 = history.start, history.network()
    challenges = [
        statement.challenge
        for network in (at_0, at_1, elsewhere)
        for node in (network.ALICE, network.BOB)
        for statement in (network.expected(node).space, network.expected(node).work)
    ]
    assert len(set(challenges)) == len(challenges) == 12


def test_the_status_says_what_the_proofs_are_worth(history: Any) -> None:
    at_0 = status(history.start.state, history.start.genesis)
    assert at_0.epoch == 0
    assert at_0.seed_origin == "genesis id"
    assert at_0.assurance.startswith("mechanism only")
    assert at_0.attested_nodes == 0
    network = history.network()
    at_1 = status(network.state, network.genesis)
    assert at_1.epoch == 1
    assert at_1.seed == current_epoch(network.state).seed != at_0.seed
    assert at_1.seed_origin.startswith("hash of block 1 ")
    assert at_1.parameters == network.genesis.proofs
    assert at_1.attested_nodes == 1


def test_an_epoch_from_the_future_is_a_broken_invariant(history: Any) -> None:
    network = history.network()
    context = network.context()
    network.consensus.check(context)
    with pytest.raises(InvariantBroken):
        network.consensus.check(
            Context(context.state, b"", context.genesis, context.height, 0, b"")
        )


def test_a_state_without_genesis_has_no_epoch(history: Any) -> None:
    network = history.start.copy()
    network.state.rows.clear()
    with pytest.raises(InvariantBroken):
        current_epoch(network.state)


@pytest.mark.parametrize("network_class", [NetworkClass.PRIVATE, NetworkClass.PUBLIC])
def test_stronger_classes_do_not_exist_yet(network_class: NetworkClass) -> None:
    with pytest.raises(NotAvailable):
        parameters_of(network_class)


@pytest.mark.parametrize(
    "change_of",
    [
        {"space_draws": 2, "space_valid_min": 3},
        {"matrix_size": 8, "matrix_rows_opened": 9},
        {"matrix_size": 4_097},
        {"vdf_iterations": 999},
        {"vdf_bits": 513},
        {"vdf_bits": 2048},
    ],
)
def test_parameters_that_cannot_work_are_refused(change_of: dict[str, int]) -> None:
    parameters = parameters_of(NetworkClass.TEST)
    assert checked(parameters) is parameters
    with pytest.raises(InvalidInput):
        checked(change(parameters, **change_of))
