"""Where others may reach this machine, and where it tries to reach them: IPv6 addresses, and IPv4
ones for a dual stack, written as `::ffff:192.0.2.1` (RFC 4291 section 2.5.5.2)."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable
from pathlib import Path

from hypermesh.stoq.stack import Stack

HOSTS_MAX = 4
"""What one locator names."""

LOOPBACK = "::1"
IF_INET6 = Path("/proc/net/if_inet6")
FIB_TRIE = Path("/proc/net/fib_trie")

_GLOBAL_SCOPE = 0x00
_PASSING = 0x01 | 0x08 | 0x20 | 0x40
"""Flags of addresses that are temporary (RFC 8981), failed or still undergo duplicate detection
(RFC 4862 section 5.4), or are deprecated: `IFA_F_*` of if_addr.h."""


def published(stoq_host: str, if_inet6: str, fib_trie: str = "") -> list[str]:
    """The addresses to publish for an endpoint that listens on `stoq_host`.

    One that listens everywhere is at each lasting address of the machine (`if_inet6`: the text of
    `/proc/net/if_inet6`), those routed on the Internet before unique local ones (RFC 4193), then at
    its first IPv4 address (`fib_trie`: the text of `/proc/net/fib_trie`, for a dual stack), and for
    nodes of the same machine on loopback.
    """
    if stoq_host != "::":
        return [stoq_host]
    found = sorted(set(_lasting(if_inet6)), key=lambda each: (not each.is_global, each))
    four = sorted(set(_local_ipv4(fib_trie)), key=lambda each: (not each.is_global, each))[:1]
    most = HOSTS_MAX - 1 - len(four)
    return [*map(str, found[:most]), *map(_mapped, four), LOOPBACK]


def of_this_machine(stoq_host: str, stack: Stack) -> list[str]:
    """`published`, as it is now."""
    return published(stoq_host, _text(IF_INET6), _text(FIB_TRIE) if stack is Stack.DUAL else "")


def dialable(hosts: Iterable[str], stack: Stack = Stack.IPV6) -> list[str]:
    """Those of `hosts` to which a node of `stack` sends something because another says that it is
    there: addresses of one machine, each once. Never a name, which would be looked up, nor a group.
    IPv6 loopback is among them, for nodes of the same machine."""
    found: dict[str, None] = {}
    for host in hosts:
        try:
            address = ipaddress.IPv6Address(host)
        except ValueError:
            continue
        if (four := address.ipv4_mapped) is not None:
            if stack is Stack.DUAL and _is_one_machine(four) and not four.is_loopback:
                found[_mapped(four)] = None
        elif _is_one_machine(address):
            found[str(address)] = None
    return list(found)


def _is_one_machine(address: ipaddress.IPv4Address | ipaddress.IPv6Address) -> bool:
    """Not a group, nobody, or somebody on a link that is not named. Of IPv4 neither what is
    reserved (RFC 1112 section 4), with the broadcast address, nor this network (RFC 1122 section
    3.2.1.3)."""
    if address.is_multicast or address.is_unspecified or address.is_link_local:
        return False
    return address.version == 6 or not (address.is_reserved or address.packed[0] == 0)


def _mapped(address: ipaddress.IPv4Address) -> str:
    return f"::ffff:{address}"


def _text(file: Path) -> str:
    return file.read_text() if file.exists() else ""


def _local_ipv4(fib_trie: str) -> list[ipaddress.IPv4Address]:
    """An address of the machine is a leaf, `|-- 192.0.2.1`, with a line `/32 host LOCAL` below."""
    found, leaf = [], ""
    for line in fib_trie.splitlines():
        words = line.split()
        if words[:1] == ["|--"]:
            leaf = words[-1]
        elif words == ["/32", "host", "LOCAL"]:
            address = ipaddress.IPv4Address(leaf)
            if _is_one_machine(address) and not address.is_loopback:
                found.append(address)
    return found


def _lasting(if_inet6: str) -> list[ipaddress.IPv6Address]:
    """One line an address: address, interface, prefix length, scope, flags (hex), name."""
    found = []
    for line in if_inet6.splitlines():
        digits, _, _, scope, flags, _ = line.split()
        if int(scope, 16) == _GLOBAL_SCOPE and not int(flags, 16) & _PASSING:
            found.append(ipaddress.IPv6Address(bytes.fromhex(digits)))
    return found
