"""The mesh as its owner sees it from one of the own machines: `Mesh`, and `AsyncMesh` for asyncio.

Each noun is an attribute. The twins have the same nouns, and the nouns the same methods.
"""

from __future__ import annotations

from functools import cached_property
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING

from hypermesh.sdk.account import Accounts, AsyncAccounts
from hypermesh.sdk.asset import Assets, AsyncAssets
from hypermesh.sdk.attempt import AsyncAttempts, Attempts
from hypermesh.sdk.consensus import AsyncConsensus, Consensus
from hypermesh.sdk.job import AsyncJobs, Jobs
from hypermesh.sdk.lease import AsyncLeases, Leases
from hypermesh.sdk.ledger import AsyncLedger, Ledger
from hypermesh.sdk.location import data_directory, socket_path
from hypermesh.sdk.network import AsyncNetwork, Network
from hypermesh.sdk.privacy import AsyncPrivacy, Privacy
from hypermesh.sdk.receipt import AsyncReceipts, Receipts
from hypermesh.sdk.rest import AsyncRest, Rest
from hypermesh.sdk.threads import Threads
from hypermesh.sdk.token import AsyncTokens, Tokens

if TYPE_CHECKING:
    from hypermesh.sdk.events import AsyncEvents, Events
    from hypermesh.sdk.memory import AsyncMemory, Memory


class Mesh:
    """A connection to the own node. Any number of threads may use it at once.

    with hm.connect() as mesh:
        print(mesh.network.status().name)
    """

    def __init__(self, socket: Path) -> None:
        self.rest = Rest(socket)
        self.accounts = Accounts(self.rest)
        self.assets = Assets(self.rest)
        self.attempts = Attempts(self.rest)
        self.consensus = Consensus(self.rest)
        self.jobs = Jobs(self.rest)
        self.leases = Leases(self.rest)
        self.ledger = Ledger(self.rest)
        self.network = Network(self.rest)
        self.privacy = Privacy(self.rest)
        self.receipts = Receipts(self.rest)
        self.tokens = Tokens(self.rest)

    @cached_property
    def events(self) -> Events:
        """What happens, as it happens."""
        from hypermesh.sdk.events import Events

        return Events(self.rest)

    @cached_property
    def memory(self) -> Memory:
        """Memory of other machines."""
        # STOQ and the keys take longer to load than most commands of `hm` run.
        from hypermesh.sdk.memory import Memory

        return Memory(self.rest)

    def close(self) -> None:
        """Close the connections to the node. What is leased stays leased."""
        self.rest.close()

    def __enter__(self) -> Mesh:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()


class AsyncMesh:
    """As `Mesh`, for the tasks of one event loop.

    async with hm.connect_async() as mesh:
        print((await mesh.network.status()).name)
    """

    def __init__(self, socket: Path) -> None:
        self.rest = AsyncRest(socket)
        self._threads = Threads()
        self.accounts = AsyncAccounts(self.rest)
        self.assets = AsyncAssets(self.rest)
        self.attempts = AsyncAttempts(self.rest)
        self.consensus = AsyncConsensus(self.rest)
        self.jobs = AsyncJobs(self.rest)
        self.leases = AsyncLeases(self.rest)
        self.ledger = AsyncLedger(self.rest)
        self.network = AsyncNetwork(self.rest)
        self.privacy = AsyncPrivacy(self.rest)
        self.receipts = AsyncReceipts(self.rest)
        self.tokens = AsyncTokens(self.rest)

    @cached_property
    def events(self) -> AsyncEvents:
        """As `Mesh.events`."""
        from hypermesh.sdk.events import AsyncEvents

        return AsyncEvents(self.rest)

    @cached_property
    def memory(self) -> AsyncMemory:
        """As `Mesh.memory`."""
        from hypermesh.sdk.memory import AsyncMemory

        return AsyncMemory(self.rest, self._threads)

    async def close(self) -> None:
        """As `Mesh.close`."""
        await self.rest.close()
        self._threads.close()

    async def __aenter__(self) -> AsyncMesh:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self.close()


def connect(data: Path | str | None = None) -> Mesh:
    """Connect to the node whose data is in `data` (by default the user's own node).

    Nothing is sent before the first call, which raises `NodeNotRunning` where no node answers.
    """
    return Mesh(socket_path(data_directory(None if data is None else Path(data))))


def connect_async(data: Path | str | None = None) -> AsyncMesh:
    """As `connect`, for asyncio. It needs no `await`: `async with hm.connect_async() as mesh`."""
    return AsyncMesh(socket_path(data_directory(None if data is None else Path(data))))
