"""Recursive lookups at configured servers, and nowhere else: what they answer is passed on, and
kept for as long as it says (RFC 2308)."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass

import dns.exception
import dns.flags
import dns.message
import dns.name
import dns.query
import dns.rcode
import dns.rrset
from dns.rdataclass import RdataClass
from dns.rdatatype import RdataType

from hypermesh.trustchain.dns.records import decoded
from hypermesh.trustchain.dns.resolution import Found, SourceUnavailable

ANSWERS_MAX = 10_000
"""Answers that are kept."""

ANSWER_BYTES_MAX = 16 * 1024
"""Longer ones are passed on and not kept."""

TTL_MAX = 24 * 60 * 60
"""Seconds; nothing is kept longer."""

TIMEOUT_S = 3.0
"""For one server, over UDP and then TCP."""

_Key = tuple[dns.name.Name, RdataType, RdataClass, bool]


@dataclass(frozen=True, slots=True)
class _Kept:
    answer: dns.message.Message
    at_s: float
    until_s: float


class Forwarder:
    """Asks `servers` (host, port) in their order until one answers. `now_s`: seconds of a clock
    that does not go back. May be used from several threads."""

    def __init__(
        self,
        servers: tuple[tuple[str, int], ...],
        now_s: Callable[[], float],
        *,
        timeout_s: float = TIMEOUT_S,
        answers_max: int = ANSWERS_MAX,
    ) -> None:
        self._servers = servers
        self._now_s = now_s
        self._timeout_s = timeout_s
        self._answers_max = answers_max
        self._lock = threading.Lock()
        self._kept: OrderedDict[_Key, _Kept] = OrderedDict()

    def answer(self, query: dns.message.Message) -> dns.message.Message:
        """The response to `query`, with its id. Raises `SourceUnavailable`."""
        question = query.question[0]
        wants_dnssec = bool(query.ednsflags & dns.flags.DO)
        key: _Key = (question.name.canonicalize(), question.rdtype, question.rdclass, wants_dnssec)
        kept = self._get(key)
        response = dns.message.make_response(query, recursion_available=True)
        found = self._asked(key) if kept is None else kept
        response.set_rcode(found.rcode())
        response.answer = found.answer
        response.authority = found.authority
        return response

    def lookup(self, owner: bytes, kind: int) -> Found | None:
        """As a `NameSource`."""
        query = dns.message.make_query(decoded(owner), RdataType.make(kind))
        answer = self.answer(query)
        if answer.rcode() == dns.rcode.NXDOMAIN:
            return None
        if answer.rcode() != dns.rcode.NOERROR:
            raise SourceUnavailable(why=f"the server said {dns.rcode.to_text(answer.rcode())}")
        sets = [each for each in answer.answer if each.rdtype == kind]
        data = sorted(record.to_digestable() for each in sets for record in each)
        return Found(min((each.ttl for each in sets), default=0), tuple(data))

    @property
    def kept(self) -> int:
        """How many answers are kept."""
        with self._lock:
            return len(self._kept)

    def _asked(self, key: _Key) -> dns.message.Message:
        name, kind, rdclass, wants_dnssec = key
        query = dns.message.make_query(name, kind, rdclass, want_dnssec=wants_dnssec)
        why = "no server is configured"
        for host, port in self._servers:
            try:
                found, _ = dns.query.udp_with_fallback(query, host, self._timeout_s, port)
            except (dns.exception.DNSException, OSError, EOFError) as error:
                why = str(error) or type(error).__name__
                continue
            if found.rcode() in (dns.rcode.NOERROR, dns.rcode.NXDOMAIN):
                self._put(key, found)
                return found
            why = f"the server said {dns.rcode.to_text(found.rcode())}"
        raise SourceUnavailable(why=why)

    def _get(self, key: _Key) -> dns.message.Message | None:
        now_s = self._now_s()
        with self._lock:
            kept = self._kept.get(key)
            if kept is None:
                return None
            if now_s >= kept.until_s:
                del self._kept[key]
                return None
            self._kept.move_to_end(key)
        age_s = int(now_s - kept.at_s)
        aged = dns.message.Message()
        aged.set_rcode(kept.answer.rcode())
        aged.answer = [_aged(each, age_s) for each in kept.answer.answer]
        aged.authority = [_aged(each, age_s) for each in kept.answer.authority]
        return aged

    def _put(self, key: _Key, answer: dns.message.Message) -> None:
        life_s = min(_life_s(answer), TTL_MAX)
        if life_s <= 0 or len(answer.to_wire()) > ANSWER_BYTES_MAX:
            return
        now_s = self._now_s()
        with self._lock:
            self._kept[key] = _Kept(answer, now_s, now_s + life_s)
            self._kept.move_to_end(key)
            while len(self._kept) > self._answers_max:
                self._kept.popitem(last=False)


def _aged(found: dns.rrset.RRset, age_s: int) -> dns.rrset.RRset:
    ttl = max(found.ttl - age_s, 0)
    return dns.rrset.from_rdata_list(found.name, ttl, list(found))


def _life_s(answer: dns.message.Message) -> int:
    """How long the answer may be kept; a denial without an SOA not at all (RFC 2308 section 5)."""
    if answer.answer and answer.rcode() == dns.rcode.NOERROR:
        return min(each.ttl for each in answer.answer)
    soas = [each for each in answer.authority if each.rdtype == RdataType.SOA]
    return min((min(each.ttl, each[0].minimum) for each in soas), default=0)
