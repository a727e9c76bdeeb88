"""External account bindings (RFC 8555 section 7.3.4) from the command line, beside a running
server."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Iterator

import msgspec

from hypermesh.standalone.trust.errors import BindingUnknown
from hypermesh.standalone.trust.founding import Directory
from hypermesh.standalone.trust.parts import now_s
from hypermesh.standalone.trust.settings import read_settings
from hypermesh.standalone.trust.stores import stores_of
from hypermesh.trustchain.acme.accounts import Accounts, NewBinding
from hypermesh.trustchain.acme.places import Places
from hypermesh.trustchain.acme.policy import Policy
from hypermesh.trustchain.acme.store import AccountStatus, Binding, Store, Tables

PAGE = 500


@contextlib.contextmanager
def store_of(directory: Directory) -> Iterator[Store]:
    """The ACME server's store in `directory`."""
    store = stores_of(directory, read_settings(directory.settings)).orders(serves=False)
    try:
        yield store
    finally:
        store.close()


def create(store: Store, label: str) -> NewBinding:
    """A key for one external account, durable and shown this once. Raises `BindingsFull`."""
    policy = Policy("")
    accounts = Accounts(store, policy, Places(policy.url), now_s)
    return asyncio.run(accounts.new_binding(label))


def listed(store: Store) -> Iterator[Binding]:
    """All, by their kids."""
    after = ""
    while page := store.read(lambda tables: tables.bindings_from(after, PAGE)):  # noqa: B023
        yield from page
        after = page[-1].kid


def drop(store: Store, kid: str) -> Binding:
    """Nobody is bound by the key `kid` any more, durably: it is forgotten, and the account that was
    made with it is deactivated (RFC 8555 section 7.3.6). Raises `BindingUnknown`."""

    def gone(tables: Tables) -> Binding:
        found = tables.binding(kid)
        if found is None:
            raise BindingUnknown(f"There is no external account {kid[:80]!r}")
        account = None if found.account is None else tables.account(found.account)
        if account is not None:
            ended = msgspec.structs.replace(account, status=AccountStatus.DEACTIVATED)
            tables.put_account(ended)
        tables.drop_binding(kid)
        return found

    return asyncio.run(_written(store, gone))


async def _written(store: Store, work: Callable[[Tables], Binding]) -> Binding:
    return await store.write(work)
