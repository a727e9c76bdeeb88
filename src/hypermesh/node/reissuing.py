"""The emergency of a network's issuing CA: another one takes its place, by one command."""

from __future__ import annotations

import time

from hypermesh.ledger import identity
from hypermesh.node.admission import Admission
from hypermesh.node.admitting import Admitting
from hypermesh.node.certification import Certification
from hypermesh.node.chain import Chain
from hypermesh.node.membership import Membership
from hypermesh.node.revoking import OwnerElsewhere
from hypermesh.node.wallet import Wallet
from hypermesh.trustchain.verify import fingerprint
from hypermesh.wire.api.certificate import IssuerView
from hypermesh.wire.errors import NotAvailable
from hypermesh.wire.tx import IdentityReplaceIssuer


class Reissuing:
    """Replaces the issuing CA, on the node that holds the root's key."""

    def __init__(
        self,
        membership: Membership,
        chain: Chain,
        admitting: Admitting,
        admission: Admission,
        certification: Certification,
    ) -> None:
        self._membership = membership
        self._chain = chain
        self._admitting = admitting
        self._admission = admission
        self._certification = certification

    def replace(self, reason: str, grace_ms: int) -> IssuerView:
        """Make another issuing CA, have the ledger say so, and issue by it. When this returns the
        CA before enrols nobody, and this node has its own certificate of the new one; the others
        renew theirs as soon as they have the block.

        A command that was cut off is repeated: until the ledger knows it, it is the same CA. Raises
        `NotAvailable` and `OwnerElsewhere`, or the ledger's refusal.
        """
        authority, owner = self._admitting.authority, self._membership.owner_keys
        if authority is None:
            raise NotAvailable(
                "Only the founder's node can replace the issuing CA",
                why="it holds the key of the network's root",
                fix="Run `hm cert rotate-issuer` on the machine that founded the network",
            )
        if owner is None:
            raise OwnerElsewhere
        certificate = authority.prepare_issuing(self._membership.genesis.name, int(time.time()))
        wallet = Wallet(owner, self._membership.genesis_id, self._chain)
        done = wallet.submit(IdentityReplaceIssuer(certificate, grace_ms, reason))
        self._admission.obey()
        self._certification.renew_if_due()
        self._certification.introduce()
        with self._chain.ledger.state() as state:
            until_ms = identity.issuers(state, self._chain.now_ms()).until_ms
        return IssuerView(
            sha256=fingerprint(certificate).hex(),
            height=done.height,
            tx=done.result.tx.hex(),
            believed_until_ms=until_ms,
        )
