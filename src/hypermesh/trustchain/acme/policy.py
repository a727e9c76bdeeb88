"""What an operator decides about the ACME server, and the bounds of what clients can take."""

from __future__ import annotations

import ipaddress
from collections.abc import Sequence
from dataclasses import dataclass, field

Address = ipaddress.IPv4Address | ipaddress.IPv6Address
Network = ipaddress.IPv4Network | ipaddress.IPv6Network

HOUR_S = 60 * 60
DAY_S = 24 * HOUR_S


@dataclass(frozen=True, slots=True)
class Limits:
    """How much of what one client, and all of them, may have. Times in seconds."""

    accounts_per_network: int = 50
    """Made within an hour from one address, or one /64 of IPv6."""
    accounts: int = 100_000
    bindings: int = 10_000
    orders_per_account: int = 300
    """Made within an hour."""
    orders: int = 1_000_000
    failures_per_name: int = 5
    """Validations of one account for one name that failed within an hour."""
    identifiers: int = 100
    """In one order."""
    contacts: int = 10
    validations: int = 512
    """Under way or waiting."""
    issuances: int = 128
    """Under way or waiting."""


@dataclass(frozen=True, slots=True)
class Validation:
    """How control is checked. Ports are those of RFC 8555 and RFC 8737; others are for those who
    test. `allowed` are networks that are asked although they belong to this machine or link."""

    resolver: str = "::1"
    resolver_port: int = 53
    http_port: int = 80
    https_port: int = 443
    """Where redirects may lead, beside the port for HTTP."""
    tls_alpn_port: int = 443
    allowed: tuple[Network, ...] = ()
    timeout_s: float = 10.0
    """Of one attempt as a whole."""
    pauses_s: tuple[float, ...] = (2.0, 5.0)
    """Between an attempt that failed and the next."""
    workers: int = 32

    def permits(self, address: Address) -> bool:
        """Whether the server may connect to `address` because a client says so. Private networks
        are what a private authority serves; the machine itself and its link are not."""
        if isinstance(address, ipaddress.IPv6Address) and address.ipv4_mapped is not None:
            address = address.ipv4_mapped
        if any(address in network for network in self.allowed):
            return True
        return not (
            address.is_loopback
            or address.is_link_local
            or address.is_multicast
            or address.is_unspecified
            or address.is_reserved
        )


@dataclass(frozen=True, slots=True)
class Policy:
    """`url` is where clients reach the server, with the path that the application answers below
    and no slash at the end: `https://ca.hm.internal/acme`."""

    url: str
    names: Sequence[str] = ()
    """The DNS suffixes that certificates are issued for; any, where there are none."""
    addresses: Sequence[Network] = ()
    """The networks whose addresses certificates are issued for; none, where there are none."""
    external_account_required: bool = False
    terms_of_service: str | None = None
    website: str | None = None
    caa_identities: Sequence[str] = ()
    """The domains that CAA records name this authority by (RFC 8659); without any, CAA records are
    not looked at."""
    order_lifetime_s: int = DAY_S
    authorization_lifetime_s: int = DAY_S
    kept_s: int = 7 * DAY_S
    """How long an order is remembered after its end."""
    renewal_check_s: int = 6 * HOUR_S
    """How often clients are told to ask for renewal information."""
    limits: Limits = field(default_factory=Limits)
    validation: Validation = field(default_factory=Validation)
