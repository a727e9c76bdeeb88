"""What the name server asks Python: updates, recursive lookups, names of other sources."""

from __future__ import annotations

import contextlib
import hashlib
import logging
from collections.abc import Callable, Sequence

import dns.edns
import dns.exception
import dns.flags
import dns.message
import dns.rcode
import dns.rdataclass
import dns.rrset
from dns.rcode import Rcode
from dns.rdatatype import RdataType

from hypermesh.trustchain.dns.forwarding import Forwarder
from hypermesh.trustchain.dns.published import PublishedZones
from hypermesh.trustchain.dns.records import (
    RecordSet,
    data_text,
    is_within,
    name,
    name_text,
)
from hypermesh.trustchain.dns.resolution import (
    NameSource,
    Phase,
    Resolved,
    SourceUnavailable,
    resolve,
)
from hypermesh.trustchain.dns.rights import may_change, names_of
from hypermesh.trustchain.dns.update import (
    UpdateRefused,
    changes,
    check_prerequisites,
    read,
    response,
    touched,
)
from hypermesh.trustchain.dns.zone import Zone, ZoneMissing
from hypermesh.trustchain.evidence import LogUnavailable
from hypermesh.wire.errors import InvalidInput

_log = logging.getLogger(__name__)


class _Unchanged(Exception):
    """An update that leaves its zone as it is: no serial, and nothing for the log."""


class Nowhere:
    """A source of names that knows none."""

    def lookup(self, owner: bytes, kind: int) -> None:
        """There is no such name."""
        del owner, kind


class Responder:
    """A `server.Resolver`. `names` knows what lies below `suffixes` (names of assets), in `phase`
    compared with what `forwarder` says; without a forwarder nobody else is asked. `phase_of` gives
    the phase of a name (wire form) that has one of its own. `is_good` says whether a certificate
    (DER) whose chain was checked may still be used: it may be revoked."""

    def __init__(
        self,
        *,
        forwarder: Forwarder | None = None,
        names: NameSource | None = None,
        suffixes: tuple[str, ...] = (),
        phase: Phase = Phase.LEDGER_ONLY,
        phase_of: Callable[[bytes], Phase | None] | None = None,
        is_good: Callable[[bytes], bool] | None = None,
    ) -> None:
        self._forwarder = forwarder
        self._names: NameSource = names or Nowhere()
        self._suffixes = [name(each) for each in suffixes]
        self._phase_of = phase_of
        self._is_good = is_good
        self._zones: PublishedZones | None = None
        self.phase = phase
        """May be set at any time; the next question is answered by it."""

    def attach(self, zones: PublishedZones) -> None:
        """Carry out updates on `zones`, which need the server first and so come after it."""
        self._zones = zones

    def forward(self, forwarder: Forwarder | None) -> None:
        """Ask other servers from the next question on."""
        self._forwarder = forwarder

    def resolved(self, owner: bytes, kind: int) -> Resolved:
        """What a name of another source has, and who said so. Raises `SourceUnavailable`."""
        own = None if self._phase_of is None else self._phase_of(owner)
        phase = self.phase if own is None else own
        return resolve(phase, self._names, self._forwarder or Nowhere(), owner, kind)

    def resolve(self, query: bytes, limit: int) -> bytes | None:
        """The response to a query that no zone answers; see `server.Resolver`."""
        try:
            asked = dns.message.from_wire(query)
            owner = asked.question[0].name.canonicalize().to_wire() or b""
            if any(is_within(owner, each) for each in self._suffixes):
                answer = self._named(asked, owner)
            elif self._forwarder is not None:
                answer = self._forwarder.answer(asked)
            else:
                return None
        except (SourceUnavailable, dns.exception.DNSException) as error:
            _log.info("a name could not be looked up: %s", error)
            return None
        whole = answer.to_wire(max_size=65_535)
        if len(whole) > limit:
            answer.answer, answer.authority, answer.additional = [], [], []
            answer.flags |= dns.flags.TC
            return answer.to_wire(max_size=limit)
        return whole

    def update(self, message: bytes, certificates: list[bytes]) -> bytes | None:
        """The response to an update; see `server.Resolver`."""
        try:
            self._carry_out(message, certificates)
        except UpdateRefused as refusal:
            return response(message, refusal.rcode)
        except InvalidInput:
            return response(message, Rcode.REFUSED)
        except ZoneMissing:
            return response(message, Rcode.NOTAUTH)
        except LogUnavailable as error:
            _log.warning("an update was not carried out: %s", error)
            return response(message, Rcode.SERVFAIL)
        return response(message, Rcode.NOERROR)

    def _carry_out(self, message: bytes, certificates: list[bytes]) -> None:
        if self._zones is None or not certificates:
            raise UpdateRefused(Rcode.REFUSED, "nobody may change names here")
        update = read(message)
        certificate = certificates[0]
        if self._is_good is not None and not self._is_good(certificate):
            raise UpdateRefused(Rcode.REFUSED, "the certificate is revoked or not known here")
        names = names_of(certificate)

        def rule(zone: Zone) -> Sequence[RecordSet]:
            for owner, kind in touched(update, zone):
                if not may_change(names, owner, kind):
                    raise UpdateRefused(
                        Rcode.REFUSED, f"the certificate is not for {name_text(owner)}"
                    )
            check_prerequisites(update, zone)
            found = changes(update, zone)
            if not found:
                raise _Unchanged
            return found

        shown = hashlib.sha256(certificate).hexdigest()
        with contextlib.suppress(_Unchanged):
            self._zones.derive(update.apex, rule, f"certificate {shown}")

    def _named(self, asked: dns.message.Message, owner: bytes) -> dns.message.Message:
        question = asked.question[0]
        answered = self.resolved(owner, question.rdtype)
        made = dns.message.make_response(asked)
        made.flags |= dns.flags.AA
        if asked.edns >= 0:
            # For people who ask which source it was (RFC 8914 section 4.1).
            shown = dns.edns.EDEOption(dns.edns.EDECode.OTHER, str(answered))
            made.use_edns(0, options=[shown])
        found = answered.found
        if found is None:
            made.set_rcode(Rcode.NXDOMAIN)
        elif found.data:
            kind = RdataType.make(question.rdtype)
            texts = [data_text(kind, each) for each in found.data]
            made.answer.append(
                dns.rrset.from_text_list(
                    question.name, found.ttl, dns.rdataclass.IN, kind, texts, idna_codec=None
                )
            )
        return made
