"""The module of `consensus.*`, and what the network says of its proofs."""

from __future__ import annotations

import msgspec

from hypermesh.consensus.attestation import attest, attested_nodes
from hypermesh.consensus.epoch import current_epoch, found, turn
from hypermesh.ledger.module import Call, Context, InvariantBroken, State
from hypermesh.wire.asset import TimeMs
from hypermesh.wire.block import Genesis, NetworkClass, ProofParameters
from hypermesh.wire.ids import Hash
from hypermesh.wire.tx import BlockOpening, ConsensusAttest

ASSURANCE = {
    NetworkClass.TEST: (
        "mechanism only: plots of this size are made again in about a second, so the proofs show"
        " how the network decides and not what a node holds"
    ),
    NetworkClass.PRIVATE: "as strong as the parameters in genesis; nobody has measured them yet",
    NetworkClass.PUBLIC: "as strong as the parameters in genesis; nobody has measured them yet",
}


class Status(msgspec.Struct, frozen=True):
    """What the proofs of a network are worth, and how far it is: `GET /consensus/status`."""

    network_class: NetworkClass
    assurance: str
    epoch: int
    opened_ms: TimeMs
    opened_height: int
    seed: Hash
    seed_origin: str
    plot_bytes: int
    """Size of a finished plot, about; made once a node."""
    parameters: ProofParameters
    attested_nodes: int


def status(state: State, genesis: Genesis) -> Status:
    """The status of the network whose genesis and present state these are."""
    epoch = current_epoch(state)
    parameters = genesis.proofs
    return Status(
        network_class=genesis.network_class,
        assurance=ASSURANCE[genesis.network_class],
        epoch=epoch.number,
        opened_ms=epoch.opened_ms,
        opened_height=epoch.opened_height,
        seed=epoch.seed,
        seed_origin=(
            "genesis id"
            if epoch.number == 0
            else f"hash of block {epoch.opened_height - 1} and the VDF over the seed of epoch"
            f" {epoch.number - 1}"
        ),
        plot_bytes=plot_bytes(parameters.space_k),
        parameters=parameters,
        attested_nodes=attested_nodes(state),
    )


def plot_bytes(k: int) -> int:
    """About the size of a chiapos plot: 0.78 * (2k + 1) * 2^(k - 1) bytes, and a few percent more
    for small k."""
    return 78 * (2 * k + 1) * (1 << (k - 1)) // 100


class Consensus:
    """Executes `consensus.attest` and turns epochs (`ledger.module.Module`)."""

    name = "consensus"
    bodies: tuple[type, ...] = (ConsensusAttest,)

    def begin(self, context: Context) -> None:
        """Epoch 0. Raises `InvalidInput` for contradictory parameters or a false VDF output."""
        found(context)

    def open_block(self, context: Context, opening: BlockOpening) -> None:
        """Turn the epoch where the opening carries a VDF output; a false or early one refuses the
        block."""
        if opening.vdf is not None:
            turn(context, opening.vdf)

    def execute(self, context: Context, call: Call) -> None:
        """Verify the bundle and record it."""
        attest(context, call)

    def close_block(self, context: Context) -> None:
        """Nothing falls due by time alone: an epoch turns with a VDF output."""

    def next_deadline(self, state: State) -> int | None:  # noqa: ARG002
        """None: without a VDF output an empty block would change nothing."""
        return None

    def check(self, context: Context) -> None:
        """The present epoch exists and did not begin after the block: one read."""
        epoch = current_epoch(context.state)
        if epoch.opened_ms > context.time_ms or epoch.opened_height > context.height:
            raise InvariantBroken(
                "The present epoch lies in the future",
                why=f"it began at {epoch.opened_ms} ms, the block is of {context.time_ms} ms",
            )
