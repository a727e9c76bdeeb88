"""Other networks: whom this one lets in, and what follows: `mesh.trust`."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator

from hypermesh.sdk.call import Call, given
from hypermesh.sdk.paging import walk, walk_async
from hypermesh.sdk.rest import AsyncRest, Rest
from hypermesh.wire.api.ledger import TransactionView
from hypermesh.wire.api.trust import (
    IntroductionView,
    PartnerAssetPage,
    PartnerAssetView,
    PartnerFollowRequest,
    PartnerFollowView,
    PartnerPage,
    PartnerPreview,
    PartnerRequest,
    PartnerView,
    WhatIfView,
)


def page(cursor: str | None = None) -> Call[PartnerPage]:
    return Call(PartnerPage, "GET", "/v1/trust", query=given(cursor=cursor))


def introduction() -> Call[IntroductionView]:
    return Call(IntroductionView, "GET", "/v1/trust/introduction")


def add(wanted: PartnerRequest) -> Call[TransactionView]:
    return Call(TransactionView, "POST", "/v1/trust", wanted, once=True)


def preview(wanted: PartnerRequest) -> Call[PartnerPreview]:
    return Call(PartnerPreview, "POST", "/v1/trust", wanted, query={"preview": "true"})


def drop(network: str, reason: str) -> Call[TransactionView]:
    path = f"/v1/trust/{network}"
    return Call(TransactionView, "DELETE", path, query={"reason": reason}, once=True)


def follow(
    network: str, host: str | None = None, port: int | None = None
) -> Call[PartnerFollowView]:
    wanted = PartnerFollowRequest(host=host, port=port)
    path = f"/v1/trust/{network}/follow"
    return Call(PartnerFollowView, "POST", path, wanted, once=True)


def assets(network: str, cursor: str | None = None) -> Call[PartnerAssetPage]:
    path = f"/v1/trust/{network}/assets"
    return Call(PartnerAssetPage, "GET", path, query=given(cursor=cursor))


def whatif(revoke: str) -> Call[WhatIfView]:
    return Call(WhatIfView, "GET", "/v1/trust/whatif", query={"revoke": revoke}, timeout_s=120.0)


class Trust:
    """`mesh.trust`."""

    def __init__(self, rest: Rest) -> None:
        self._rest = rest

    def list(self) -> Iterator[PartnerView]:
        """The networks that this one lets in: which nodes, for what, until when, and how it stands.

        [each.name for each in mesh.trust.list()]
        """
        return walk(self._rest, page)

    def introduction(self) -> IntroductionView:
        """What another network needs to let this one's nodes in. Nothing in it is secret.

        mesh.trust.introduction().network
        """
        return self._rest.run(introduction())

    def preview(self, wanted: PartnerRequest) -> PartnerPreview:
        """What would follow from `add`, in words too. Nothing is changed."""
        return self._rest.run(preview(wanted))

    def add(self, wanted: PartnerRequest) -> TransactionView:
        """Let nodes of another network in, or change on what terms; on the ledger when this
        returns. The network's founder may, on the node that founded it."""
        return self._rest.run(add(wanted))

    def drop(self, network: str, reason: str = "dropped") -> TransactionView:
        """Let nodes of the network with that id in no more; their connections end. Everybody can
        read the reason, at most 200 characters."""
        return self._rest.run(drop(network, reason))

    def follow(
        self, network: str, host: str | None = None, port: int | None = None
    ) -> PartnerFollowView:
        """Ask the partner with that id what it is now, at an address or where it is listed, and
        follow it: to another place, and to an issuing CA that its root has signed. What was agreed
        stays. On the node that founded the network."""
        return self._rest.run(follow(network, host, port))

    def assets(self, network: str) -> Iterator[PartnerAssetView]:
        """What a partner shows to anyone of its assets, asked of it now."""
        return walk(self._rest, lambda cursor: assets(network, cursor))

    def whatif(self, revoke: str) -> WhatIfView:
        """Every connection that this node recorded and that would have failed, had `revoke` been
        revoked: a node or a partner by its id, `root`, `issuing`, or the SHA-256 of a CA's
        certificate. Nothing is revoked.

        mesh.trust.whatif("issuing").failed
        """
        return self._rest.run(whatif(revoke))


class AsyncTrust:
    """As `Trust`, for asyncio."""

    def __init__(self, rest: AsyncRest) -> None:
        self._rest = rest

    def list(self) -> AsyncIterator[PartnerView]:
        """As `Trust.list`."""
        return walk_async(self._rest, page)

    async def introduction(self) -> IntroductionView:
        """As `Trust.introduction`."""
        return await self._rest.run(introduction())

    async def preview(self, wanted: PartnerRequest) -> PartnerPreview:
        """As `Trust.preview`."""
        return await self._rest.run(preview(wanted))

    async def add(self, wanted: PartnerRequest) -> TransactionView:
        """As `Trust.add`."""
        return await self._rest.run(add(wanted))

    async def drop(self, network: str, reason: str = "dropped") -> TransactionView:
        """As `Trust.drop`."""
        return await self._rest.run(drop(network, reason))

    async def follow(
        self, network: str, host: str | None = None, port: int | None = None
    ) -> PartnerFollowView:
        """As `Trust.follow`."""
        return await self._rest.run(follow(network, host, port))

    def assets(self, network: str) -> AsyncIterator[PartnerAssetView]:
        """As `Trust.assets`."""
        return walk_async(self._rest, lambda cursor: assets(network, cursor))

    async def whatif(self, revoke: str) -> WhatIfView:
        """As `Trust.whatif`."""
        return await self._rest.run(whatif(revoke))
