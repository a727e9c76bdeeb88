"""Letting nodes into the network: invitations and certificates, on the node with the authority."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

from hypermesh.crypto.digest import digest_of
from hypermesh.ledger import identity
from hypermesh.node.authority_logs import AuthorityLogs, InvitationAct
from hypermesh.node.chain import Chain
from hypermesh.node.membership import Membership
from hypermesh.node.service import Peer
from hypermesh.trustchain.ca.authority import (
    CertificateAuthority,
    CertificateOrder,
    Issued,
    RenewalTooLate,
)
from hypermesh.trustchain.ca.invitations import Invitations, secret_digest
from hypermesh.trustchain.dns.resolution import Phase
from hypermesh.trustchain.enrolment import Enrolment
from hypermesh.trustchain.invitation import VERSION, Invitation
from hypermesh.trustchain.verify import fingerprint
from hypermesh.wire.api.network import InvitationView
from hypermesh.wire.asset import Locator
from hypermesh.wire.errors import NotAvailable
from hypermesh.wire.ids import Hash, NodeId, OwnerId
from hypermesh.wire.keys import PublicKeys
from hypermesh.wire.rpc import EnrolRequest, EnrolResponse
from hypermesh.wire.transparency import Logged
from hypermesh.wire.tx import Certificate


class Admitting:
    """The founder's side of joining; on other nodes every call raises `NotAvailable`."""

    def __init__(
        self,
        membership: Membership,
        data: Path,
        chain: Chain,
        locators: Callable[[], list[Locator]],
    ) -> None:
        """`locators` are the places that an invitation names."""
        self._membership = membership
        self._chain = chain
        self._locators = locators
        self._authority: CertificateAuthority | None = None
        self._invitations: Invitations | None = None
        self._enrolment: Enrolment | None = None
        self._logs: AuthorityLogs | None = None
        if membership.is_founder:
            self._authority = CertificateAuthority.open(data, membership.store)
            self._invitations = Invitations(data)
            self._logs = AuthorityLogs(
                data, membership.store, membership.keys, membership.genesis_id
            )
            with chain.ledger.state() as state:
                self._logs.go_on(state)
            self._logs.serve(self._authority)
            self._enrolment = Enrolment(
                self._authority, self._invitations, membership.genesis, self.logged
            )

    @property
    def authority(self) -> CertificateAuthority | None:
        """The certificate authority, where it is here."""
        return self._authority

    @property
    def logs(self) -> AuthorityLogs | None:
        """The authority's transparency logs, where they are here."""
        return self._logs

    def logged(self, issued: Issued) -> Logged | None:
        """What shows that `issued` is logged, as far as this node has it."""
        if self._authority is None or self._logs is None:
            return None
        return self._logs.logged(self._authority, issued)

    def log_origin(self, fingerprint: Hash) -> str | None:
        """The origin of the authority's log with this fingerprint; None where it is not here."""
        return None if self._logs is None else self._logs.origin_of(fingerprint)

    def close(self) -> None:
        for store in (self._logs, self._authority, self._invitations):
            if store is not None:
                store.close()

    def invite(self, *, mine: bool) -> InvitationView:
        """A new invitation to this network."""
        if self._invitations is None or self._logs is None:
            raise NotAvailable(
                "Only the founder's node can invite in this version",
                why="it holds the certificate authority",
                fix="Run `hm invite` on the machine that founded the network",
            )
        owner = self._membership.owner if mine else None
        created = self._invitations.create(owner, int(time.time()))
        self._logs.invited(InvitationAct(secret_digest(created.secret), owner, created.expires_s))
        invitation = Invitation(
            version=VERSION,
            genesis=self._membership.genesis_id,
            root_sha256=fingerprint(self._membership.genesis.root_certificate),
            secret=created.secret,
            mine=mine,
            expires_s=created.expires_s,
            locators=self._locators(),
        )
        return InvitationView(token=str(invitation), expires_ms=created.expires_s * 1000)

    def phased(self, phase: Phase) -> None:
        """Have the log of acts say that this node's name server goes over to `phase`; nothing where
        there is no log. Raises `LogUnavailable`."""
        if self._logs is not None:
            self._logs.phased(phase.value)

    def enrol(self, peer: Peer, request: EnrolRequest) -> EnrolResponse:
        """`enrol.request`: a certificate for the bearer of an invitation."""
        enrolment, revoked = self._require_enrolment()
        return enrolment.enrol(
            request,
            channel=peer.channel,
            peer=peer.id,
            revoked=revoked,
            locators=self._locators(),
            now_s=int(time.time()),
        )

    def renew(self, peer: Peer, request: EnrolRequest) -> EnrolResponse:
        """`enrol.renew`: the next certificate for a node's keys."""
        enrolment, revoked = self._require_enrolment()
        return enrolment.renew(
            request,
            channel=peer.channel,
            peer=peer.id,
            revoked=revoked,
            locators=self._locators(),
            now_s=int(time.time()),
        )

    def renew_own(self, now_s: int) -> bool:
        """Take the next certificate of the authority's own node; False where the authority is
        elsewhere."""
        authority = self._present()
        if authority is None or self._logs is None:
            return False
        renew_own(authority, self._logs, self._membership, now_s)
        return True

    def certified(
        self, public: PublicKeys, owner: OwnerId, request: Hash, now_s: int
    ) -> list[Certificate]:
        """A certificate chain for any keys, by the word of the authority's own node. The same
        `request` gives the same certificate."""
        authority = self._present()
        if authority is None:
            raise NotAvailable("This node holds no certificate authority")
        order = CertificateOrder(request, self._membership.genesis_id, public, owner)
        return authority.chain(authority.certify(order, now_s))

    def _present(self) -> CertificateAuthority | None:
        """The authority, which issues by the CA that the ledger names; whoever has seen a block is
        answered as of that block."""
        if self._authority is not None:
            with self._chain.ledger.state() as state:
                issuing = identity.issuer(state)
            self._authority.use_issuing(issuing)
        return self._authority

    def _require_enrolment(self) -> tuple[Enrolment, frozenset[NodeId]]:
        self._present()
        if self._enrolment is None:
            raise NotAvailable("This node holds no certificate authority")
        with self._chain.ledger.state() as state:
            return self._enrolment, identity.revoked(state)


def renew_own(
    authority: CertificateAuthority, logs: AuthorityLogs, membership: Membership, now_s: int
) -> None:
    """Take the next certificate of the authority's own node, however long it was down: whoever
    holds the authority's keys could make it anyway."""
    public = membership.keys.public
    try:
        issued = authority.renew(public, membership.genesis_id, now_s)
    except RenewalTooLate:
        request = digest_of("founding", (membership.genesis_id, public, now_s))
        order = CertificateOrder(request, membership.genesis_id, public, membership.owner)
        issued = authority.certify(order, now_s)
    membership.renewed(authority.chain(issued), now_s, logs.logged(authority, issued))
