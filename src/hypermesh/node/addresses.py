"""IPv6 addresses: where others may reach this machine, and where it tries to reach them."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable
from pathlib import Path

HOSTS_MAX = 4
"""What one locator names."""

LOOPBACK = "::1"
IF_INET6 = Path("/proc/net/if_inet6")

_GLOBAL_SCOPE = 0x00
_PASSING = 0x01 | 0x08 | 0x20 | 0x40
"""Flags of addresses that are temporary (RFC 8981), failed or still undergo duplicate detection
(RFC 4862 section 5.4), or are deprecated: `IFA_F_*` of if_addr.h."""


def published(stoq_host: str, if_inet6: str) -> list[str]:
    """The addresses to publish for an endpoint that listens on `stoq_host`.

    One that listens everywhere is at each lasting address of the machine (`if_inet6`: the text of
    `/proc/net/if_inet6`), those routed on the Internet before unique local ones (RFC 4193), and for
    nodes of the same machine on loopback.
    """
    if stoq_host != "::":
        return [stoq_host]
    found = sorted(set(_lasting(if_inet6)), key=lambda each: (not each.is_global, each))
    return [*(str(each) for each in found[: HOSTS_MAX - 1]), LOOPBACK]


def of_this_machine(stoq_host: str) -> list[str]:
    """`published`, as it is now."""
    return published(stoq_host, IF_INET6.read_text() if IF_INET6.exists() else "")


def dialable(hosts: Iterable[str]) -> list[str]:
    """Those of `hosts` to which this node sends something because another says that it is there:
    addresses of one machine, each once. Never a name, which would be looked up, nor a group.
    Loopback is among them, for nodes of the same machine."""
    found: dict[str, None] = {}
    for host in hosts:
        try:
            address = ipaddress.IPv6Address(host)
        except ValueError:
            continue
        if not (
            address.is_multicast
            or address.is_unspecified
            or address.is_link_local
            or address.ipv4_mapped
        ):
            found[str(address)] = None
    return list(found)


def _lasting(if_inet6: str) -> list[ipaddress.IPv6Address]:
    """One line an address: address, interface, prefix length, scope, flags (hex), name."""
    found = []
    for line in if_inet6.splitlines():
        digits, _, _, scope, flags, _ = line.split()
        if int(scope, 16) == _GLOBAL_SCOPE and not int(flags, 16) & _PASSING:
            found.append(ipaddress.IPv6Address(bytes.fromhex(digits)))
    return found
