"""Becoming of use, and staying it.

What a node needs before it is of use (its owner and certificate on the ledger, a grant, a bond, an
attestation, its assets) is brought about step by step, each one skipped where the ledger already
has it. So a first start, a restart and a restart after a crash are one path.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable

from hypermesh.assets.inventory import Share
from hypermesh.caesar.economics import staking
from hypermesh.caesar.token import bank
from hypermesh.node.attesting import Attesting
from hypermesh.node.certification import Certification
from hypermesh.node.chain import Chain, Following
from hypermesh.node.configuration import Settings
from hypermesh.node.lending import Lending
from hypermesh.node.membership import Membership
from hypermesh.node.trouble import Trouble
from hypermesh.node.wallet import Wallet
from hypermesh.node.whereabouts import Whereabouts
from hypermesh.wire.errors import Unreachable
from hypermesh.wire.tx import BankFaucet, StakeBond

RETRY_S = 1.0
RENEW_RETRY_S = 60.0
PLACE_CHECK_S = 5.0
"""A machine changes its addresses when its network does; the others shall find it again soon."""

log = logging.getLogger(__name__)


class Settling:
    """Three threads: one until the node is of use, one that renews its certificate, one that says
    where it is when that has changed."""

    def __init__(
        self,
        settings: Settings,
        membership: Membership,
        chain: Chain,
        wallet: Wallet,
        certification: Certification,
        attesting: Attesting,
        lending: Lending,
        whereabouts: Whereabouts,
        port: Callable[[], int],
    ) -> None:
        """`port` is the one of STOQ that the others shall know."""
        self._settings = settings
        self._membership = membership
        self._chain = chain
        self._wallet = wallet
        self._certification = certification
        self._attesting = attesting
        self._lending = lending
        self._whereabouts = whereabouts
        self._port = port
        self._stopping = threading.Event()
        self._renewal = threading.Event()
        self._settled = threading.Event()
        self._wrong = ""
        self._first = threading.Thread(target=self._settle_until_done, name="settle", daemon=True)
        self._lasting = (
            threading.Thread(target=self._stay_certified, name="renew", daemon=True),
            threading.Thread(target=self._stay_found, name="place", daemon=True),
        )

    @property
    def threads(self) -> tuple[threading.Thread, ...]:
        """Those that last as long as the node."""
        return self._lasting

    @property
    def state(self) -> str:
        """`ok`, or what is not settled yet."""
        return "ok" if self._settled.is_set() else f"not yet: {self._wrong or 'busy'}"

    def start(self) -> None:
        for thread in (self._first, *self._lasting):
            thread.start()

    def renew_soon(self) -> None:
        """Look at the certificate now, and not only when it is time."""
        self._renewal.set()

    def stop(self) -> None:
        """Begin nothing more; what is under way ends with the ledger."""
        self._stopping.set()
        self._renewal.set()

    def _settle_until_done(self) -> None:
        trouble = Trouble(log, "settling")
        while not self._stopping.is_set():
            try:
                self._settle()
            except Exception as error:  # noqa: BLE001
                trouble.note(error)
                self._wrong = str(error) or type(error).__name__
                if isinstance(error, Unreachable) and self._certification.is_known():
                    # An old member whose sequencer is away serves its reads meanwhile.
                    self._settled.set()
                self._stopping.wait(RETRY_S)
            else:
                self._wrong = ""
                self._settled.set()
                self._attesting.start()
                return

    def _settle(self) -> None:
        self._renew()
        if isinstance(self._chain, Following):
            self._chain.await_synced()
        self._certification.introduce()
        self._whereabouts.publish(self._settings, self._port())
        self._fund()
        self._attesting.attest()
        self._lending.declare(Share(self._settings.share), self._settings.level)
        self._lending.resume()

    def _fund(self) -> None:
        """The one grant of this node, and the bond that its attestations need."""
        node = self._membership.keys.id
        with self._chain.ledger.state() as state:
            granted = bank.grant(state, node) is not None
            bonded = staking.bonded(state, node)
        if not granted:
            self._wallet.submit(BankFaucet())
        missing = self._membership.genesis.proofs.bond_min - bonded
        if missing > 0:
            self._wallet.submit(StakeBond(node, missing))

    def _stay_certified(self) -> None:
        """Renew in time, also where the first tries fail."""
        self._repeat(RENEW_RETRY_S, "renewing the certificate", self._renew, self._renewal)

    def _stay_found(self) -> None:
        """Publish this node's place again when it has another."""
        self._repeat(PLACE_CHECK_S, "saying where this node is", self._publish)

    def _repeat(
        self,
        pause_s: float,
        doing: str,
        do: Callable[[], None],
        wake: threading.Event | None = None,
    ) -> None:
        """Nothing before the node has settled: coming up does it all by itself. Another node that
        goes down says that its ledger has stopped, so that is no reason to end either. `wake`
        ends a pause."""
        trouble = Trouble(log, doing)
        while not self._stopping.is_set():
            if wake is None:
                self._stopping.wait(pause_s)
            elif wake.wait(pause_s):
                wake.clear()
            if self._stopping.is_set():
                return
            if not self._settled.is_set():
                continue
            try:
                do()
            except Exception as error:  # noqa: BLE001
                trouble.note(error)
            else:
                trouble.over()

    def _publish(self) -> None:
        port = self._port()
        if self._whereabouts.is_stale(self._settings, port):
            self._whereabouts.publish(self._settings, port)

    def _renew(self) -> None:
        if self._certification.renew_if_due() and self._settled.is_set():
            self._certification.introduce()
