"""The module of names: what owners call their nodes and assets in the zone of the network.

    name/label/<label>             whose it is, and what it names
    name/owner/<OwnerId>           how many it has
    name/node/<NodeId><label>      the labels of a node
    name/asset/<AssetId><label>    the labels of an asset

Who comes first has a label, and keeps it for as long as it names something of his: a node that is
not revoked and whose certificate ended less than `LAPSE_MS` ago, or an asset that is his still and
lies on such a node. So a name needs no renewal of its own, and none outlives what it names for
long. After that anybody may take it; whether it is answered meanwhile is for who reads the row.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator

import msgspec

from hypermesh.ledger import identity
from hypermesh.ledger.module import Call, Context, Event, Refusal, State
from hypermesh.ledger.table import Table
from hypermesh.wire.codec import encode
from hypermesh.wire.ids import AssetId, NodeId, OwnerId
from hypermesh.wire.tx import BlockOpening, NameDrop, NameSet

NAMES_PER_OWNER_MAX = 256

LAPSE_MS = 30 * 24 * 60 * 60 * 1000
"""How long after a node's certificate ended the names on it are still kept for their owner."""

SET, DROPPED = "name.set", "name.dropped"
"""The events of a label: its subject, with the label's `Name` as it is now, or was until now."""

RESERVED = frozenset(
    {
        *("assets", "autoconfig", "autodiscover", "broadcasthost", "caesar", "endpoint"),
        *("hm", "hostmaster", "hypermesh", "internal", "isatap", "localhost", "mail", "mesh"),
        *("node", "ns", "postmaster", "root", "senate", "stoq", "trust", "wpad", "www"),
    }
)
"""What programs look for by themselves, or the zone uses itself."""

_LABEL = re.compile(r"[a-z]([a-z0-9-]{0,61}[a-z0-9])?")
"""RFC 1123 section 2.1, but for a digit in front: what begins with one may be taken for an address
or an id."""
_ID = re.compile(r"[0-9a-f]{10}|[0-9a-f]{16}|[0-9a-f]{32}|[0-9a-f]{64}")


class LabelInvalid(Refusal):
    """The label is none of the DNS, looks like an id, or stands for something already."""

    code = "HM-TX-NAME-0001"
    status = 400
    exit_code = 2
    title = "This label cannot be used"
    remedy = "Use letters, digits and -, a letter in front, at most 63, and no id"


class NameTaken(Refusal):
    """Another owner has the label, and what it names is still there."""

    code = "HM-TX-NAME-0002"
    title = "Another owner has this name"
    remedy = "Choose another; `hm dns labels` shows those that are taken"


class TargetForeign(Refusal):
    """A name stands for a node or an asset of whoever sets it."""

    code = "HM-TX-NAME-0003"
    status = 403
    exit_code = 4
    title = "What shall be named is not the signer's"


class TargetMissing(Refusal):
    """There is no such node or asset on the ledger, or its node is revoked."""

    code = "HM-TX-NAME-0004"
    status = 404
    exit_code = 5
    title = "What shall be named is not there"


class TooManyNames(Refusal):
    """The owner has as many names as one may have."""

    code = "HM-TX-NAME-0005"
    exit_code = 8
    title = "The owner has no more names to give"
    remedy = f"An owner has {NAMES_PER_OWNER_MAX} names at most; drop one with `hm dns rm`"


class NameUnknown(Refusal):
    """Nobody has this label."""

    code = "HM-TX-NAME-0006"
    status = 404
    exit_code = 5
    title = "There is no such name"


class NameForeign(Refusal):
    """Only the owner of a name drops it."""

    code = "HM-TX-NAME-0007"
    status = 403
    exit_code = 4
    title = "The name belongs to another owner"


class Name(msgspec.Struct, frozen=True, array_like=True):
    """A label's row: the owner, and the node or the asset that it names; one of the two is None."""

    owner: OwnerId
    node: NodeId | None
    asset: AssetId | None


class Holding(msgspec.Struct, frozen=True):
    """What the registry says of an asset: whose it is, and which node hosts it."""

    owner: OwnerId
    host: NodeId


_labels = Table("name/label/", Name)
_counts: Table[int] = Table("name/owner/", int)
_of_nodes: Table[bool] = Table("name/node/", bool)
_of_assets: Table[bool] = Table("name/asset/", bool)


def named(state: State, label: str) -> Name | None:
    """The row of a label."""
    return _labels.get(state, label.encode())


def names(state: State) -> Iterator[tuple[str, Name]]:
    """Every label that somebody has, in their order."""
    for key, row in _labels.rows(state):
        yield key.decode(), row


