"""Orders that wait for their certificate: bounded, retried, taken up after a crash.

That an order waits is a durable row with its CSR. The authority answers the same order with the
same certificate, so one that was issued before a crash is found again.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Callable, Iterator, Sequence
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
        for pause_s in (*PAUSES_S, None):
            order = self._store.read(lambda tables: tables.order(id_))
            if order is None or order.status is not OrderStatus.PROCESSING:
                return
            try:
                chain = await self._issued(order)
                await self._store.write(lambda tables: _put(tables, id_, chain))  # noqa: B023
            except HyperMeshError as error:
                problem, stands = _problem(error), error.status < 500
            except Exception:
                log.exception("an order cannot be issued")
                problem = AcmeProblem(Kind.SERVER_INTERNAL, "The server failed on this order")
                stands = False
            else:
                return
            if stands or pause_s is None:
                await self._store.write(lambda tables: _refuse(tables, id_, problem))  # noqa: B023
                return
            log.warning("an order waits for its certificate: %s", problem.detail)
            await asyncio.sleep(pause_s)

    async def _issued(self, order: Order) -> Sequence[bytes]:
        request = CertificateRequest(
            order.id, order.account, order.csr or b"", order.identifiers, order.profile
        )
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._pool, self._issuer.issue, request, self._now_s())


def _put(tables: Tables, id_: str, chain: Sequence[bytes]) -> None:
    order = tables.order(id_)
    if order is None or order.status is not OrderStatus.PROCESSING:
        return
    end = x509.load_der_x509_certificate(chain[0]).not_valid_after_utc
    tables.put_certificate(Certificate(order.id, order.account, tuple(chain), int(end.timestamp())))
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
