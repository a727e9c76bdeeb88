"""One ACME server, put together: an ASGI application and what works behind it."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

from hypermesh.trustchain.acme.accounts import Accounts
from hypermesh.trustchain.acme.application import Application
from hypermesh.trustchain.acme.certificates import Certificates
from hypermesh.trustchain.acme.issuance import Issuance
from hypermesh.trustchain.acme.issuer import Issuer
from hypermesh.trustchain.acme.nonces import Nonces
from hypermesh.trustchain.acme.orders import Orders
from hypermesh.trustchain.acme.places import Places
from hypermesh.trustchain.acme.policy import HOUR_S, Policy
from hypermesh.trustchain.acme.probe import Probe
from hypermesh.trustchain.acme.resolver import DnsResolver, Resolver
from hypermesh.trustchain.acme.store import Store
from hypermesh.trustchain.acme.tasks import cancelled
from hypermesh.trustchain.acme.validations import Validations
from hypermesh.wire.errors import HyperMeshError

SWEEP_S = 60.0
SWEPT_TOGETHER = 500
LOOKUP_THREADS = 4

log = logging.getLogger(__name__)


def _now_s() -> int:
    return int(time.time())


class AcmeServer:
    """Made outside an event loop or in it; `start` and `close` run in the one that serves
    `application`. The store and the issuer are the caller's to close, after this."""

    def __init__(
        self,
        store: Store,
        issuer: Issuer,
        policy: Policy,
        resolver: Resolver | None = None,
        clock: Callable[[], int] = _now_s,
    ) -> None:
        validation = policy.validation
        asked = resolver or DnsResolver(validation.resolver, validation.resolver_port)
        places = Places(policy.url)
        self._store = store
        self._policy = policy
        self._now_s = clock
        self._pool = ThreadPoolExecutor(LOOKUP_THREADS, thread_name_prefix="acme-find")
        self._probe = Probe(validation, asked)
        self._validations = Validations(store, self._probe, policy, clock)
        self._issuance = Issuance(store, issuer, policy, clock)
        self.accounts = Accounts(store, policy, places, clock)
        orders = Orders(
            store,
            issuer,
            asked,
            self._validations,
            self._issuance,
            policy,
            places,
            clock,
            self._pool,
        )
        certificates = Certificates(store, issuer, clock, self._pool)
        self.application = Application(
            self.accounts, orders, certificates, issuer, Nonces(), policy, places
        )
        self._sweeper: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Take up what a former process left unfinished."""
        self._validations.start()
        self._issuance.start()
        self._sweeper = asyncio.create_task(self._sweep(), name="acme-sweep")

    async def close(self) -> None:
        """Stop; nothing that was answered is lost."""
        if self._sweeper is not None:
            await cancelled([self._sweeper])
        await self._validations.close()
        await self._issuance.close()
        self._pool.shutdown()

    async def expire(self) -> int:
        """Remove what ended long enough ago. How many rows."""
        now_s = self._now_s()
        before_s = now_s - self._policy.kept_s
        removed = 0
        while True:
            gone = await self._store.write(
                lambda tables: tables.expire(before_s, before_s, now_s - HOUR_S, SWEPT_TOGETHER)
            )
            removed += gone
            if gone < SWEPT_TOGETHER:
                return removed

    async def _sweep(self) -> None:
        while True:
            try:
                await self.expire()
                # Those whose store was away for longer than they wait for it.
                self._validations.start()
                self._issuance.start()
            except HyperMeshError as error:
                log.warning("the store is not swept: %s", error)
            await asyncio.sleep(SWEEP_S)