def read_name(data: bytes) -> Name:
    """The row of a label as an event carries it; raises `Undecodable`."""
    return _labels.read(data)


def of_node(state: State, node: NodeId) -> list[str]:
    """The labels of a node."""
    return [key[len(node) :].decode() for key, _ in _of_nodes.rows(state, node)]


def of_asset(state: State, asset: AssetId) -> list[str]:
    """The labels of an asset."""
    return [key[len(asset) :].decode() for key, _ in _of_assets.rows(state, asset)]


class Names:
    """The ledger module of `name.*`."""

    name = "names"
    bodies: tuple[type, ...] = (NameSet, NameDrop)

    def __init__(self, holding: Callable[[State, AssetId], Holding | None]) -> None:
        """`holding`: what the registry, which lies above the ledger, says of an asset."""
        self._holding = holding

    def begin(self, context: Context) -> None:
        """A network begins without names."""

    def open_block(self, context: Context, opening: BlockOpening) -> None:
        """Nothing happens to a name by itself."""

    def execute(self, context: Context, call: Call) -> None:
        match call.body:
            case NameSet() as body:
                self._set(context, call, body)
            case NameDrop() as body:
                self._drop(context, call, body)

    def close_block(self, context: Context) -> None:
        """Nothing falls due: a name that has lapsed goes when somebody takes it."""

    def next_deadline(self, state: State) -> int | None:
        """None: nothing falls due."""

    def check(self, context: Context) -> None:
        """The rows of a name are written together."""

    def _set(self, context: Context, call: Call, body: NameSet) -> None:
        state, label = context.state, body.label
        if not _LABEL.fullmatch(label) or _ID.fullmatch(label) or label[2:4] == "--":
            raise LabelInvalid(f"{label!r} cannot be used as a label")
        if label in RESERVED:
            raise LabelInvalid(f"{label!r} is reserved")
        row = Name(call.owner, body.node, body.asset)
        self._require_target(context, row)
        held = named(state, label)
        if held == row:
            return
        if held is not None:
            if held.owner != call.owner and self._stands(context, held):
                raise NameTaken(f"{label!r} belongs to another owner")
            self._remove(context, label, held)
        count = _counts.get(state, call.owner) or 0
        if count >= NAMES_PER_OWNER_MAX:
            raise TooManyNames
        _counts.put(state, call.owner, count + 1)
        _labels.put(state, label.encode(), row)
        if row.node is not None:
            _of_nodes.put(state, row.node + label.encode(), True)
        if row.asset is not None:
            _of_assets.put(state, row.asset + label.encode(), True)
        context.events.append(Event(SET, label.encode(), encode(row)))

    def _drop(self, context: Context, call: Call, body: NameDrop) -> None:
        held = named(context.state, body.label)
        if held is None:
            raise NameUnknown(f"Nobody has the name {body.label!r}")
        if held.owner != call.owner:
            raise NameForeign
        self._remove(context, body.label, held)

    def _remove(self, context: Context, label: str, held: Name) -> None:
        state = context.state
        _labels.delete(state, label.encode())
        if held.node is not None:
            _of_nodes.delete(state, held.node + label.encode())
        if held.asset is not None:
            _of_assets.delete(state, held.asset + label.encode())
        count = (_counts.get(state, held.owner) or 1) - 1
        if count:
            _counts.put(state, held.owner, count)
        else:
            _counts.delete(state, held.owner)
        context.events.append(Event(DROPPED, label.encode(), encode(held)))

    def _require_target(self, context: Context, row: Name) -> None:
        """Raise where `row` names nothing of its owner's that is in good standing."""
        if (row.node is None) == (row.asset is None):
            raise TargetMissing("A name stands for a node or for an asset")
        host, owner = self._target(context.state, row)
        if owner is None:
            raise TargetMissing
        if owner != row.owner:
            raise TargetForeign
        node = None if host is None else identity.node(context.state, host)
        if node is None or node.revoked:
            raise TargetMissing("The node is unknown or revoked")

    def _target(self, state: State, row: Name) -> tuple[NodeId | None, OwnerId | None]:
        """The node that what is named lies on, and whose it is now."""
        if row.asset is not None:
            held = self._holding(state, row.asset)
            return (None, None) if held is None else (held.host, held.owner)
        node = None if row.node is None else identity.node(state, row.node)
        return row.node, None if node is None else node.owner

    def _stands(self, context: Context, row: Name) -> bool:
        """Whether a name is still its owner's alone."""
        host, owner = self._target(context.state, row)
        node = None if host is None else identity.node(context.state, host)
        if owner != row.owner or node is None or node.revoked:
            return False
        return context.time_ms <= node.not_after_ms + LAPSE_MS
