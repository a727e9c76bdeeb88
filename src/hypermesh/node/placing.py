"""Where a job may run: the providers that share CPU with this owner, and which of them serves."""

from __future__ import annotations

import secrets
import threading
import time
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from hypermesh.assets import registry
from hypermesh.ledger import identity
from hypermesh.ledger.module import State
from hypermesh.mfn.route import NS_PER_US, Outcome, Route
from hypermesh.mfn.router import ROUTES_MAX, Router
from hypermesh.node.chain import Chain
from hypermesh.node.membership import Membership
from hypermesh.node.views import Views
from hypermesh.wire.api.job import JobSubmit, NoProvider, ProvidersBusy
from hypermesh.wire.api.mfn import RoutePage, RouteView
from hypermesh.wire.asset import AssetKind, AssetState, PrivacyLevel
from hypermesh.wire.ids import AssetId, NodeId, parse_hex


@dataclass(frozen=True, slots=True)
class Share:
    """CPU that this owner may lease. `capacity` and `free` in millicores, None where only the host
    knows."""

    host: NodeId
    asset: AssetId
    capacity: int | None
    free: int | None


@dataclass(slots=True)
class Attempt:
    """A job at a provider: `outcome` is to say how it went."""

    host: NodeId
    outcome: Outcome = Outcome.FAILED


@dataclass(frozen=True, slots=True)
class _Ended:
    """How the last job at a provider went, and when it was over."""

    outcome: Outcome
    at_us: int


class Placing:
    """Chooses among providers, and learns from how each served. Safe to use from any thread."""

    def __init__(
        self, membership: Membership, chain: Chain, views: Views, name: Callable[[NodeId], str]
    ) -> None:
        self._membership = membership
        self._chain = chain
        self._views = views
        self._name = name
        self._router = Router()
        self._ended: dict[NodeId, _Ended] = {}
        self._lock = threading.Lock()

    def candidates(self, job: JobSubmit) -> dict[NodeId, AssetId]:
        """The asset asked for; else what others share with this owner; and where nobody has room,
        this machine. Raises `NoProvider` or `ProvidersBusy`."""
        with self._chain.ledger.state() as state:
            if job.asset is not None:
                asset_id = parse_hex(job.asset, 16, "asset id")
                return {registry.existing(state, asset_id).host: asset_id}
            shares = list(self._shares(state))
        wanted = job.cpu_millicores
        fitting = {each.host: each.asset for each in shares if _has(each.free, wanted)}
        if not fitting:
            if any(_has(each.capacity, wanted) for each in shares):
                raise ProvidersBusy(f"No provider has {wanted} millicores free now")
            raise self._too_large(wanted, shares)
        if len(fitting) > 1:
            fitting.pop(self._membership.keys.id, None)
        return fitting

    @contextmanager
    def attempt(self, hosts: Collection[NodeId]) -> Iterator[Attempt]:
        """One of `hosts`, chosen by how they have served; it is remembered how this goes."""
        began_us = _now_us()
        with self._lock:
            host = self._router.choose(sorted(hosts), began_us, secrets.randbits(32))
        attempt = Attempt(host)
        try:
            yield attempt
        finally:
            now_us = _now_us()
            with self._lock:
                self._router.observe(host, attempt.outcome, now_us - began_us, now_us)
                self._ended.pop(host, None)
                self._ended[host] = _Ended(attempt.outcome, now_us)
                if len(self._ended) > ROUTES_MAX:
                    del self._ended[next(iter(self._ended))]

    def routes(self, cursor: str | None, limit: int) -> RoutePage:
        """What the router has learned, by ascending host, those after `cursor`."""
        after = parse_hex(cursor, 32, "cursor") if cursor else b""
        with self._lock:
            routes = [each for each in self._router.state.routes if each.provider > after]
            now_us = _now_us()
            items = [self._route(each, now_us) for each in routes[:limit]]
        return RoutePage(items, items[-1].host if len(routes) > limit else None)

    def _route(self, route: Route, now_us: int) -> RouteView:
        ended = self._ended.get(route.provider)
        return RouteView(
            host=route.provider.hex(),
            host_name=self._name(route.provider),
            service_us=route.service_ns / NS_PER_US,
            in_flight=route.in_flight,
            silence_us=route.silence_us(now_us),
            expected_us=route.spike_ns(now_us) / NS_PER_US,
            active_ms_ago=max(0, now_us - route.active_us) // 1000,
            won=route.won,
            last_outcome=None if ended is None else ended.outcome.value,
            last_outcome_ms_ago=None if ended is None else max(0, now_us - ended.at_us) // 1000,
        )

    def _shares(self, state: State) -> Iterator[Share]:
        """CPU in service that this owner may lease, as far as the chain, or this node as the host,
        knows it."""
        for asset_id, asset in registry.ASSETS.rows(state):
            private = asset.level is PrivacyLevel.PRIVATE
            host = identity.node(state, asset.host)
            if (
                asset.kind is AssetKind.CPU
                and asset.state in (AssetState.AVAILABLE, AssetState.ALLOCATED)
                and (not private or asset.owner == self._membership.owner)
                and host is not None
                and not host.revoked
            ):
                known = self._views.asset(asset_id)
                yield Share(asset.host, asset_id, known.capacity, known.free)

    def _too_large(self, wanted: int, shares: list[Share]) -> NoProvider:
        what = f"No provider has {wanted} millicores"
        if not shares:
            return NoProvider(
                what,
                why="nobody shares CPU with this owner",
                fix="See `hm asset ls --kind cpu`; a node shares its own with `hm up --share 50%`",
            )
        largest = max(shares, key=lambda each: each.capacity or 0)
        most = largest.capacity or 0
        return NoProvider(
            what,
            why=f"the largest share of CPU is {most} millicores, on {self._name(largest.host)}",
            fix=f"Ask for less: --cpu {most}m; `hm asset ls --kind cpu` shows all shares",
        )


def _has(amount: int | None, wanted: int) -> bool:
    """Whether `amount` may be enough: where only the host knows it, it is asked."""
    return amount is None or amount >= wanted


def _now_us() -> int:
    return time.monotonic_ns() // 1000
