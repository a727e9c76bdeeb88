"""The name server of a node: the names of its network and of this machine, while the node runs.

In phase 3 the zones are served by native code, signed as they are asked for. In the phases in which
traditional DNS has a say, a name may have another answer than the ledger's, so nobody could sign
for the zone as a whole: then each question goes to `resolution`, and its answer is not signed.

Over TLS (RFC 7858) and QUIC (RFC 9250) it shows the node's certificate of that moment: clients that
have the network's root know by its DNS name which node it is.
"""

from __future__ import annotations

import logging
import threading
import time
from bisect import bisect_right
from collections.abc import Callable
from pathlib import Path
from typing import Literal

import dns.name
from dns.rdatatype import RdataType

from hypermesh._native import DnsKey
from hypermesh.ledger.errors import LedgerStopped
from hypermesh.ledger.feed import Subscription
from hypermesh.node.addresses import of_this_machine
from hypermesh.node.chain import Chain
from hypermesh.node.configuration import Settings
from hypermesh.node.locators import Locators
from hypermesh.node.membership import Membership
from hypermesh.node.names import layout, local
from hypermesh.node.names.export import Export, Standing
from hypermesh.node.names.phase import KeptPhase, require_possible
from hypermesh.node.names.place import Place, parse_listen, parse_quic, parse_upstream
from hypermesh.node.trouble import Trouble
from hypermesh.stoq.stack import Stack
from hypermesh.trustchain.dns.forwarding import Forwarder
from hypermesh.trustchain.dns.keys import Algorithm, ds, key_sets, stored_or_new
from hypermesh.trustchain.dns.records import (
    RecordSet,
    data_text,
    decoded,
    is_within,
    kind_of,
    kind_text,
    name,
    name_text,
)
from hypermesh.trustchain.dns.resolution import (
    Agreement,
    Found,
    NameSource,
    Origin,
    Phase,
    Resolved,
    SourceUnavailable,
)
from hypermesh.trustchain.dns.responder import Responder
from hypermesh.trustchain.dns.server import (
    LOOPBACK,
    Certificate,
    NameServer,
    NameServerUnavailable,
    Quic,
    Tls,
)
from hypermesh.trustchain.dns.server import Settings as ServerSettings
from hypermesh.trustchain.dns.zone import Zone, difference
from hypermesh.wire.api.dns import (
    DnsName,
    DnsNamePage,
    DnsPlace,
    DnsRecords,
    DnsResolved,
    DnsView,
    DnsZone,
)
from hypermesh.wire.asset import Locator
from hypermesh.wire.errors import HyperMeshError, NotFound
from hypermesh.wire.ids import NodeId

PORTS_TRIED = 32
"""From the one that is asked for on; several nodes of one machine take one after another."""
KEY = "dns"
"""The name in the key store of the key that signs this node's zones."""
WATCH_S = 1.0
UPSTREAM_S = 2.0
"""For one server, over UDP and then TCP: a name server that stops waits for it."""
CONNECTIONS_MAX = 128
SIGNATURES_MAX = 20_000

log = logging.getLogger(__name__)


class NameElsewhere(NotFound):
    """The name is neither of the mesh nor of this machine, and nobody is configured who might know
    it."""

    code = "HM-DNS-0022"
    title = "Nobody here knows that name"
    remedy = "Set dns.upstream to a server that looks up other names"


