"""Keeping a node's rights alive: a bundle for every epoch, and on the sequencer the next epoch.

One thread. It looks at the ledger, does what is missing, and waits until the epoch has turned or
may be turned.
"""

from __future__ import annotations

import logging
import threading

from hypermesh.consensus.attestation import AlreadyAttested, expected
from hypermesh.consensus.epoch import current_epoch, turns_at
from hypermesh.consensus.prover import time as vdf
from hypermesh.consensus.prover.bundle import Attestor
from hypermesh.consensus.record import LAST_BUNDLES
from hypermesh.node.chain import Chain, Sequencing
from hypermesh.node.trouble import Trouble
from hypermesh.node.wallet import Wallet
from hypermesh.wire.block import Genesis
from hypermesh.wire.ids import GenesisId, Hash
from hypermesh.wire.proof import VdfOutput
from hypermesh.wire.tx import ConsensusAttest

RETRY_S = 2.0
WAIT_S_MAX = 30.0

log = logging.getLogger(__name__)


class Attesting:
    """Attests for this node in every epoch; turns epochs where this node sequences."""

    def __init__(
        self,
        attestor: Attestor,
        wallet: Wallet,
        chain: Chain,
        genesis: Genesis,
        genesis_id: GenesisId,
    ) -> None:
        self._attestor = attestor
        self._wallet = wallet
        self._chain = chain
        self._genesis = genesis
        self._genesis_id = genesis_id
        self._evaluated: tuple[Hash, VdfOutput] | None = None
        self._stopping = threading.Event()
        self._woken = threading.Event()
        self._thread = threading.Thread(target=self._run, name="attesting", daemon=True)

    def attest(self) -> bool:
        """Put this node's bundle for the present epoch on the ledger; False where it is there."""
        with self._chain.ledger.state() as state:
            last = LAST_BUNDLES.get(state, self._wallet.id)
            if last is not None and last.epoch == current_epoch(state).number:
                return False
            statement = expected(state, self._genesis_id, self._genesis, self._wallet.id)
        bundle = self._attestor.bundle(statement)
        try:
            self._wallet.submit(ConsensusAttest(bundle))
        except AlreadyAttested:
            return False
        return True

    @property
    def threads(self) -> tuple[threading.Thread, ...]:
        """Those that last as long as the node."""
        return (self._thread,)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        self._stopping.set()
        self._woken.set()

    def epoch_turned(self) -> None:
        """A block has turned the epoch: a bundle for the new one is due."""
        self._woken.set()

    def _run(self) -> None:
        trouble = Trouble(log, "attesting")
        while True:
            self._woken.clear()
            if self._stopping.is_set():
                return
            try:
                wait_s = self._turn() if isinstance(self._chain, Sequencing) else WAIT_S_MAX
                is_new = self.attest()
            except Exception as error:  # noqa: BLE001
                trouble.note(error)
                self._stopping.wait(RETRY_S)
            else:
                trouble.over()
                if not is_new:
                    self._woken.wait(wait_s)

    def _turn(self) -> float:
        """Turn the epoch where it is due; seconds until it is."""
        chain = self._chain
        if not isinstance(chain, Sequencing):
            raise TypeError("only the sequencer turns epochs")
        with chain.ledger.state() as state:
            seed = current_epoch(state).seed
            due_ms = turns_at(state, self._genesis.proofs)
        wait_s = (due_ms - chain.clock.now_ms()) / 1000
        if wait_s > 0:
            return min(wait_s, WAIT_S_MAX)
        if self._evaluated is None or self._evaluated[0] != seed:
            self._evaluated = (seed, vdf.evaluate(seed, self._genesis.proofs))
        chain.turn(self._evaluated[1])
        return 0.0
