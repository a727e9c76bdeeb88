"""Accounts and payments: `mesh.accounts`."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator

from hypermesh.sdk.call import Call, given
from hypermesh.sdk.paging import walk, walk_async
from hypermesh.sdk.rest import AsyncRest, Rest
from hypermesh.wire.api.account import AccountView, EntryPage, EntryView, TransferRequest
from hypermesh.wire.api.ledger import TransactionView


def get(owner: str = "me") -> Call[AccountView]:
    return Call(AccountView, "GET", f"/v1/accounts/{owner}")


def entries(owner: str = "me", cursor: str | None = None) -> Call[EntryPage]:
    return Call(EntryPage, "GET", f"/v1/accounts/{owner}/entries", query=given(cursor=cursor))


def transfer(to: str, amount: int, memo: str = "") -> Call[TransactionView]:
    body = TransferRequest(to=to, amount=amount, memo=memo)
    return Call(TransactionView, "POST", "/v1/accounts/transfer", body, once=True)


class Accounts:
    """`mesh.accounts`."""

    def __init__(self, rest: Rest) -> None:
        self._rest = rest

    def get(self, owner: str = "me") -> AccountView:
        """An account by its owner's id in hex; the own one by default.

        mesh.accounts.get().balance
        """
        return self._rest.run(get(owner))

    def entries(self, owner: str = "me") -> Iterator[EntryView]:
        """Why an account has what it has: every movement, newest first. They add up to it.

        assert sum(e.change.balance for e in mesh.accounts.entries()) == mesh.accounts.get().balance
        """
        return walk(self._rest, lambda cursor: entries(owner, cursor))

    def transfer(self, to: str, amount: int, memo: str = "") -> TransactionView:
        """Pay `amount` nCAES from the own account to owner `to`; durable when this returns."""
        return self._rest.run(transfer(to, amount, memo))


class AsyncAccounts:
    """As `Accounts`, for asyncio."""

    def __init__(self, rest: AsyncRest) -> None:
        self._rest = rest

    async def get(self, owner: str = "me") -> AccountView:
        """As `Accounts.get`."""
        return await self._rest.run(get(owner))

    def entries(self, owner: str = "me") -> AsyncIterator[EntryView]:
        """As `Accounts.entries`."""
        return walk_async(self._rest, lambda cursor: entries(owner, cursor))

    async def transfer(self, to: str, amount: int, memo: str = "") -> TransactionView:
        """As `Accounts.transfer`."""
        return await self._rest.run(transfer(to, amount, memo))
