"""Which names a node and its assets have in the zone of their network, and what is at them. Pure.

    <node>.<network>.hm.internal                AAAA, TXT, SVCB
    <asset>.<node>.<network>.hm.internal        AAAA, TXT, SVCB, only where everybody may see it
    endpoint.<node>.<network>.hm.internal       AAAA (and A): where its STOQ endpoint is
    _stoq._udp.<name>                           SRV: that endpoint and its port
    _<port>._udp.endpoint.<node>...             TLSA 3 0 1: its certificate (RFC 6698, RFC 7673)
    <label>.<network>.hm.internal               CNAME: what its owner calls a node or an asset
    _ledger.<network>.hm.internal               TXT: the height at which all of it stands
    <address>.ip6.arpa                          PTR: what the IPv6 form of an address belongs to

The AAAA of a name is the IPv6 form of its GlobalAddress, which no packet is sent to: SVCB (RFC
9460) and SRV (RFC 2782) say where its node is. Whoever asks a name server says nothing of himself,
so the zone holds what a stranger may see: of assets those at FullPublic. What a locator says of
loopback is for nodes of the same machine, and stands here only where nothing else does.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from hypermesh.assets import address
from hypermesh.node.addresses import dialable
from hypermesh.stoq.stack import Stack
from hypermesh.trustchain.certificate import server_name
from hypermesh.trustchain.dns.records import RecordSet, record_set
from hypermesh.wire.address import GlobalAddress, network_prefix
from hypermesh.wire.asset import Asset, Locator, PrivacyLevel
from hypermesh.wire.ids import AssetId, GenesisId, Hash, NodeId
from hypermesh.wire.rpc import ALPN_NODE, SERVICE_CONTROL

TTL_S = 60
"""How long others may keep what the ledger says."""

SUFFIX = "hm.internal"
NODE_SLOT = 0
"""Of the IPv6 form; assets have 1 and above."""
NO_ASSET = bytes(16)

_HEIGHT = "_ledger"
_NIBBLES_OF_A_PREFIX = 16


@dataclass(frozen=True, slots=True)
class Hosted:
    """A node in good standing, its assets, and where it was last known to be. `labels`: what its
    owner calls it, or an asset of it (None: the node itself)."""

    node: NodeId
    certificate_sha256: Hash
    assets: tuple[tuple[AssetId, Asset], ...] = ()
    locator: Locator | None = None
    labels: tuple[tuple[str, AssetId | None], ...] = ()


def apex(genesis: GenesisId) -> str:
    """The zone of a network."""
    return f"{genesis[:5].hex()}.{SUFFIX}"


def reverse_apex(genesis: GenesisId) -> str:
    """The zone of the IPv6 forms of a network's addresses (RFC 3596 section 2.5)."""
    first = ipaddress.IPv6Address(network_prefix(genesis) + bytes(8))
    labels = first.reverse_pointer.split(".")
    return ".".join(labels[-_NIBBLES_OF_A_PREFIX - 2 :])


def node_name(genesis: GenesisId, node: NodeId) -> str:
    """The name of a node, which is also in its certificate."""
    return server_name(node, genesis)


def is_shown(asset: Asset) -> bool:
    """Whether a stranger may see the asset."""
    return asset.level is PrivacyLevel.FULL_PUBLIC


def forward_sets(genesis: GenesisId, hosted: Hosted) -> Iterator[RecordSet]:
    """What the zone of the network says of one node."""
    own = node_name(genesis, hosted.node)
    view = GlobalAddress.of(genesis, hosted.node, NO_ASSET, SERVICE_CONTROL)
    texts = [f"node={hosted.node.hex()}", "kind=node"]
    yield from _named(own, view.ipv6_view(NODE_SLOT), texts, own, hosted.locator)
    if hosted.locator is not None:
        yield from _endpoint(own, hosted.locator, hosted.certificate_sha256)
    shown: set[AssetId] = set()
    for asset_id, asset in hosted.assets:
        if not is_shown(asset):
            continue
        shown.add(asset_id)
        services = address.addresses(genesis, hosted.node, asset_id, asset.kind)
        texts = [*(str(each) for each in services), f"kind={asset.kind.value}"]
        at = address.ipv6_view(genesis, hosted.node, asset_id, asset.slot)
        yield from _named(services[0].dns_name, at, texts, own, hosted.locator)
    for label, named in hosted.labels:
        to = own
        if named is not None:
            if named not in shown:
                continue
            to = GlobalAddress.of(genesis, hosted.node, named, SERVICE_CONTROL).dns_name
        yield record_set(f"{label}.{apex(genesis)}", "CNAME", TTL_S, [f"{to}."])


