"""Leased memory: a region of bytes in another machine, with an address.

Control goes through the own node; the bytes go straight to the provider over STOQ.
"""

from __future__ import annotations

from types import TracebackType

from hypermesh.crypto.keys import QuantumKeys
from hypermesh.sdk.rest import Rest
from hypermesh.stoq.endpoint import Endpoint
from hypermesh.stoq.region import RemoteRegion
from hypermesh.stoq.trust import Identity, TrustPolicy
from hypermesh.wire.address import GlobalAddress
from hypermesh.wire.api import AllocateAsset, AssetView, LeaseView, Page, SessionView
from hypermesh.wire.asset import AssetKind, AssetState, LeaseState
from hypermesh.wire.errors import NotFound
from hypermesh.wire.rpc import ALPN_SESSION

CONNECT_TIMEOUT_MS = 10_000


class LeasedRegion:
    """A region under an active lease. Closing it settles the lease, unless it was `keep`-opened."""

    def __init__(self, rest: Rest, session: SessionView, *, keep: bool) -> None:
        self._rest = rest
        self._keep = keep
        self.lease: LeaseView = session.lease
        keys = QuantumKeys.from_secret_bytes(bytes.fromhex(session.secret))
        trust = session.trust
        policy = TrustPolicy(
            network=bytes.fromhex(trust.genesis),
            roots=[bytes.fromhex(trust.root)],
            issuers=[bytes.fromhex(trust.issuing)],
            revoked=[],
            version=0,
        )
        lease = self.lease
        if lease.host is None or lease.port is None:
            raise NotFound(f"No locator is known for the provider of lease {lease.lease}")
        self._endpoint = Endpoint.bind("::", policy=policy, identity=Identity.of_keys(keys))
        self._connection = self._endpoint.connect(
            lease.host,
            lease.port,
            peer=bytes.fromhex(lease.provider),
            alpn=ALPN_SESSION,
            timeout_ms=CONNECT_TIMEOUT_MS,
        )
        self.region = RemoteRegion(self._connection, bytes.fromhex(lease.lease)[:16], lease.epoch)

    @property
    def address(self) -> GlobalAddress:
        return GlobalAddress.parse(self.lease.address)

    def __len__(self) -> int:
        return self.lease.amount

    def read(self, offset: int, length: int) -> bytes:
        return self.region.read(offset, length)

    def write(self, offset: int, data: bytes | bytearray | memoryview) -> None:
        self.region.write(offset, data)

    def compare_and_swap(self, offset: int, expected: int, desired: int) -> tuple[bool, int]:
        """Swap the aligned 8-byte little-endian word at `offset`; (done, the word before)."""
        before = self.region.compare_and_swap(offset, expected, desired)
        return before == expected, before

    def __getitem__(self, place: slice) -> bytes:
        start, stop, step = place.indices(len(self))
        if step != 1:
            raise ValueError("a region is read in contiguous slices")
        return self.read(start, max(0, stop - start))

    def __setitem__(self, place: slice, data: bytes) -> None:
        start, stop, step = place.indices(len(self))
        if step != 1 or stop - start != len(data):
            raise ValueError(f"the slice has {stop - start} bytes and the data {len(data)}")
        self.write(start, data)

    def close(self) -> LeaseView | None:
        """Close the connection; settle the lease unless it is kept. Returns the settled lease."""
        self._connection.close()
        self._endpoint.close()
        if self._keep:
            return None
        return release(self._rest, self.lease)

    def __enter__(self) -> LeasedRegion:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()


class Memory:
    """`mesh.memory`."""

    def __init__(self, rest: Rest) -> None:
        self._rest = rest

    def lease(
        self,
        size: int,
        *,
        address: GlobalAddress | None = None,
        duration_ms: int = 600_000,
        keep: bool = False,
    ) -> LeasedRegion:
        """Lease `size` bytes, at `address` or at the first provider that has them free."""
        asset = address.asset_id.hex() if address else self._free(size).asset
        session = self._rest.request(
            SessionView,
            "PUT",
            f"/assets/{asset}/allocate",
            AllocateAsset(amount=size, duration_ms=duration_ms),
        )
        return LeasedRegion(self._rest, session, keep=keep)

    def open(self, address: GlobalAddress) -> LeasedRegion:
        """The region already leased at `address`; `NotFound` where there is none."""
        leases = self._rest.request(list[LeaseView], "GET", "/v1/leases")
        for lease in leases:
            if lease.asset == address.asset_id.hex() and lease.state is LeaseState.ACTIVE:
                session = self._rest.request(
                    SessionView, "GET", f"/v1/leases/{lease.lease}/session"
                )
                return LeasedRegion(self._rest, session, keep=True)
        raise NotFound(
            f"No active lease at {address}",
            fix="Put something there first: hm memory put ADDRESS FILE",
        )

    def _free(self, size: int) -> AssetView:
        page = self._rest.request(Page, "GET", "/assets", query={"kind": AssetKind.MEMORY})
        for asset in page.items:
            usable = asset.state is AssetState.AVAILABLE and not asset.mine
            if usable and (asset.free is None or asset.free >= size):
                return asset
        raise NotFound(
            f"No memory asset has {size} bytes free",
            why=f"{len(page.items)} memory assets are visible",
            fix="See `hm asset ls --kind memory`",
        )


def release(rest: Rest, lease: LeaseView) -> LeaseView:
    """Settle `lease` by its metered use."""
    return rest.request(
        LeaseView, "DELETE", f"/assets/{lease.asset}/release", query={"lease": lease.lease}
    )
