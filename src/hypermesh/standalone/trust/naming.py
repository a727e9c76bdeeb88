"""The name server of a running server: its sockets, its zones, and the zone that is there from the
first start."""

from __future__ import annotations

import ipaddress
import time
from collections.abc import Callable, Sequence

from hypermesh.standalone.peers import parse_server
from hypermesh.standalone.trust.founding import Directory
from hypermesh.standalone.trust.phases import Phases, Switched, require_possible
from hypermesh.standalone.trust.settings import Settings
from hypermesh.trustchain.dns.forwarding import Forwarder
from hypermesh.trustchain.dns.keys import Algorithm
from hypermesh.trustchain.dns.phased import PhasedZones, ZoneNames
from hypermesh.trustchain.dns.published import NewZone, PublishedZones
from hypermesh.trustchain.dns.records import name, record_set
from hypermesh.trustchain.dns.resolution import Phase, Resolved
from hypermesh.trustchain.dns.responder import Responder
from hypermesh.trustchain.dns.server import Certificate, NameServer, Quic, Tls
from hypermesh.trustchain.dns.server import Settings as ServerSettings
from hypermesh.trustchain.dns.zone import Start
from hypermesh.trustchain.evidence import ActLog

SERVICES = ("trust", "assets", "caesar", "stoq")
"""Names of the first zone that lead to this machine."""
TTL_S = 300
AUTHOR = "server"
PHASES_FILE = "phases"


class Naming:
    """Answers queries until `close`."""

    def __init__(
        self,
        directory: Directory,
        settings: Settings,
        acts: ActLog,
        certificate: Certificate,
        root: bytes,
        is_good: Callable[[bytes], bool],
    ) -> None:
        """`certificate` is shown over TLS and QUIC. Holders of certificates below `root` (DER) may
        send updates, where the settings take them and `is_good` says that theirs is not revoked.
        Raises `NameServerUnavailable`, `LogUnavailable`."""
        told = settings.dns
        self._has_upstream = bool(told.upstream)
        self._phases = Phases(
            directory.dns / PHASES_FILE,
            acts,
            _now_ms,
            [name(each) for each in told.phased],
            Phase(told.phase),
        )
        for phase in self._phases.all.values():
            require_possible(phase, has_upstream=self._has_upstream)
        self._names = ZoneNames()
        self._responder = Responder(
            forwarder=_forwarder(settings),
            names=self._names,
            suffixes=told.phased,
            phase_of=self._phases.phase_of,
            is_good=is_good,
        )
        self.server = NameServer(
            _server_settings(settings, certificate, root),
            # Whoever is not there is not asked: without this the server refuses by itself.
            self._responder if told.upstream or told.phased or told.updates else None,
        )
        self._phased = PhasedZones(self.server, self._phases.all)
        try:
            self.zones = PublishedZones(
                directory.dns,
                acts,
                self._phased,
                directory.keys,
                _now_ms,
            )
        except BaseException:
            self.server.stop()
            raise
        self._names.zones = self.zones
        if told.updates:
            self._responder.attach(self.zones)
        self._require_zone(settings)

    def change(self, settings: Settings) -> None:
        """Obey other settings: the zone of the first start, who is asked, the phase. Raises
        `LogUnavailable`."""
        self._require_zone(settings)
        self._responder.forward(_forwarder(settings))
        self._phases.begin_with(Phase(settings.dns.phase), self._phased.switch)

    @property
    def phases(self) -> dict[bytes, tuple[Phase, Switched | None]]:
        """Each phased zone's phase, and the switch that led to it where it was not the settings."""
        return {
            apex: (phase, self._phases.switched(apex)) for apex, phase in self._phases.all.items()
        }

    def switch(self, apex: bytes, phase: Phase, author: str) -> Switched:
        """Answer for the zone by `phase`, from when this returns. Raises `PhaseImpossible`, and as
        `Phases.switch`."""
        require_possible(phase, has_upstream=self._has_upstream)
        return self._phases.switch(apex, phase, author, self._phased.switch)

    def resolved(self, owner: bytes, kind: int) -> Resolved:
        """What is answered for a name, and who said so. Raises `SourceUnavailable`."""
        return self._responder.resolved(owner, kind)

    def present(self, certificate: Certificate) -> None:
        """Show `certificate` over TLS and QUIC from now on."""
        self.server.present(certificate)

    def _require_zone(self, settings: Settings) -> None:
        zone = settings.dns.zone
        if zone and name(zone) not in self.zones.apexes:
            self.zones.add([first_zone(zone, settings.dns.address)], AUTHOR)

    @property
    def port(self) -> int:
        """Of UDP and TCP."""
        return self.server.port("udp")

    def close(self) -> None:
        self.server.stop()
        self.zones.close()


def _now_ms() -> int:
    return time.time_ns() // 1_000_000


def _server_settings(settings: Settings, certificate: Certificate, root: bytes) -> ServerSettings:
    place = settings.dns_place
    assert place is not None  # noqa: S101 - the caller asks only then
    tls, quic = settings.dns_tls_place, settings.dns_quic_place
    roots = (root,) if settings.dns.updates else ()
    return ServerSettings(
        addresses=((place.host, place.port),),
        tls=None if tls is None else Tls(((tls.host, tls.port),), certificate, roots),
        quic=None if quic is None else Quic((quic.host, quic.port), certificate),
        # Nobody else: an open resolver is a weapon against third parties (RFC 5358).
        recursive=_prefixes(settings.dns.recursive) if settings.dns.upstream else (),
        suffixes=settings.dns.phased,
    )


def _forwarder(settings: Settings) -> Forwarder | None:
    upstream = tuple((to.host, to.port) for to in map(parse_server, settings.dns.upstream))
    return Forwarder(upstream, time.monotonic) if upstream else None


def _prefixes(networks: Sequence[str]) -> tuple[tuple[str, int], ...]:
    parsed = map(ipaddress.ip_network, networks)
    return tuple((str(each.network_address), each.prefixlen) for each in parsed)


def new_zone(
    apex: str, *sets: tuple[str, str, list[str]], algorithm: Algorithm = Algorithm.ED25519
) -> NewZone:
    """A zone of this server's: `ns.APEX` serves it, `sets` are owner, type and data."""
    primary = f"ns.{apex}"
    start = Start(name(primary), name(f"hostmaster.{apex}"))
    records = [record_set(apex, "NS", TTL_S, [f"{primary}."])]
    records += [record_set(owner, kind, TTL_S, data) for owner, kind, data in sets]
    return NewZone(name(apex), start, tuple(records), algorithm)


def first_zone(apex: str, address: str) -> NewZone:
    """The zone whose services are on this machine, at the IPv6 address `address`."""
    hosts = ["ns", *SERVICES]
    return new_zone(apex, *((f"{host}.{apex}", "AAAA", [address]) for host in hosts))
