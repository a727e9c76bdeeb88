"""The bundle of one node: all four proofs, made for what the ledger expects of it."""

from __future__ import annotations

from pathlib import Path

from hypermesh.consensus.prover import stake, time
from hypermesh.consensus.prover.process import ProverFailed
from hypermesh.consensus.prover.space import Plot
from hypermesh.consensus.prover.work import Products
from hypermesh.consensus.verifier.bundle import ConsensusProof, reasons
from hypermesh.wire.block import ProofParameters
from hypermesh.wire.ids import GenesisId, NodeId
from hypermesh.wire.proof import Bundle


class Attestor:
    """Makes the bundles of `node`. Its plot lies in `directory`. Use one from one thread."""

    def __init__(
        self, directory: Path, genesis_id: GenesisId, node: NodeId, parameters: ProofParameters
    ) -> None:
        self._genesis_id = genesis_id
        self._node = node
        self._plot = Plot(directory, genesis_id, node, parameters.space_k)
        self._products = Products(parameters.matrix_size)

    def prepare(self) -> None:
        """Make the plot where there is none, so that the first bundle need not wait for it.

        Raises `PlotRoom` or `ProverFailed`.
        """
        self._plot.prepare()

    def bundle(self, statement: ConsensusProof) -> Bundle:
        """A bundle that satisfies `statement`, what `attestation.expected` says of this node.

        Raises `ProverFailed` where it does not, say for want of a bond: a bundle that would be
        refused is not sent. Raises what the four provers raise, too.
        """
        made = Bundle(
            genesis=self._genesis_id,
            node=self._node,
            epoch=statement.time.epoch,
            space=self._plot.prove(statement.space),
            stake=stake.prove(statement.stake),
            work=self._products.prove(statement.work),
            time=time.prove(statement.time),
        )
        failures = statement.failures(made)
        if failures:
            raise ProverFailed("The bundle would be refused", why=reasons(failures))
        return made
