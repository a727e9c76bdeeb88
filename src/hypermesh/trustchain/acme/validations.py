"""Challenges being validated: bounded, retried (RFC 8555 section 8.2), taken up after a crash.

That a challenge waits to be validated is a durable row, so what is here is only the work on it.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Callable, Iterator
from typing import Protocol

from hypermesh.trustchain.acme.identifier import Identifier
from hypermesh.trustchain.acme.order import (
    Authorization,
    AuthorizationStatus,
    Challenge,
    aged,
    missed,
    settled,
    validated,
)
from hypermesh.trustchain.acme.policy import Policy
from hypermesh.trustchain.acme.problem import AcmeProblem, AcmeRefusal, Kind
from hypermesh.trustchain.acme.store import Account, AccountStatus, Store, Tables
from hypermesh.trustchain.acme.tasks import cancelled
from hypermesh.wire.errors import HyperMeshError, Overloaded

STORE_PAUSE_S = 1.0
STORE_TRIES_MAX = 30
SEEN_WAIT_S = 1.0
"""How long the answer to a client that has met a challenge waits for the first look at it."""
WATCHING_MAX = 64
"""Answers that wait so."""

log = logging.getLogger(__name__)


class Looking(Protocol):
    """What looks at a challenge."""

    async def check(self, identifier: Identifier, challenge: Challenge, thumbprint: bytes) -> None:
        """Raises `AcmeRefusal` unless the challenge is met."""
        ...


class Validations:
    """The validations of one server, in the event loop that calls `start`."""

    def __init__(
        self, store: Store, probe: Looking, policy: Policy, clock: Callable[[], int]
    ) -> None:
        self._store = store
        self._probe = probe
        self._policy = policy
        self._now_s = clock
        self._workers = asyncio.Semaphore(policy.validation.workers)
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self._hurries: dict[str, asyncio.Event] = {}
        self._seen: dict[str, asyncio.Event] = {}
        self._reserved = 0
        self._watching = 0

    def start(self) -> None:
        """Take up what waits."""
        limit = self._policy.limits.validations
        for id_ in self._store.read(lambda tables: tables.authorizations_processing(limit)):
            if id_ not in self._tasks:
                self.take(id_)

    @contextlib.contextmanager
    def room(self) -> Iterator[None]:
        """Room for one more while the block runs. Raises `Overloaded`."""
        if len(self._tasks) + self._reserved >= self._policy.limits.validations:
            raise Overloaded("As many challenges are being validated as may")
        self._reserved += 1
        try:
            yield
        finally:
            self._reserved -= 1

    def take(self, id_: str) -> None:
        """Validate the authorization of this id; where that is under way, look again at once."""
        if id_ in self._tasks:
            self._hurries[id_].set()
            return
        self._hurries[id_] = asyncio.Event()
        self._seen[id_] = asyncio.Event()
        task = asyncio.create_task(self._validate(id_), name="acme-validation")
        self._tasks[id_] = task
        task.add_done_callback(lambda _: self._forget(id_))

    async def seen(self, id_: str) -> None:
        """Wait until the authorization of this id has been looked at once since it was taken, but
        `SEEN_WAIT_S` at most, and not at all where `WATCHING_MAX` callers wait already."""
        event = self._seen.get(id_)
        if event is None or self._watching >= WATCHING_MAX:
            return
        self._watching += 1
        try:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(SEEN_WAIT_S):
                    await event.wait()
        finally:
            self._watching -= 1

    async def close(self) -> None:
        """Stop; what waits is taken up by the next `start`."""
        await cancelled(list(self._tasks.values()))

    def _forget(self, id_: str) -> None:
        self._seen[id_].set()
        del self._tasks[id_], self._hurries[id_], self._seen[id_]

    async def _validate(self, id_: str) -> None:
        tries = 0
        while tries < STORE_TRIES_MAX:
            try:
                if not await self._attempt(id_):
                    return
            except HyperMeshError as error:
                tries += 1
                log.warning("a validation cannot be recorded: %s", error)
                await asyncio.sleep(STORE_PAUSE_S)

    async def _attempt(self, id_: str) -> bool:
        """One look. Whether there is to be another."""
        found = self._store.read(lambda tables: _waiting(tables, id_, self._now_s()))
        if found is None:
            return False
        authorization, challenge, account = found
        hurry = self._hurries[id_]
        hurry.clear()
        async with self._workers:
            problem = await self._looked(authorization, challenge, account)
        pause_s = await self._store.write(lambda tables: self._record(tables, id_, problem))
        self._seen[id_].set()
        if pause_s is None:
            return False
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(pause_s):
                await hurry.wait()
        return True

    async def _looked(
        self, authorization: Authorization, challenge: Challenge, account: Account
    ) -> AcmeProblem | None:
        try:
            await self._probe.check(authorization.identifier, challenge, account.thumbprint)
        except AcmeRefusal as refusal:
            return refusal.kept
        except Exception:
            log.exception("a validation by %s failed", challenge.kind)
            return AcmeProblem(Kind.SERVER_INTERNAL, "The server failed on this validation")
        return None

    def _record(self, tables: Tables, id_: str, problem: AcmeProblem | None) -> float | None:
        """Write down how it went. Seconds until the next attempt, where there is one."""
        now_s = self._now_s()
        found = _waiting(tables, id_, now_s)
        if found is None:
            return None
        before, challenge, account = found
        pauses_s = self._policy.validation.pauses_s
        if problem is None:
            after = validated(before, now_s, self._policy.authorization_lifetime_s)
        else:
            after = missed(before, problem, len(pauses_s) + 1)
        tables.put_authorization(after)
        if after.status is AuthorizationStatus.PENDING:
            return pauses_s[challenge.attempts]
        if after.status is AuthorizationStatus.INVALID:
            tables.add_failure(account.id, before.identifier.value, now_s)
        settle(tables, after.order, now_s)
        return None


def settle(tables: Tables, id_: str, now_s: int) -> None:
    """Write the order down as its authorizations make it."""
    order = tables.order(id_)
    if order is None:
        return
    siblings = [tables.authorization(each) for each in order.authorizations]
    after = settled(order, [each for each in siblings if each is not None], now_s)
    if after is not order:
        tables.put_order(after)


def _waiting(
    tables: Tables, id_: str, now_s: int
) -> tuple[Authorization, Challenge, Account] | None:
    """The authorization, while a challenge of it is to be validated."""
    authorization = tables.authorization(id_)
    if authorization is None:
        return None
    authorization = aged(authorization, now_s)
    challenge = authorization.answered
    account = tables.account(authorization.account)
    if authorization.status is not AuthorizationStatus.PENDING or challenge is None:
        return None
    if account is None or account.status is not AccountStatus.VALID:
        return None
    return authorization, challenge, account
