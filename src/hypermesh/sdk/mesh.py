"""The mesh as its owner sees it from one of the own machines: `Mesh`, and `AsyncMesh` for asyncio.

Each noun is an attribute. The twins have the same nouns, and the nouns the same methods.
"""

from __future__ import annotations

import importlib
from collections.abc import Iterable
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any

from hypermesh.sdk.location import data_directory, socket_path
from hypermesh.sdk.remote import Remote
from hypermesh.sdk.rest import AsyncRest, Place, Rest
from hypermesh.wire.errors import InvalidInput

if TYPE_CHECKING:
    from hypermesh.sdk.account import Accounts, AsyncAccounts
    from hypermesh.sdk.asset import Assets, AsyncAssets
    from hypermesh.sdk.attempt import AsyncAttempts, Attempts
    from hypermesh.sdk.caesar import AsyncCaesar, Caesar
    from hypermesh.sdk.catalog import AsyncCatalog, Catalog
    from hypermesh.sdk.certificate import AsyncCertificates, Certificates
    from hypermesh.sdk.consensus import AsyncConsensus, Consensus
    from hypermesh.sdk.ct import AsyncCt, Ct
    from hypermesh.sdk.dns import AsyncDns, Dns
    from hypermesh.sdk.events import AsyncEvents, Events
    from hypermesh.sdk.inbox import AsyncInbox, Inbox
    from hypermesh.sdk.job import AsyncJobs, Jobs
    from hypermesh.sdk.lease import AsyncLeases, Leases
    from hypermesh.sdk.ledger import AsyncLedger, Ledger
    from hypermesh.sdk.memory import AsyncMemory, Memory
    from hypermesh.sdk.mfn import AsyncMfn, Mfn
    from hypermesh.sdk.network import AsyncNetwork, Network
    from hypermesh.sdk.parcel import AsyncParcels, Parcels
    from hypermesh.sdk.privacy import AsyncPrivacy, Privacy
    from hypermesh.sdk.receipt import AsyncReceipts, Receipts
    from hypermesh.sdk.stoq import AsyncStoq, Stoq
    from hypermesh.sdk.token import AsyncTokens, Tokens
    from hypermesh.sdk.transfer import AsyncTransfer, Transfer
    from hypermesh.sdk.trust import AsyncTrust, Trust
    from hypermesh.sdk.tunnel import AsyncTunnels, Tunnels

_MODULES = {
    "accounts": "account",
    "assets": "asset",
    "attempts": "attempt",
    "caesar": "caesar",
    "catalog": "catalog",
    "certificates": "certificate",
    "consensus": "consensus",
    "dns": "dns",
    "ct": "ct",
    "events": "events",
    "inbox": "inbox",
    "jobs": "job",
    "leases": "lease",
    "ledger": "ledger",
    "memory": "memory",
    "mfn": "mfn",
    "network": "network",
    "parcels": "parcel",
    "privacy": "privacy",
    "receipts": "receipt",
    "stoq": "stoq",
    "tokens": "token",
    "transfer": "transfer",
    "trust": "trust",
    "tunnels": "tunnel",
}


class _Nouns:
    """Loads a noun when it is first used: a command uses one or two, and what it imports is most
    of the time that it takes."""

    _prefix = ""
    rest: Any

    def __getattr__(self, name: str) -> Any:
        if name not in _MODULES:
            raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}")
        module = importlib.import_module(f"hypermesh.sdk.{_MODULES[name]}")
        noun = getattr(module, self._prefix + name.capitalize())(self.rest)
        setattr(self, name, noun)
        return noun

    def __dir__(self) -> Iterable[str]:
        return [*super().__dir__(), *_MODULES]


class Mesh(_Nouns):
    """A connection to the own node. Any number of threads may use it at once.

    with hm.connect() as mesh:
        print(mesh.network.status().name)
    """

    rest: Rest
    accounts: Accounts
    assets: Assets
    attempts: Attempts
    caesar: Caesar
    catalog: Catalog
    certificates: Certificates
    consensus: Consensus
    dns: Dns
    ct: Ct
    events: Events
    inbox: Inbox
    jobs: Jobs
    leases: Leases
    ledger: Ledger
    memory: Memory
    mfn: Mfn
    network: Network
    parcels: Parcels
    privacy: Privacy
    receipts: Receipts
    stoq: Stoq
    tokens: Tokens
    transfer: Transfer
    trust: Trust
    tunnels: Tunnels

    def __init__(self, place: Place) -> None:
        self.rest = Rest(place)

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


class AsyncMesh(_Nouns):
    """As `Mesh`, for the tasks of one event loop.

    async with hm.connect_async() as mesh:
        print((await mesh.network.status()).name)
    """

    _prefix = "Async"

    rest: AsyncRest
    accounts: AsyncAccounts
    assets: AsyncAssets
    attempts: AsyncAttempts
    caesar: AsyncCaesar
    catalog: AsyncCatalog
    certificates: AsyncCertificates
    consensus: AsyncConsensus
    dns: AsyncDns
    ct: AsyncCt
    events: AsyncEvents
    inbox: AsyncInbox
    jobs: AsyncJobs
    leases: AsyncLeases
    ledger: AsyncLedger
    memory: AsyncMemory
    mfn: AsyncMfn
    network: AsyncNetwork
    parcels: AsyncParcels
    privacy: AsyncPrivacy
    receipts: AsyncReceipts
    stoq: AsyncStoq
    tokens: AsyncTokens
    transfer: AsyncTransfer
    trust: AsyncTrust
    tunnels: AsyncTunnels

    def __init__(self, place: Place) -> None:
        self.rest = AsyncRest(place)

    async def close(self) -> None:
        """As `Mesh.close`."""
        await self.rest.close()

    async def __aenter__(self) -> AsyncMesh:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self.close()


def connect(
    data: Path | str | None = None,
    *,
    url: str | None = None,
    token: str | None = None,
    root: Path | str | None = None,
    server_name: str | None = None,
) -> Mesh:
    """Connect to the node whose data is in `data` (by default the user's own node), or from another
    machine to the node at `url`, with a `token` of it and the file of its network's `root`
    certificate; `server_name` is the name in its certificate, where that is not the host in `url`.
    `hm token create` prints all of them.

    Nothing is sent before the first call, which raises `NodeNotRunning` where no node answers.

    with hm.connect() as mesh:
        print(mesh.network.status().name)
    """
    return Mesh(_place(data, url, token, root, server_name))


def connect_async(
    data: Path | str | None = None,
    *,
    url: str | None = None,
    token: str | None = None,
    root: Path | str | None = None,
    server_name: str | None = None,
) -> AsyncMesh:
    """As `connect`, for asyncio. It needs no `await`: `async with hm.connect_async() as mesh`."""
    return AsyncMesh(_place(data, url, token, root, server_name))


def _place(
    data: Path | str | None,
    url: str | None,
    token: str | None,
    root: Path | str | None,
    server_name: str | None,
) -> Place:
    if url is None:
        if token is not None or root is not None or server_name is not None:
            raise InvalidInput("A token, root or server name belongs to a url", fix="Say the url")
        return socket_path(data_directory(None if data is None else Path(data)))
    if data is not None or token is None or root is None:
        raise InvalidInput(
            "A node at a url is reached with its token and its network's root, and no directory",
            fix="hm.connect(url=..., token=..., root=FILE)",
        )
    try:
        certificate = Path(root).read_text()
    except (OSError, UnicodeDecodeError) as error:
        raise InvalidInput(f"The root {root} cannot be read", why=str(error)) from error
    return Remote.of(url, token=token, root=certificate, server_name=server_name)
