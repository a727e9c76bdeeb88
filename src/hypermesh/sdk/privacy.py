"""Who may see and lease the own assets, and on what terms: `mesh.privacy`."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator

from hypermesh.sdk.call import Call, given
from hypermesh.sdk.paging import walk, walk_async
from hypermesh.sdk.rest import AsyncRest, Rest
from hypermesh.wire.api.privacy import PrivacyChange, PrivacyPage, PrivacyPreview, PrivacyView


def page(cursor: str | None = None) -> Call[PrivacyPage]:
    return Call(PrivacyPage, "GET", "/privacy/settings", query=given(cursor=cursor))


def change(wanted: PrivacyChange) -> Call[PrivacyView]:
    return Call(PrivacyView, "PUT", "/privacy/level", wanted)


def preview(wanted: PrivacyChange) -> Call[PrivacyPreview]:
    return Call(PrivacyPreview, "PUT", "/privacy/level", wanted, query={"preview": "true"})


class Privacy:
    """`mesh.privacy`."""

    def __init__(self, rest: Rest) -> None:
        self._rest = rest

    def settings(self) -> Iterator[PrivacyView]:
        """The terms of this owner's assets, wherever they are hosted."""
        return walk(self._rest, page)

    def change(self, wanted: PrivacyChange) -> PrivacyView:
        """Change who may see and lease an own asset, and on what terms; what is absent stays."""
        return self._rest.run(change(wanted))

    def preview(self, wanted: PrivacyChange) -> PrivacyPreview:
        """What such a change would do: who could see and lease the asset. Nothing is changed."""
        return self._rest.run(preview(wanted))


class AsyncPrivacy:
    """As `Privacy`, for asyncio."""

    def __init__(self, rest: AsyncRest) -> None:
        self._rest = rest

    def settings(self) -> AsyncIterator[PrivacyView]:
        """As `Privacy.settings`."""
        return walk_async(self._rest, page)

    async def change(self, wanted: PrivacyChange) -> PrivacyView:
        """As `Privacy.change`."""
        return await self._rest.run(change(wanted))

    async def preview(self, wanted: PrivacyChange) -> PrivacyPreview:
        """As `Privacy.preview`."""
        return await self._rest.run(preview(wanted))
