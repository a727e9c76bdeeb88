"""Orders that wait for their certificate: bounded, retried, taken up after a crash.

That an order waits is a durable row with its CSR. The authority answers the same order with the
same certificate, so one that was issued before a crash is found again.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor

from cryptography import x509

from hypermesh.trustchain.acme.issuer import CertificateRequest, Issuer
from hypermesh.trustchain.acme.order import Order, OrderStatus, issued, refused
from hypermesh.trustchain.acme.policy import Policy
from hypermesh.trustchain.acme.problem import AcmeProblem, AcmeRefusal, Kind
from hypermesh.trustchain.acme.store import Certificate, Store, Tables
from hypermesh.trustchain.acme.tasks import cancelled
from hypermesh.wire.errors import HyperMeshError, Overloaded

THREADS = 8
PAUSES_S = (1.0, 2.0, 5.0, 10.0, 30.0)
"""Between an attempt that failed and the next; after the last the order is refused."""
STORE_PAUSE_S = 1.0
STORE_TRIES_MAX = 30
"""Of an order whose issuance cannot be recorded; it waits for the next `start` then."""

log = logging.getLogger(__name__)


class Issuance:
    """The issuance of one server, in the event loop that calls `start`."""

    def __init__(
        self, store: Store, issuer: Issuer, policy: Policy, clock: Callable[[], int]
    ) -> None:
        self._store = store
        self._issuer = issuer
        self._policy = policy
        self._now_s = clock
        self._pool = ThreadPoolExecutor(THREADS, thread_name_prefix="acme-issue")
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self._reserved = 0

    def start(self) -> None:
        """Take up what waits."""
        limit = self._policy.limits.issuances
        for id_ in self._store.read(lambda tables: tables.orders_processing(limit)):
            self.take(id_)

    @contextlib.contextmanager
    def room(self) -> Iterator[None]:
        """Room for one more while the block runs. Raises `Overloaded`."""
        if len(self._tasks) + self._reserved >= self._policy.limits.issuances:
            raise Overloaded("As many orders wait for their certificates as may")
        self._reserved += 1
        try:
            yield
        finally:
            self._reserved -= 1

    def take(self, id_: str) -> asyncio.Task[None]:
        """Issue what the order of this id waits for; the task ends with the order settled."""
        if id_ not in self._tasks:
            task = asyncio.create_task(self._issue(id_), name="acme-issuance")
            self._tasks[id_] = task
            task.add_done_callback(lambda _: self._tasks.pop(id_))
        return self._tasks[id_]

    async def close(self) -> None:
        """Stop; what waits is taken up by the next `start`."""
        await cancelled(list(self._tasks.values()))
        self._pool.shutdown()

    async def _issue(self, id_: str) -> None:
        pauses_s = iter(PAUSES_S)
        for _ in range(STORE_TRIES_MAX):
            try:
                while await self._attempt(id_, pauses_s):
                    pass
            except HyperMeshError as error:
                log.warning("an order cannot be recorded: %s", error)
                await asyncio.sleep(STORE_PAUSE_S)
            else:
                return

    async def _attempt(self, id_: str, pauses_s: Iterator[float]) -> bool:
        """Ask the authority, and write down what it says. Whether to ask again. Raises what the
        store raises: that says nothing of the order."""
        order = self._store.read(lambda tables: tables.order(id_))
        if order is None or order.status is not OrderStatus.PROCESSING:
            return False
        try:
            certificate = await self._issued(order)
        except HyperMeshError as error:
            problem, stands = _problem(error), error.status < 500
        except Exception:
            log.exception("an order cannot be issued")
            problem = AcmeProblem(Kind.SERVER_INTERNAL, "The server failed on this order")
            stands = False
        else:
            await self._store.write(lambda tables: _put(tables, certificate))
            return False
        pause_s = None if stands else next(pauses_s, None)
        if pause_s is None:
            await self._store.write(lambda tables: _refuse(tables, id_, problem))
            return False
        log.warning("an order waits for its certificate: %s", problem.detail)
        await asyncio.sleep(pause_s)
        return True

    async def _issued(self, order: Order) -> Certificate:
        request = CertificateRequest(
            order.id, order.account, order.csr or b"", order.identifiers, order.profile
        )
        loop = asyncio.get_running_loop()
        chain = await loop.run_in_executor(self._pool, self._issuer.issue, request, self._now_s())
        end = x509.load_der_x509_certificate(chain[0]).not_valid_after_utc
        return Certificate(order.id, order.account, tuple(chain), int(end.timestamp()))


def _put(tables: Tables, certificate: Certificate) -> None:
    order = tables.order(certificate.order)
    if order is None or order.status is not OrderStatus.PROCESSING:
        return
    tables.put_certificate(certificate)
    tables.put_order(issued(order))


def _refuse(tables: Tables, id_: str, problem: AcmeProblem) -> None:
    order = tables.order(id_)
    if order is not None and order.status is OrderStatus.PROCESSING:
        tables.put_order(refused(order, problem))


def _problem(error: HyperMeshError) -> AcmeProblem:
    if isinstance(error, AcmeRefusal):
        return error.kept
    kind = Kind.BAD_CSR if error.status < 500 else Kind.SERVER_INTERNAL
    return AcmeProblem(kind, f"The authority does not issue it: {error}"[:400])