class Names:
    """The names of the mesh at one node. Reads by any thread."""

    def __init__(
        self,
        membership: Membership,
        chain: Chain,
        locators: Locators,
        settings: Settings,
        data: Path,
        switching: Callable[[Phase], None],
    ) -> None:
        """`switching` is told of another phase before it is kept, and may refuse. Raises
        `InvalidInput` where the settings name no place, `FileDamaged`."""
        self._switching = switching
        self._chain = chain
        self._locators = locators
        self._listen = parse_listen(settings.dns_listen)
        self._tls = parse_listen(settings.dns_tls)
        self._quic = parse_quic(settings.dns_quic)
        self._upstream = parse_upstream(settings.dns_upstream)
        self._membership = membership
        self._shown = b""
        """The certificate that clients see."""
        self._key: DnsKey = stored_or_new(membership.store, KEY, Algorithm.ED25519)
        self._export = Export(
            membership.genesis_id, chain.ledger, self._locator, self._hosts(), self._key_sets
        )
        self._kept = KeptPhase(data / "dns-phase")
        forwarder = None
        if self._upstream:
            forwarder = Forwarder(
                tuple((each.host, each.port) for each in self._upstream),
                time.monotonic,
                timeout_s=UPSTREAM_S,
            )
        self._forwarder = forwarder
        suffixes = (self._export.apex, self._export.reverse_apex)
        self._suffixes = [name(each) for each in suffixes]
        self._responder = Responder(
            forwarder=forwarder, names=self._export, suffixes=suffixes, phase=self._kept.phase
        )
        self._local = local.zone(None)
        self._lock = threading.Lock()
        """Over the server, what it serves and the phase."""
        self._told: Callable[[int, int], None] | None = None
        self._server: NameServer | None = None
        self._served: Standing | None = None
        self._failure: str | None = None
        self._order: tuple[frozenset[bytes], list[dns.name.Name]] = (frozenset(), [])
        self._commits: Subscription
        self._trouble = Trouble(log, "bringing the names up to date")
        self._thread = threading.Thread(target=self._watch, name="names", daemon=True)

    def tell(self, told: Callable[[int, int], None]) -> None:
        """Call `told` with the phase before and the one after, when another is switched to. To be
        said before `start`."""
        self._told = told

    @property
    def threads(self) -> tuple[threading.Thread, ...]:
        """Those that last as long as the node."""
        return (self._thread,)

    def start(self, tls: str | None) -> None:
        """Serve, where the settings say so and a port is free; a node without names is still a
        node. Before the ledger starts, so that no block is missed. `tls` is the URL of the node's
        TLS listener."""
        self._commits = self._chain.feed.subscribe()
        made = self._key_sets(local.APEX)
        self._local = local.zone(tls, made)
        if self._listen is None:
            self._failure = "the settings say off"
        else:
            self._open(self._listen)
        self._thread.start()

    @property
    def place(self) -> str | None:
        """Where names are served; None where they are not."""
        with self._lock:
            places = [] if self._server is None else self._server.addresses[:1]
        return str(Place(places[0].host, places[0].port)) if places else None

    def stop(self) -> None:
        """Answer nobody any more. The thread ends with the ledger."""
        with self._lock:
            server, self._server = self._server, None
        if server is not None:
            server.stop()

    # What the API asks

    def view(self) -> DnsView:
        """The name server and its zones."""
        with self._lock:
            server, served, phase = self._server, self._served, self._kept.phase
            places = [] if server is None else server.addresses
            counters = {} if server is None else dict(server.counters())
        standing = self._standing()
        zones = [] if server is None else [self._local]
        if served is not None:
            zones = [served.forward, served.reverse, *zones]
        return DnsView(
            phase=phase.value,
            phase_name=phase.name.lower().replace("_", " "),
            zone=self._export.apex,
            listen="off" if self._listen is None else str(self._listen),
            addresses=[DnsPlace(each.transport, each.host, each.port) for each in places],
            failure=self._failure,
            upstream=[str(each) for each in self._upstream],
            height=None if standing is None else standing.height,
            names=0 if standing is None else len({key[0] for key in standing.forward.sets}),
            zones=[self._zone_view(each) for each in zones],
            counters=counters,
        )

    def page(self, cursor: str | None, limit: int) -> DnsNamePage:
        """The names of the network's zone after the name `cursor`, each behind the one above it.
        Raises `NameInvalid`."""
        standing = self._standing()
        sets = {} if standing is None else standing.forward.sets
        order = [] if standing is None else self._in_order(standing)
        at = 0 if cursor is None else bisect_right(order, decoded(name(cursor)))
        items = []
        for each in order[at : at + limit]:
            owner = each.to_wire() or b""
            found = [sets[owner, kind] for kind in _KINDS if (owner, kind) in sets]
            items.append(DnsName(name_text(owner), [_records(held) for held in found]))
        return DnsNamePage(items, items[-1].name if at + limit < len(order) else None)

    def resolve(self, named: str, kind_named: str) -> DnsResolved:
        """What a name has of a type, and who says so; may wait for other servers.

        Raises `NameInvalid`, `RecordInvalid`, `NameElsewhere`, `SourceUnavailable`.
        """
        owner, kind = name(named), kind_of(kind_named)
        phase = self._kept.phase
        answered, origin = self._answered(owner, kind)
        standing = self._standing()
        found = answered.found
        return DnsResolved(
            name=name_text(owner),
            type=kind_text(kind),
            phase=phase.value,
            origin=origin,
            agreement=answered.agreement.value,
            exists=found is not None,
            ttl=0 if found is None else found.ttl,
            data=[] if found is None else [data_text(kind, each) for each in found.data],
            height=standing.height if origin == "ledger" and standing else None,
        )

    def switch(self, phase: Phase) -> DnsView:
        """Go over to `phase`, durably. Raises `UpstreamMissing`, `LogUnavailable`, `OSError`."""
        require_possible(phase, has_upstream=bool(self._upstream))
        with self._lock:
            before = self._kept.phase
            if phase is not before:
                self._switching(phase)
            self._kept.keep(phase)
            self._responder.phase = phase
            if self._server is not None:
                self._show(self._server, self._standing())
        if before is not phase and self._told is not None:
            self._told(before.value, phase.value)
        return self.view()

    def is_answered(self, owner: bytes) -> bool:
        """Whether there is such a name in the network's zone."""
        standing = self._standing()
        return standing is not None and owner in standing.owners

    # The parts

    def _in_order(self, standing: Standing) -> list[dns.name.Name]:
        """The owners of the network's zone, each behind the one above it (RFC 4034 section 6.1)."""
        owners, order = self._order
        if owners is not standing.owners:
            order = sorted({decoded(owner) for owner, _ in standing.forward.sets})
            self._order = standing.owners, order
        return order

    def _answered(
        self, owner: bytes, kind: int
    ) -> tuple[Resolved, Literal["ledger", "dns", "local"]]:
        if any(is_within(owner, each) for each in self._suffixes):
            answered = self._responder.resolved(owner, kind)
            return answered, "ledger" if answered.origin is Origin.LEDGER else "dns"
        source: NameSource | None = self._forwarder
        origin: Literal["dns", "local"] = "dns"
        if is_within(owner, self._local.apex):
            source, origin = _Fixed(self._local), "local"
        if source is None:
            raise NameElsewhere(f"{name_text(owner)} is no name of this mesh")
        return Resolved(source.lookup(owner, kind), Origin.DNS, Agreement.NOT_ASKED), origin

    def _standing(self) -> Standing | None:
        try:
            return self._export.standing
        except SourceUnavailable:
            return None

    def _locator(self, node: NodeId) -> Locator | None:
        return self._locators.of(node).locator if node in self._locators else None

    def _hosts(self) -> list[str]:
        host = self._listen.host if self._listen is not None else "::1"
        return of_this_machine(host, Stack.IPV6)

    def _key_sets(self, apex: str) -> list[RecordSet]:
        return key_sets(name(apex), self._key)

    def _open(self, place: Place) -> None:
        """Bind the first free ports from those that are asked for on. Without TLS and QUIC a name
        server is one all the same."""
        server, refusals = None, []
        for encrypted in (True, False):
            try:
                server = NameServer(
                    self._server_settings(place, encrypted=encrypted), self._responder
                )
            except NameServerUnavailable as error:
                refusals.append(error.why)
            else:
                break
        if refusals:
            self._failure = refusals[0] if server is not None else refusals[-1]
            log.warning("names are not served as the settings say: %s", self._failure)
        if server is None:
            return
        server.put([(self._local, self._key)])
        if place.port and server.port("udp") != place.port:
            log.warning("names are served at port %d, for another is held", server.port("udp"))
        self._server = server

    def _server_settings(self, place: Place, *, encrypted: bool) -> ServerSettings:
        certificate = self._certificate()
        tls, quic = (self._tls, self._quic) if encrypted else (None, None)
        return ServerSettings(
            addresses=(place,),
            ports_tried=PORTS_TRIED,
            workers=1,
            tls=None if tls is None else Tls((tls,), certificate),
            quic=None if quic is None else Quic(quic, certificate),
            connections_max=CONNECTIONS_MAX,
            signatures_max=SIGNATURES_MAX,
            # Nobody else: an open resolver is a weapon against third parties (RFC 5358).
            recursive=LOOPBACK if self._upstream else (),
            suffixes=(self._export.apex, self._export.reverse_apex),
        )

    def _certificate(self) -> Certificate:
        """That of the node. A root that a client does not have already is worth nothing to it."""
        chain = self._membership.chain
        self._shown = chain[0]
        return Certificate(tuple(chain[:2]), self._membership.keys.ed25519_pkcs8())

    def _present(self, server: NameServer) -> None:
        """Show the certificate that the node has now, where it is another."""
        if self._membership.chain[0] != self._shown:
            try:
                server.present(self._certificate())
            except NameServerUnavailable as error:
                log.warning("%s: %s", error.what, error.why)

    def _watch(self) -> None:
        is_read = False
        wait_s = 0.0
        while True:
            try:
                commit = self._commits.next(wait_s)
            except LedgerStopped:
                return
            except HyperMeshError as error:
                log.warning("the event feed was cut: %s", error)
                is_read, commit = False, None
                if not self._follow_anew():
                    return
            wait_s = WATCH_S
            try:
                standing = self._export.follow(commit) if is_read else self._export.read()
                is_read = True
                with self._lock:
                    if self._server is not None:
                        self._present(self._server)
                        self._show(self._server, standing)
            except Exception as error:  # noqa: BLE001 - whatever it is, the next block comes
                is_read = False
                self._trouble.note(error)
            else:
                self._trouble.over()

    def _follow_anew(self) -> bool:
        """Whether there is anything to follow."""
        while True:
            try:
                self._commits = self._chain.feed.subscribe()
            except LedgerStopped:
                return False
            except HyperMeshError as error:
                self._trouble.note(error)
                time.sleep(WATCH_S)
            else:
                return True

    def _show(self, server: NameServer, standing: Standing | None) -> None:
        """Have `server` answer by `standing` and the phase; under the lock."""
        served = self._served
        if self._kept.phase is not Phase.LEDGER_ONLY or standing is None:
            if served is not None:
                server.remove([served.forward.apex, served.reverse.apex])
            self._served = None
            return
        if served is None:
            server.put([(standing.forward, self._key), (standing.reverse, self._key)])
        elif served is not standing:
            server.change(standing.forward, _forward_changes(served, standing))
            server.change(standing.reverse, _reverse_changes(served, standing))
        self._served = standing

    def _zone_view(self, zone: Zone) -> DnsZone:
        dnskey = self._key.dnskey()
        return DnsZone(
            name_text(zone.apex),
            zone.serial,
            len(zone.sets) + 1,
            data_text(RdataType.DNSKEY, dnskey),
            data_text(RdataType.DS, ds(zone.apex, dnskey)),
        )


