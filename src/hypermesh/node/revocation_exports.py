"""What the ledger says of revocation, for software that knows OCSP and revocation lists alone.

Mesh peers obey the ledger; these are exports of it, made at the node with the authority whenever
they are asked for. A list's CRL number (RFC 5280 section 5.2.3) is the height at which it stands,
and an OCSP answer names that number (RFC 6960 section 4.4.2): both extensions are the standards'
own, so every reader passes over them or shows them.
"""

from __future__ import annotations

import threading
from typing import final

from hypermesh.ledger import identity
from hypermesh.ledger.module import State
from hypermesh.node.chain import Chain
from hypermesh.trustchain.ca.authority import CLOCK_SKEW_S, CertificateAuthority, Issued
from hypermesh.trustchain.ca.content import Issuer
from hypermesh.trustchain.ca.lists import REMAKE_S, signed_list
from hypermesh.trustchain.ca.ocsp import Responder
from hypermesh.trustchain.ca.store import Kept, Reason, Revoked
from hypermesh.trustchain.description import key_identifier
from hypermesh.trustchain.verify import fingerprint
from hypermesh.wire.errors import NotAvailable
from hypermesh.wire.ids import NodeId

KIND = "node"


@final
class RevocationExports:
    """Reads, by any thread. Everything raises `NotAvailable` where the authority is elsewhere."""

    def __init__(self, chain: Chain, authority: CertificateAuthority | None) -> None:
        self._chain = chain
        self._authority = authority
        self._turn = threading.Lock()
        self._list: tuple[int, int, int, bytes] | None = None
        """(revocations, height, made, the list), of the present issuing CA."""
        self._times_s: dict[int, int] = {}
        self._responder: tuple[Issuer, Responder] | None = None

    def ocsp(self, request: bytes, now_s: int) -> bytes:
        """The OCSPResponse to `request`, both DER, as of the newest block."""
        return self._present()[1].respond(request, now_s)

    def _present(self) -> tuple[Issuer, Responder]:
        """The present issuing CA. One that was replaced is compromised, and signs nothing more."""
        authority = self._required()
        with self._turn:
            known = self._responder
            if known is None or known[0].certificate != authority.issuing:
                issuer = Issuer.of(authority.issuing)
                known = self._responder = (issuer, Responder(self, issuer, authority.signer))
                self._list = None
            return known

    def crl(self, now_s: int) -> bytes:
        """The list of all revoked certificates that have not ended, DER. The next revocation is on
        the next list; without one a list serves until it is some hours old."""
        authority, issuer = self._required(), self._present()[0]
        with self._turn, self._chain.ledger.state_with_height() as (height, state):
            revoked = list(identity.revocations(state))
            last = self._list
            if last is not None:
                count, number, made_s, encoded = last
                is_fresh = count == len(revoked) and now_s < made_s + REMAKE_S
                # One number names one list.
                if is_fresh or number == height:
                    return encoded
            entries = [
                Revoked(0, each.serial, self._time_s(row.height), Reason.UNSPECIFIED, 0)
                for node, row in revoked
                for each in authority.current(node, now_s)
                if authority.chain(each)[1] == issuer.certificate
            ]
            encoded = signed_list(issuer, authority.signer, height, entries, now_s)
            self._list = (len(revoked), height, now_s, encoded)
            return encoded

    def by_serial(self, serial: int) -> Kept | None:
        """What the authority's store and the ledger say of one certificate (`ocsp.StatusStore`)."""
        authority = self._required()
        issued = authority.by_serial(serial)
        if issued is None or authority.chain(issued)[1] != authority.issuing:
            return None
        with self._chain.ledger.state_with_height() as (height, state):
            return self._kept(issued, serial, height, self._revoked_s(state, issued.node))

    def _revoked_s(self, state: State, node: NodeId) -> int | None:
        row = identity.revocation(state, node)
        return None if row is None else self._time_s(row.height)

    def _kept(self, issued: Issued, serial: int, height: int, revoked_s: int | None) -> Kept:
        return Kept(
            request=issued.request,
            serial=serial,
            issuer=key_identifier(self._required().issuing),
            kind=KIND,
            requester=issued.owner.hex(),
            holder=fingerprint(issued.certificate),
            names=(),
            issued_s=issued.issued_s,
            not_before_s=issued.issued_s - CLOCK_SKEW_S,
            not_after_s=issued.not_after_s,
            draft=issued.certificate,
            revoked_s=revoked_s,
            reason=None if revoked_s is None else Reason.UNSPECIFIED,
            list_number=height,
        )

    def _time_s(self, height: int) -> int:
        """Block time at `height`; there are as many as blocks that revoked."""
        if height not in self._times_s:
            self._times_s[height] = self._chain.ledger.block(height).header.time_ms // 1000
        return self._times_s[height]

    def _required(self) -> CertificateAuthority:
        if self._authority is None:
            raise _elsewhere()
        return self._authority


def _elsewhere() -> NotAvailable:
    return NotAvailable(
        "Only the founder's node exports revocations",
        why="answers and lists are signed by the certificate authority",
        fix="Ask the node that founded the network",
    )
