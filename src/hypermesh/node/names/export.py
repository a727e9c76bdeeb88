"""The zones of a network as this node's copy of the ledger has them, with the height they stand at.

They are derived from the ledger and from signed locators, and hold nothing of their own. A change
of the ledger touches the names of the nodes that it is about, and of no others. Whatever reads has
one whole version.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

from dns.rdatatype import RdataType

from hypermesh.assets import registry
from hypermesh.ledger import identity
from hypermesh.ledger import names as ledger_names
from hypermesh.ledger.feed import Commit
from hypermesh.ledger.ledger import Ledger
from hypermesh.ledger.module import Event, State
from hypermesh.node.names import layout
from hypermesh.node.names.layout import Hosted
from hypermesh.trustchain.dns.records import RecordSet, is_within, name
from hypermesh.trustchain.dns.resolution import Found, SourceUnavailable
from hypermesh.trustchain.dns.zone import SETS_MAX, Start, Zone
from hypermesh.wire.asset import Locator
from hypermesh.wire.codec import decode
from hypermesh.wire.errors import Overloaded
from hypermesh.wire.ids import AssetId, GenesisId, Hash, NodeId

ALIASES_MAX = 4
"""Links of a chain of CNAME records that are followed."""


class ZoneFull(Overloaded):
    """The ledger has more names than one zone may hold; those that were there stay."""

    code = "HM-DNS-0020"
    title = "The zone of the network is full"


Key = tuple[bytes, int]
"""Owner and type of a set."""
Sets = Mapping[Key, RecordSet]


@dataclass(frozen=True, slots=True)
class Standing:
    """Both zones at one height. `owners`: every name that is there, also those that only have
    something below them."""

    height: int
    app_hash: Hash
    forward: Zone
    reverse: Zone
    owners: frozenset[bytes]

    def zone_of(self, owner: bytes) -> Zone | None:
        """The one of the two that holds `owner`."""
        for each in (self.forward, self.reverse):
            if is_within(owner, each.apex):
                return each
        return None


class Export:
    """The names of one network; a `NameSource`. One thread brings it up to date, any may read."""

    def __init__(
        self,
        genesis: GenesisId,
        ledger: Ledger,
        locator: Callable[[NodeId], Locator | None],
        server_hosts: Iterable[str],
        made: Callable[[str], Iterable[RecordSet]],
    ) -> None:
        """`locator`: where a node is, as far as it is known; `server_hosts`: where the name server
        is; `made`: what a zone shows of its key."""
        self._genesis = genesis
        self._ledger = ledger
        self._locator = locator
        self.apex = layout.apex(genesis)
        self.reverse_apex = layout.reverse_apex(genesis)
        primary = f"ns.{self.apex}"
        self._start = Start(
            name(primary), name(f"hostmaster.{self.apex}"), ttl_s=layout.TTL_S, minimum_s=5
        )
        hosts = tuple(server_hosts)
        self._fixed = {
            each.key: each
            for each in (
                *layout.server_sets(self.apex, primary, hosts),
                *layout.server_sets(self.reverse_apex, primary, hosts),
                *made(self.apex),
                *made(self.reverse_apex),
            )
        }
        self._lock = threading.Lock()
        self._held: dict[NodeId, Sets] = {}
        self._seen: dict[NodeId, Locator | None] = {}
        self._ends: dict[NodeId, int] = {}
        self._by_key: dict[Key, dict[NodeId, RecordSet]] = {}
        self._standing: Standing | None = None

    @property
    def standing(self) -> Standing:
        """What is known now. Raises `SourceUnavailable` before the ledger was first read."""
        found = self._standing
        if found is None:
            raise SourceUnavailable(why="this node has not read its ledger yet")
        return found

    def lookup(self, owner: bytes, kind: int) -> Found | None:
        """As a `NameSource`; aliases are followed to what they name."""
        standing = self.standing
        for _ in range(ALIASES_MAX + 1):
            zone = standing.zone_of(owner)
            if zone is None or owner not in standing.owners:
                return None
            if owner == zone.apex and kind == RdataType.SOA:
                soa = zone.start.set_of(zone.apex, zone.serial)
                return Found(soa.ttl, soa.data)
            if (found := zone.sets.get((owner, kind))) is not None:
                return Found(found.ttl, found.data)
            alias = zone.sets.get((owner, RdataType.CNAME))
            if alias is None:
                return Found(layout.TTL_S, ())
            owner = alias.data[0]
        return None

    def read(self) -> Standing:
        """Everything from the state, as at the start, after blocks were missed, and after a change
        that failed."""
        with self._lock, self._ledger.state_with_height() as (height, state):
            for each in (self._held, self._seen, self._ends, self._by_key):
                each.clear()
            known = {identifier for identifier, _ in identity.nodes(state)}
            return self._brought_to(None, height, state, known)

    def follow(self, commit: Commit | None) -> Standing:
        """What `commit` changed, and what time and locators have; only these without one."""
        with self._lock, self._ledger.state_with_height() as (height, state):
            touched = self._moved() | self._ended()
            for event in () if commit is None else commit.events:
                touched |= self._about(state, event)
            return self._brought_to(self._standing, height, state, touched)

    def _about(self, state: State, event: Event) -> set[NodeId]:
        """The nodes whose names an event may change."""
        subject = event.subject
        if event.name in ("identity.enrolled", "identity.revoked"):
            return {subject}
        asset_id = subject if event.name.startswith("asset.") else None
        if event.name.startswith("name."):
            named = decode(ledger_names.Name, event.data)
            if named.node is not None:
                return {named.node}
            asset_id = named.asset
        asset = None if asset_id is None else registry.ASSETS.get(state, asset_id)
        return set() if asset is None else {asset.host}

    def _moved(self) -> set[NodeId]:
        return {node for node, seen in self._seen.items() if self._locator(node) != seen}

    def _ended(self) -> set[NodeId]:
        """Those whose certificate has ended since they were last looked at."""
        now_ms = self._ledger.status().time_ms
        return {node for node, end_ms in self._ends.items() if end_ms <= now_ms}

    def _brought_to(
        self, before: Standing | None, height: int, state: State, touched: set[NodeId]
    ) -> Standing:
        status = self._ledger.status()
        changed: set[Key] = set()
        for node in touched:
            changed |= self._looked_at(state, node, status.time_ms)
        if before is not None and not changed and before.height == height:
            return before
        # The rows are of one height; the hash of a later one would be said of them.
        app_hash = status.app_hash
        if status.height != height:
            app_hash = self._ledger.block(height).header.app_hash
        stands = layout.height_set(self._genesis, height, app_hash)
        serial = layout.serial(height)
        if before is not None and not changed:
            sets = {**before.forward.sets, stands.key: stands}
            forward = Zone(before.forward.apex, self._start, serial, sets)
            reverse = Zone(before.reverse.apex, self._start, serial, before.reverse.sets)
            standing = Standing(height, app_hash, forward, reverse, before.owners)
        else:
            sets = self._sets(before, changed)
            sets[stands.key] = stands
            standing = self._stood(height, app_hash, serial, sets)
        self._standing = standing
        return standing

    def _looked_at(self, state: State, node: NodeId, now_ms: int) -> set[Key]:
        """The keys that another look at `node` may have changed."""
        row = identity.node(state, node)
        before = self._held.pop(node, {})
        after: dict[Key, RecordSet] = {}
        self._seen.pop(node, None)
        self._ends.pop(node, None)
        if row is not None and not row.revoked:
            end_ms = row.not_after_ms + identity.EXPIRY_GRACE_MS
            if end_ms > now_ms:
                locator = self._locator(node)
                self._seen[node], self._ends[node] = locator, end_ms
                hosted = self._hosted(state, node, row, locator)
                for each in (
                    *layout.forward_sets(self._genesis, hosted),
                    *layout.reverse_sets(self._genesis, hosted),
                ):
                    after[each.key] = each
                self._held[node] = after
        for key in before.keys() - after.keys():
            del self._by_key[key][node]
            if not self._by_key[key]:
                del self._by_key[key]
        for key, each in after.items():
            self._by_key.setdefault(key, {})[node] = each
        return {key for key in before.keys() | after.keys() if before.get(key) != after.get(key)}

    def _hosted(
        self, state: State, node: NodeId, row: identity.Node, locator: Locator | None
    ) -> Hosted:
        assets = tuple(registry.on_host(state, node))
        labels: list[tuple[str, AssetId | None]] = [
            (label, None) for label in ledger_names.of_node(state, node)
        ]
        for asset_id, asset in assets:
            for label in ledger_names.of_asset(state, asset_id):
                named = ledger_names.named(state, label)
                # One that was sold keeps no name that its owner before gave it.
                if named is not None and named.owner == asset.owner:
                    labels.append((label, asset_id))
        return Hosted(
            node,
            row.certificate_sha256,
            assets,
            locator,
            tuple(labels),
        )

    def _sets(self, before: Standing | None, changed: set[Key]) -> dict[Key, RecordSet]:
        sets = dict(self._fixed)
        if before is not None:
            sets |= before.forward.sets
            sets |= before.reverse.sets
        for key in changed:
            said = self._by_key.get(key)
            if said is None:
                sets.pop(key, None)
            else:
                sets[key] = _joined(said.values())
        if len(sets) > SETS_MAX:
            raise ZoneFull(why=f"{len(sets)} sets of records, and {SETS_MAX} fit")
        return sets

    def _stood(
        self, height: int, app_hash: Hash, serial: int, sets: dict[Key, RecordSet]
    ) -> Standing:
        forward_apex, reverse_apex = name(self.apex), name(self.reverse_apex)
        forward = {key: each for key, each in sets.items() if is_within(key[0], forward_apex)}
        reverse = {key: each for key, each in sets.items() if is_within(key[0], reverse_apex)}
        return Standing(
            height,
            app_hash,
            Zone(forward_apex, self._start, serial, forward),
            Zone(reverse_apex, self._start, serial, reverse),
            _owners(forward, forward_apex) | _owners(reverse, reverse_apex),
        )


def _joined(said: Iterable[RecordSet]) -> RecordSet:
    """What several nodes say of one name: only the IPv6 forms of two can be the same."""
    first, *others = said
    if not others:
        return first
    data = {each for found in (first, *others) for each in found.data}
    return RecordSet(first.owner, first.kind, first.ttl, tuple(sorted(data)))


def _owners(sets: Sets, apex: bytes) -> frozenset[bytes]:
    """The owners of `sets`, and all names between them and `apex` (RFC 8020)."""
    found = {apex}
    for owner, _ in sets:
        at = owner
        while at not in found and is_within(at, apex):
            found.add(at)
            at = at[1 + at[0] :]
    return frozenset(found)