class _Fixed:
    """A zone as a source of names."""

    def __init__(self, zone: Zone) -> None:
        self._zone = zone

    def lookup(self, owner: bytes, kind: int) -> Found | None:
        at = list(self._zone.at(owner))
        found = next((each for each in at if each.kind == kind), None)
        if found is not None:
            return Found(found.ttl, found.data)
        return Found(local.TTL_S, ()) if at else None


_KINDS = sorted(
    {
        RdataType.A,
        RdataType.AAAA,
        RdataType.CNAME,
        RdataType.NS,
        RdataType.SRV,
        RdataType.SVCB,
        RdataType.TLSA,
        RdataType.TXT,
    }
)
"""What the network's zone holds, but for the records of its key."""


def _same_names(before: Standing, after: Standing) -> bool:
    return before.owners is after.owners


def _forward_changes(before: Standing, after: Standing) -> list[RecordSet]:
    """Between two standings of the same names only the height differs, which spares a comparison
    of every set."""
    if _same_names(before, after):
        return [after.forward.sets[layout.height_owner(after.forward.apex), RdataType.TXT]]
    return difference(before.forward, after.forward)


def _reverse_changes(before: Standing, after: Standing) -> list[RecordSet]:
    return [] if _same_names(before, after) else difference(before.reverse, after.reverse)


def _records(each: RecordSet) -> DnsRecords:
    return DnsRecords(
        kind_text(each.kind), each.ttl, [data_text(each.kind, data) for data in each.data]
    )
