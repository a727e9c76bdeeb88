"""`hypermesh.online` as it is on this machine: each of its services is the node that runs here.

Nothing of it is looked up elsewhere. Whoever asks this node's name server is led to loopback, and
there to the TLS listener, which has a certificate for these names where the network's authority is
on this machine.
"""

from __future__ import annotations

import urllib.parse
from collections.abc import Iterable

from hypermesh.node.names.layout import server_sets
from hypermesh.trustchain.dns.records import RecordSet, name, record_set
from hypermesh.trustchain.dns.zone import Start, Zone

APEX = "hypermesh.online"
SERVICES = ("trust", "assets", "caesar", "stoq")
NAMES = tuple(f"{service}.{APEX}" for service in SERVICES)
HOST = "::1"
TTL_S = 60
SERIAL = 1


def zone(tls: str | None, made: Iterable[RecordSet] = ()) -> Zone:
    """The zone, with what was `made` for its key; `tls` is the URL of the node's TLS listener,
    whose port an HTTPS record says (RFC 9460), None where there is none."""
    primary = f"ns.{APEX}"
    sets = [*server_sets(APEX, primary, [HOST]), *made]
    port = None if tls is None else urllib.parse.urlsplit(tls).port
    for each in NAMES:
        sets.append(record_set(each, "AAAA", TTL_S, [HOST]))
        if port is not None:
            sets.append(record_set(each, "HTTPS", TTL_S, [f'1 . alpn="http/1.1" port={port}']))
    start = Start(name(primary), name(f"hostmaster.{APEX}"), ttl_s=TTL_S, minimum_s=5)
    return Zone(name(APEX), start, SERIAL, {each.key: each for each in sets})
