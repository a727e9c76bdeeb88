"""The name server of a running server: its sockets, its zones, and the zone that is there from the
first start."""

from __future__ import annotations

import time

from hypermesh.standalone.peers import parse_server
from hypermesh.standalone.trust.founding import Directory
from hypermesh.standalone.trust.settings import Settings
from hypermesh.trustchain.dns.forwarding import Forwarder
from hypermesh.trustchain.dns.published import NewZone, PublishedZones
from hypermesh.trustchain.dns.records import name, record_set
from hypermesh.trustchain.dns.responder import Responder
from hypermesh.trustchain.dns.server import LOOPBACK, NameServer
from hypermesh.trustchain.dns.server import Settings as ServerSettings
from hypermesh.trustchain.dns.zone import Start
from hypermesh.trustchain.evidence import ActLog

SERVICES = ("trust", "assets", "caesar", "stoq")
"""Names of the first zone that lead to this machine."""
TTL_S = 300
AUTHOR = "server"


class Naming:
    """Answers queries until `close`."""

    def __init__(self, directory: Directory, settings: Settings, acts: ActLog) -> None:
        """Raises `NameServerUnavailable`, `LogUnavailable`."""
        place = settings.dns_place
        assert place is not None  # noqa: S101 - the caller asks only then
        upstream = tuple((to.host, to.port) for to in map(parse_server, settings.dns.upstream))
        responder = Responder(forwarder=Forwarder(upstream, time.monotonic)) if upstream else None
        self.server = NameServer(
            ServerSettings(
                addresses=((place.host, place.port),),
                # Nobody else: an open resolver is a weapon against third parties (RFC 5358).
                recursive=LOOPBACK if upstream else (),
            ),
            responder,
        )
        try:
            self.zones = PublishedZones(
                directory.dns,
                acts,
                self.server,
                directory.keys,
                lambda: time.time_ns() // 1_000_000,
            )
        except BaseException:
            self.server.stop()
            raise
        if responder is not None:
            responder.attach(self.zones)
        if settings.dns.zone and name(settings.dns.zone) not in self.zones.apexes:
            self.zones.add([first_zone(settings.dns.zone, settings.dns.address)], AUTHOR)

    @property
    def port(self) -> int:
        """Of UDP and TCP."""
        return self.server.port("udp")

    def close(self) -> None:
        self.server.stop()
        self.zones.close()


def new_zone(apex: str, *sets: tuple[str, str, list[str]]) -> NewZone:
    """A zone of this server's: `ns.APEX` serves it, `sets` are owner, type and data."""
    primary = f"ns.{apex}"
    start = Start(name(primary), name(f"hostmaster.{apex}"))
    records = [record_set(apex, "NS", TTL_S, [f"{primary}."])]
    records += [record_set(owner, kind, TTL_S, data) for owner, kind, data in sets]
    return NewZone(name(apex), start, tuple(records))


def first_zone(apex: str, address: str) -> NewZone:
    """The zone whose services are on this machine, at the IPv6 address `address`."""
    hosts = ["ns", *SERVICES]
    return new_zone(apex, *((f"{host}.{apex}", "AAAA", [address]) for host in hosts))
