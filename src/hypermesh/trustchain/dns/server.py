"""The name server: sockets, and the bounds on who is answered how often. The work is in Rust."""

from __future__ import annotations

import secrets
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from hypermesh._native import DnsKey, DnsServer
from hypermesh.trustchain.dns.records import RecordSet, name
from hypermesh.trustchain.dns.zone import Zone
from hypermesh.wire.errors import HyperMeshError, InvalidInput

LOOPBACK = (("127.0.0.0", 8), ("::1", 128))
"""Prefixes of this machine: nobody can claim to be there from outside."""

_SECRET_BYTES = 32


class NameServerUnavailable(HyperMeshError):
    """A socket cannot be had, or a certificate cannot be used."""

    code = "HM-DNS-0006"
    status = 503
    exit_code = 3
    title = "The name server cannot start"
    remedy = "See who else uses the port, and whether this process may use one below 1024"


@dataclass(frozen=True, slots=True)
class Certificate:
    """A chain, leaf first, and the leaf's key in PKCS #8; all DER."""

    chain: tuple[bytes, ...]
    key: bytes


@dataclass(frozen=True, slots=True)
class Tls:
    """DNS over TLS (RFC 7858). Clients may show certificates of `client_roots` (DER), which give
    them rights to change names."""

    addresses: tuple[tuple[str, int], ...]
    certificate: Certificate
    client_roots: tuple[bytes, ...] = ()


@dataclass(frozen=True, slots=True)
class Quic:
    """DNS over QUIC (RFC 9250), over IPv6."""

    address: tuple[str, int]
    certificate: Certificate


@dataclass(frozen=True, slots=True)
class Rate:
    """`per_second` responses a second go to a network (IPv4 /24, IPv6 /56) over UDP, 0 for no
    bound. Of those above it, one in `slip` goes out empty and truncated, which sends the client to
    TCP; the others are dropped. Clients with a cookie of ours (RFC 7873) are not counted."""

    per_second: int = 500
    slip: int = 2
    exempt: tuple[tuple[str, int], ...] = LOOPBACK


@dataclass(frozen=True, slots=True)
class Settings:
    """`addresses`: hosts and ports of UDP and TCP; port 0 asks the system for one. Each socket
    takes the first free port of `ports_tried`, from its own on. `workers`: UDP threads an address.
    `connections_max` TCP and TLS connections may be open, each silent for `idle_ms` at most.
    `recursive`: prefixes whose clients may ask for recursion. `suffixes`: names below which the
    resolver answers."""

    addresses: tuple[tuple[str, int], ...]
    ports_tried: int = 1
    workers: int = 2
    tls: Tls | None = None
    quic: Quic | None = None
    rate: Rate = Rate()
    connections_max: int = 512
    idle_ms: int = 10_000
    signatures_max: int = 200_000
    recursive: tuple[tuple[str, int], ...] = ()
    suffixes: tuple[str, ...] = ()


class Resolver(Protocol):
    """Answers what no zone answers, and carries out updates; called from several threads."""

    def resolve(self, query: bytes, limit: int) -> bytes | None:
        """The response to `query` (a message), within `limit` bytes; None for SERVFAIL."""

    def update(self, message: bytes, certificates: list[bytes]) -> bytes | None:
        """The response to an update (a message) from the holder of the first of `certificates`
        (DER), whose chain was checked; None for SERVFAIL."""


@dataclass(frozen=True, slots=True)
class Address:
    """Where one transport (udp, tcp, tls, quic) is served."""

    transport: str
    host: str
    port: int


class NameServer:
    """Serves zones until it is stopped."""

    def __init__(self, settings: Settings, resolver: Resolver | None = None) -> None:
        """Raises `NameServerUnavailable`, `InvalidInput`."""
        tls, quic, rate = settings.tls, settings.quic, settings.rate
        try:
            self._native = DnsServer.start(
                addresses=settings.addresses,
                ports_tried=settings.ports_tried,
                workers=settings.workers,
                tls=None
                if tls is None
                else (tls.addresses, _pair(tls.certificate), tls.client_roots),
                quic=None if quic is None else (quic.address, _pair(quic.certificate)),
                rate=(rate.per_second, rate.slip, rate.exempt),
                connections_max=settings.connections_max,
                idle_ms=settings.idle_ms,
                signatures_max=settings.signatures_max,
                recursive=settings.recursive,
                suffixes=[name(each) for each in settings.suffixes],
                secret=secrets.token_bytes(_SECRET_BYTES),
                resolver=resolver,
            )
        except OSError as error:
            raise NameServerUnavailable(why=str(error)) from error
        except (ValueError, OverflowError) as error:
            raise InvalidInput(
                "The settings of the name server are wrong", why=str(error)
            ) from error

    @property
    def addresses(self) -> list[Address]:
        """Where it serves."""
        return [Address(*each) for each in self._native.addresses()]

    def port(self, transport: str) -> int:
        """The port of the first address of `transport`."""
        return next(each.port for each in self.addresses if each.transport == transport)

    def put(self, zones: Sequence[tuple[Zone, DnsKey | None]]) -> None:
        """Serve `zones` from now on, all at once."""
        self._native.put([(zone.apex, key, _native(zone.all_sets)) for zone, key in zones])

    def change(self, zone: Zone, changes: Sequence[RecordSet]) -> None:
        """Serve `zone` from now on, which differs from what is served by `changes`."""
        soa = zone.start.set_of(zone.apex, zone.serial)
        self._native.change(zone.apex, _native([soa, *changes]))

    def remove(self, apexes: Sequence[bytes]) -> None:
        """Serve these zones no more."""
        self._native.remove(list(apexes))

    def present(self, certificate: Certificate) -> None:
        """Show `certificate` over TLS and QUIC from now on; open connections go on. Raises
        `NameServerUnavailable` where it cannot be used, and then the one before stays."""
        try:
            self._native.present(_pair(certificate))
        except OSError as error:
            raise NameServerUnavailable(
                "The certificate cannot be shown", why=str(error)
            ) from error

    def counters(self) -> Mapping[str, int]:
        """What was seen since the start."""
        return dict(self._native.counters())

    def stop(self) -> None:
        """Close all sockets; blocks until that is done."""
        self._native.stop()


def _pair(certificate: Certificate) -> tuple[tuple[bytes, ...], bytes]:
    return certificate.chain, certificate.key


def _native(sets: Iterable[RecordSet]) -> list[tuple[bytes, int, int, tuple[bytes, ...]]]:
    return [(each.owner, each.kind, each.ttl, each.data) for each in sets]