def reverse_sets(genesis: GenesisId, hosted: Hosted) -> Iterator[RecordSet]:
    """What leads back from IPv6 forms to the names of one node and its assets. Two nodes whose ids
    share 6 bytes share them, too."""
    view = GlobalAddress.of(genesis, hosted.node, NO_ASSET, SERVICE_CONTROL)
    yield _pointer(view.ipv6_view(NODE_SLOT), node_name(genesis, hosted.node))
    for asset_id, asset in hosted.assets:
        if is_shown(asset):
            at = address.ipv6_view(genesis, hosted.node, asset_id, asset.slot)
            to = GlobalAddress.of(genesis, hosted.node, asset_id, SERVICE_CONTROL).dns_name
            yield _pointer(at, to)


def height_set(genesis: GenesisId, height: int, app_hash: Hash) -> RecordSet:
    """At which height of which ledger the zone stands. The serial of its SOA is that height, too,
    for as long as it has 32 bits."""
    said = (f"height={height}", f"app_hash={app_hash.hex()}", f"genesis={genesis.hex()}")
    return record_set(f"{_HEIGHT}.{apex(genesis)}", "TXT", TTL_S, [_strings(said)])


def height_owner(zone: bytes) -> bytes:
    """The owner of `height_set` in `zone`, both in wire form."""
    return bytes([len(_HEIGHT)]) + _HEIGHT.encode() + zone


def server_sets(zone: str, primary: str, hosts: Iterable[str]) -> list[RecordSet]:
    """The name server of `zone`: `primary`, at `hosts`, which stand where the name lies in it."""
    sets = [record_set(zone, "NS", TTL_S, [f"{primary}."])]
    if primary.endswith(f".{zone}"):
        sets += _addresses(primary, hosts)
    return sets


def serial(height: int) -> int:
    """The serial of a zone at `height` (RFC 1982); never 0, which some read as none."""
    return height % 2**32 or 1


def _named(
    own: str,
    view: ipaddress.IPv6Address,
    texts: Iterable[str],
    node: str,
    locator: Locator | None,
) -> Iterator[RecordSet]:
    yield record_set(own, "AAAA", TTL_S, [str(view)])
    yield record_set(own, "TXT", TTL_S, [_strings(texts)])
    if locator is not None:
        to, port = f"endpoint.{node}.", locator.port
        yield record_set(own, "SVCB", TTL_S, [f'1 {to} alpn="{ALPN_NODE}" port={port}'])
        yield record_set(f"_stoq._udp.{own}", "SRV", TTL_S, [f"0 0 {port} {to}"])


def _endpoint(node: str, locator: Locator, certificate: Hash) -> Iterator[RecordSet]:
    own = f"endpoint.{node}"
    yield from _addresses(own, locator.hosts)
    tlsa = f"3 0 1 {certificate.hex()}"
    yield record_set(f"_{locator.port}._udp.{own}", "TLSA", TTL_S, [tlsa])


def _addresses(owner: str, hosts: Iterable[str]) -> Iterator[RecordSet]:
    found = [ipaddress.IPv6Address(host) for host in dialable(hosts, Stack.DUAL)]
    reached = [each for each in found if not each.is_loopback] or found
    four = [str(each.ipv4_mapped) for each in reached if each.ipv4_mapped is not None]
    six = [str(each) for each in reached if each.ipv4_mapped is None]
    if four:
        yield record_set(owner, "A", TTL_S, four)
    if six:
        yield record_set(owner, "AAAA", TTL_S, six)


def _pointer(at: ipaddress.IPv6Address, to: str) -> RecordSet:
    return record_set(at.reverse_pointer, "PTR", TTL_S, [f"{to}."])


def _strings(texts: Iterable[str]) -> str:
    return " ".join(f'"{each}"' for each in texts)
