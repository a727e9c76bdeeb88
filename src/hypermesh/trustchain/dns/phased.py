"""Zones that move from another DNS to this server, by phases (`resolution`).

Until the last phase a phased zone is held back from the sockets: its names go to the responder,
which asks the DNS, the zones here, or both. In the last phase the zone is served as every other,
signed. So one number a zone switches who answers, there and back, and what the zone holds stays.
"""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence

from dns.rdatatype import RdataType

from hypermesh._native import DnsKey
from hypermesh.trustchain.dns.published import PublishedZones, Server
from hypermesh.trustchain.dns.records import RecordSet, is_within
from hypermesh.trustchain.dns.resolution import Found, Phase, SourceUnavailable
from hypermesh.trustchain.dns.zone import Zone

ALIASES_MAX = 8
"""Aliases in a row that are followed."""

_WILDCARD = b"\x01*"

_Keyed = tuple[Zone, DnsKey | None]


class PhasedZones:
    """A `published.Server` before `server` that holds back the zones at or below the names in
    `phases` (wire form, none below another) until the last phase."""

    def __init__(self, server: Server, phases: Mapping[bytes, Phase]) -> None:
        self._server = server
        self._phases = dict(phases)
        self._lock = threading.Lock()
        self._held: dict[bytes, _Keyed] = {}
        """All phased zones, served or not."""

    def switch(self, apex: bytes, phase: Phase) -> None:
        """Answer for what is phased at `apex` by `phase` from now on."""
        with self._lock:
            before, self._phases[apex] = self._phases[apex], phase
            if before == phase:
                return
            held = {at: each for at, each in self._held.items() if is_within(at, apex)}
            if held and phase is Phase.LEDGER_ONLY:
                self._server.put(list(held.values()))
            elif held and before is Phase.LEDGER_ONLY:
                self._server.remove(list(held))

    def put(self, zones: Sequence[_Keyed]) -> None:
        with self._lock:
            self._held.update({each[0].apex: each for each in zones if self._is_phased(each[0])})
            served = [each for each in zones if self._is_served(each[0])]
            if served:
                self._server.put(served)

    def change(self, zone: Zone, changes: Sequence[RecordSet]) -> None:
        with self._lock:
            if self._is_phased(zone):
                self._held[zone.apex] = (zone, self._held[zone.apex][1])
            if self._is_served(zone):
                self._server.change(zone, changes)

    def remove(self, apexes: Sequence[bytes]) -> None:
        with self._lock:
            for apex in apexes:
                self._held.pop(apex, None)
            self._server.remove(apexes)

    def _phase_of(self, apex: bytes) -> Phase | None:
        return next((p for above, p in self._phases.items() if is_within(apex, above)), None)

    def _is_phased(self, zone: Zone) -> bool:
        return self._phase_of(zone.apex) is not None

    def _is_served(self, zone: Zone) -> bool:
        return self._phase_of(zone.apex) in (None, Phase.LEDGER_ONLY)


class ZoneNames:
    """What the zones of this server say of a name, as a `resolution.NameSource`; in wildcards and
    aliases as a server answers (RFC 1034 section 4.3.2). `zones` need the server first, and so are
    set after it."""

    def __init__(self) -> None:
        self.zones: PublishedZones | None = None
        self._lock = threading.Lock()
        self._known: tuple[Zone, frozenset[bytes]] | None = None

    def lookup(self, owner: bytes, kind: int) -> Found | None:
        asked, ttl = owner, None
        for _ in range(ALIASES_MAX):
            if self.zones is None:
                raise SourceUnavailable(why="the zones are not read yet")
            zone = self.zones.closest(owner)
            if zone is None:
                if owner == asked:
                    return None
                raise SourceUnavailable(why="an alias leads out of the zones here")
            sets = self._sets(zone, owner)
            if sets is None:
                return None
            wanted, alias = sets.get(kind), sets.get(RdataType.CNAME)
            if wanted is None and alias is not None:
                ttl = alias.ttl if ttl is None else min(ttl, alias.ttl)
                owner = alias.data[0]
                continue
            if wanted is None:
                return Found(0, ())
            return Found(wanted.ttl if ttl is None else min(ttl, wanted.ttl), wanted.data)
        raise SourceUnavailable(why=f"more than {ALIASES_MAX} aliases in a row")

    def _sets(self, zone: Zone, owner: bytes) -> dict[int, RecordSet] | None:
        """The sets of `owner` in `zone`; None where there is no such name."""
        names = self._names(zone)
        at, closest = owner, owner
        while at != zone.apex:
            if (at, RdataType.NS) in zone.sets:
                raise SourceUnavailable(why="the name is delegated to other servers")
            at = at[1 + at[0] :]
        if owner in names:
            return {each.kind: each for each in zone.at(owner)}
        while closest not in names:
            closest = closest[1 + closest[0] :]
        wildcard = _WILDCARD + closest
        return {each.kind: each for each in zone.at(wildcard)} if wildcard in names else None

    def _names(self, zone: Zone) -> frozenset[bytes]:
        """Every name in `zone`, those between an owner and the apex too (RFC 8020)."""
        with self._lock:
            known = self._known
        if known is not None and known[0] is zone:
            return known[1]
        names = {zone.apex}
        for owner, _ in zone.sets:
            at = owner
            while at not in names:
                names.add(at)
                at = at[1 + at[0] :]
        found = frozenset(names)
        with self._lock:
            self._known = (zone, found)
        return found
