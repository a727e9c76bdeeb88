"""Epochs: how they begin, turn and what follows from the present one.

    epoch e  --(epoch_ms passed, and a block opening carries the VDF over seed(e))-->  epoch e + 1

A bundle made in epoch e gives rights in e and e + 1; at each turn the attestations that lapse are
deleted, so their number is bounded by twice the number of nodes.
"""

from __future__ import annotations

from hypermesh.consensus.parameters import checked
from hypermesh.consensus.record import ATTESTATIONS, EPOCH, PRESENT, Epoch
from hypermesh.consensus.statement import (
    Derived,
    challenge,
    first_seed,
    founding_input,
    next_seed,
    plot_id,
    space_draw,
)
from hypermesh.consensus.verifier.time import vdf_faults
from hypermesh.ledger.module import Context, Event, InvariantBroken, Refusal, State
from hypermesh.wire.block import Genesis, ProofParameters
from hypermesh.wire.errors import InvalidInput
from hypermesh.wire.ids import GenesisId, NodeId
from hypermesh.wire.proof import ProofKind, VdfOutput


class EpochNotTurned(Refusal):
    """A block's opening carries a VDF output that does not turn the present epoch."""

    code = "HM-TX-PROOF-0003"
    status = 422
    exit_code = 9
    title = "The block does not turn the epoch"
    failures = (ProofKind.TIME.value,)


def current_epoch(state: State) -> Epoch:
    """The present epoch. Raises `InvariantBroken` for a state without genesis."""
    epoch = EPOCH.get(state, PRESENT)
    if epoch is None:
        raise InvariantBroken("The state has no epoch", why="genesis has not been written to it")
    return epoch


def turns_at(state: State, parameters: ProofParameters) -> int:
    """Block time in milliseconds from which a VDF output turns the present epoch."""
    return current_epoch(state).opened_ms + parameters.epoch_ms


def found(context: Context) -> None:
    """Write epoch 0. Raises `InvalidInput` where genesis has contradictory parameters or no valid
    VDF output."""
    genesis = context.genesis
    parameters = checked(genesis.proofs)
    if genesis.vdf is None:
        raise InvalidInput("Genesis has no VDF output", why="ProofOfTime needs one in epoch 0")
    faults = vdf_faults(
        genesis.vdf,
        seed=founding_input(genesis),
        bits=parameters.vdf_bits,
        iterations=parameters.vdf_iterations,
    )
    if faults:
        raise InvalidInput("The VDF output of genesis is refused", why="; ".join(faults))
    EPOCH.put(
        context.state,
        PRESENT,
        Epoch(
            number=0,
            seed=first_seed(context.genesis_id).result,
            previous=context.genesis_id,
            opened_by=genesis.vdf,
            opened_ms=genesis.created_ms,
            opened_height=0,
        ),
    )


def turn(context: Context, vdf: VdfOutput) -> None:
    """Turn the epoch by a block opening's VDF output. `EpochNotTurned` refuses the whole block."""
    parameters = context.genesis.proofs
    epoch = current_epoch(context.state)
    faults = vdf_faults(
        vdf, seed=epoch.seed, bits=parameters.vdf_bits, iterations=parameters.vdf_iterations
    )
    due_ms = epoch.opened_ms + parameters.epoch_ms
    if context.time_ms < due_ms:
        faults.append(f"block time is {context.time_ms} ms, the epoch turns from {due_ms} ms")
    if faults:
        raise EpochNotTurned(f"Epoch {epoch.number} is not turned", why="; ".join(faults))
    number = epoch.number + 1
    seed = next_seed(context.genesis_id, number, context.previous, vdf).result
    opened = Epoch(number, seed, context.previous, vdf, context.time_ms, context.height)
    EPOCH.put(context.state, PRESENT, opened)
    _prune(context.state, number)
    context.events.append(Event("consensus.epoch", seed, number.to_bytes(8, "big")))


def derivation(
    genesis_id: GenesisId, genesis: Genesis, epoch: Epoch, node: NodeId
) -> list[Derived]:
    """Every challenge to `node` in `epoch`, with all that it follows from: what
    `POST /consensus/challenge` returns. Stake has none; it is read from the ledger."""
    k, number = genesis.proofs.space_k, epoch.number
    if number == 0:
        seed = first_seed(genesis_id)
    else:
        seed = next_seed(genesis_id, number, epoch.previous, epoch.opened_by)
    space = challenge(genesis_id, number, seed.result, node, ProofKind.SPACE)
    return [
        seed,
        plot_id(genesis_id, node, k),
        space,
        *(space_draw(space.result, index) for index in range(genesis.proofs.space_draws)),
        challenge(genesis_id, number, seed.result, node, ProofKind.WORK),
    ]


def _prune(state: State, present: int) -> None:
    for bundle, attestation in ATTESTATIONS.rows(state):
        if attestation.epoch < present - 1:
            ATTESTATIONS.delete(state, bundle)
