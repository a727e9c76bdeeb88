"""GlobalAddress: where a service of an asset is, whichever relay or path leads there.

    network_prefix 8 B | node_id 8 B | asset_id 16 B | service_port u16        34 bytes, big-endian

The prefix is a ULA (RFC 4193): `fd`, 40 bits of the genesis id, a 16-bit subnet (0 for now). The
node part only routes: a dialler resolves it to all 32 bytes of the NodeId and compares them.
"""

from __future__ import annotations

import ipaddress
import re
import struct

import msgspec

from hypermesh.wire.errors import InvalidInput
from hypermesh.wire.ids import AssetId, GenesisId, NodeId

SIZE = 34
_LAYOUT = struct.Struct(">8s8s16sH")
_TEXT = re.compile(r"hm://([0-9a-f]{16})\.([0-9a-f]{16})\.([0-9a-f]{32}):(0|[1-9][0-9]{0,4})")


class GlobalAddress(msgspec.Struct, frozen=True, array_like=True, order=True):
    """One service of one asset on one network."""

    network_prefix: bytes
    node_id: bytes
    asset_id: AssetId
    service_port: int

    def __post_init__(self) -> None:
        if (len(self.network_prefix), len(self.node_id), len(self.asset_id)) != (8, 8, 16):
            raise InvalidInput("A GlobalAddress has parts of 8, 8 and 16 bytes")
        if self.network_prefix[0] != 0xFD:
            raise InvalidInput("The network prefix of a GlobalAddress begins with the byte fd")
        if not 0 <= self.service_port <= 0xFFFF:
            raise InvalidInput(f"{self.service_port} is not a service port (0 to 65535)")

    @classmethod
    def of(
        cls, genesis: GenesisId, node: NodeId, asset: AssetId, service_port: int
    ) -> GlobalAddress:
        """The address of a service of `asset`, hosted by `node` on the network of `genesis`."""
        return cls(network_prefix(genesis), node[:8], asset, service_port)

    @classmethod
    def unpack(cls, data: bytes) -> GlobalAddress:
        """The address in 34 big-endian bytes."""
        if len(data) != SIZE:
            raise InvalidInput(f"A GlobalAddress has {SIZE} bytes, not {len(data)}")
        return cls(*_LAYOUT.unpack(data))

    @classmethod
    def parse(cls, text: str) -> GlobalAddress:
        """The address in the text form `hm://<prefix>.<node>.<asset>:<port>`."""
        found = _TEXT.fullmatch(text)
        if found is None:
            raise InvalidInput(
                f"{text[:120]!r} is not a GlobalAddress",
                why="expected hm://<16 hex>.<16 hex>.<32 hex>:<port>",
                fix="Copy an address from `hm asset ls`",
            )
        prefix, node, asset, port = found.groups()
        return cls(bytes.fromhex(prefix), bytes.fromhex(node), bytes.fromhex(asset), int(port))

    def pack(self) -> bytes:
        """34 big-endian bytes."""
        return _LAYOUT.pack(self.network_prefix, self.node_id, self.asset_id, self.service_port)

    def __str__(self) -> str:
        return (
            f"hm://{self.network_prefix.hex()}.{self.node_id.hex()}"
            f".{self.asset_id.hex()}:{self.service_port}"
        )

    @property
    def dns_name(self) -> str:
        """`<asset>.<node>.<network>.hm.internal`; it names the asset, not the service."""
        network = self.network_prefix[1:6].hex()
        return f"{self.asset_id.hex()}.{self.node_id.hex()}.{network}.hm.internal"

    def ipv6_view(self, slot: int) -> ipaddress.IPv6Address:
        """A lossy IPv6 form: prefix, 6 bytes of the NodeId, the slot given at registration.

        Only the registry of the hosting node can resolve it back.
        """
        return ipaddress.IPv6Address(
            self.network_prefix + self.node_id[:6] + slot.to_bytes(2, "big")
        )


def network_prefix(genesis: GenesisId) -> bytes:
    """`fd`, 40 bits of the genesis id, subnet 0."""
    return b"\xfd" + genesis[:5] + b"\x00\x00"
