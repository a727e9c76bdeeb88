"""The transparency module: what the authority's logs hold, anchored where all can see it.

    transparency/log/<origin>                its keys, how far it is anchored, whether it ended
    transparency/present/<purpose>           the origin of the log that takes entries
    transparency/anchor/<origin>/<size u64>  the root of the first `size` entries

Only the node that genesis names as its sequencer holds the authority, so its signature alone begins
a log and anchors. An anchor must prove that the log it anchors begins with the one that was
anchored before (RFC 9162 section 2.1.4): an authority that shows some a forked log cannot anchor
both, whoever asks. A log that another one follows takes no anchors any more.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated

import msgspec
from msgspec import Meta

from hypermesh.crypto.keys import key_id
from hypermesh.ledger.module import Call, Context, Event, Refusal, State
from hypermesh.ledger.table import Table
from hypermesh.trustchain.ct.origin import read_origin
from hypermesh.trustchain.ct.tree import EMPTY_ROOT, consistent
from hypermesh.wire.asset import TimeMs
from hypermesh.wire.block import Genesis
from hypermesh.wire.ids import Hash
from hypermesh.wire.transparency import PublicLog
from hypermesh.wire.tx import BlockOpening, LogSize, TransparencyAnchor, TransparencyBegin

_SIZE_BYTES = 8
Height = Annotated[int, Meta(ge=0, le=2**53)]


class AnchoringForbidden(Refusal):
    """The signer does not hold the network's certificate authority."""

    code = "HM-TX-LOG-0001"
    status = 403
    exit_code = 4
    title = "Only the node with the network's authority anchors its transparency logs"


class LogRefused(Refusal):
    """The log is none that this network's authority may begin now."""

    code = "HM-TX-LOG-0002"
    title = "This transparency log cannot begin on this network"


class LogUnknown(Refusal):
    """No log with this origin has begun."""

    code = "HM-TX-LOG-0003"
    status = 404
    exit_code = 5
    title = "The ledger knows no such transparency log"


class LogEnded(Refusal):
    """Another log follows this one."""

    code = "HM-TX-LOG-0004"
    title = "This transparency log has ended"


class AnchorBehind(Refusal):
    """A larger tree of this log is anchored; a log never loses an entry."""

    code = "HM-TX-LOG-0005"
    exit_code = 9
    title = "The log had more entries before"


class AnchorForked(Refusal):
    """Another root is anchored at the same size: the log has shown two histories."""

    code = "HM-TX-LOG-0006"
    exit_code = 9
    title = "The log had other entries before"


class AnchorInconsistent(Refusal):
    """Nothing shows that the tree begins with the one that is anchored."""

    code = "HM-TX-LOG-0007"
    exit_code = 9
    title = "The log does not continue what is anchored of it"


class Anchored(msgspec.Struct, frozen=True, array_like=True):
    """What was anchored, in which block: the root of the first `size` entries."""

    size: LogSize
    root: Hash
    height: Height
    time_ms: TimeMs


class Log(msgspec.Struct, frozen=True, array_like=True):
    """A log, since which block it is known, its newest anchor, and in which block another one
    followed it (None while it is the present one)."""

    log: PublicLog
    begun: Height
    newest: Anchored
    ended: Height | None


_logs = Table("transparency/log/", Log)
_anchors = Table("transparency/anchor/", Anchored)
_present = Table("transparency/present/", str)


def log(state: State, origin: str) -> Log | None:
    """The log with this origin, if it ever began."""
    return _logs.get(state, origin.encode())


def logs(state: State) -> Iterator[Log]:
    """Every log that ever began, by origin."""
    return (row for _, row in _logs.rows(state))


def present(state: State, purpose: str) -> Log | None:
    """The log for `purpose` (`certificates`, `acts`) that takes entries; None where none began."""
    origin = _present.get(state, purpose.encode())
    return None if origin is None else log(state, origin)


def log_key(origin: str) -> bytes:
    """The state key of a log's row, as it appears in proofs."""
    return _logs.key(origin.encode())


def read_log(data: bytes) -> Log:
    """The row of a log as somebody else shows it; raises `Undecodable`."""
    return _logs.read(data)


def anchored(state: State, origin: str, size: int) -> Anchored | None:
    """The anchor of the first `size` entries of the log `origin`."""
    return _anchors.get(state, _anchor(origin, size))


def anchors(state: State, origin: str) -> Iterator[Anchored]:
    """Every anchor of the log `origin`, the smallest tree first."""
    return (row for _, row in _anchors.rows(state, origin.encode() + b"/"))


def _anchor(origin: str, size: int) -> bytes:
    return origin.encode() + b"/" + size.to_bytes(_SIZE_BYTES, "big")


class Transparency:
    """The module `transparency`."""

    name = "transparency"
    bodies: tuple[type, ...] = (TransparencyBegin, TransparencyAnchor)

    def begin(self, context: Context) -> None:
        """A network begins without a log on the ledger."""

    def open_block(self, context: Context, opening: BlockOpening) -> None:
        """Nothing here begins with a block."""

    def execute(self, context: Context, call: Call) -> None:
        """One transaction of a type in `bodies`."""
        body = call.body
        _require_authority(context.genesis, call)
        if isinstance(body, TransparencyBegin):
            self._begin(context, body)
        elif isinstance(body, TransparencyAnchor):
            self._anchor(context, body)
        else:
            raise TypeError(f"transparency does not execute {type(body).__name__}")

    def close_block(self, context: Context) -> None:
        """Nothing here falls due."""

    def next_deadline(self, state: State) -> int | None:  # noqa: ARG002 - the protocol's
        """Never."""
        return None

    def check(self, context: Context) -> None:
        """Nothing to sum up: a log's newest anchor is written with its row."""

    def _begin(self, context: Context, body: TransparencyBegin) -> None:
        state, origin = context.state, body.log.origin
        known = log(state, origin)
        if known is not None:
            if known.log != body.log:
                raise LogRefused(why="this origin has other keys")
            # Asked for again by a node that lost the answer.
            return
        place = read_origin(context.genesis_id, origin)
        if place is None:
            raise LogRefused(why="its origin is none of this network")
        number, purpose = place
        if (body.log.p256 is None) != (purpose == "acts"):
            raise LogRefused(why="a log of certificates has a P-256 key, and no other has")
        before = present(state, purpose)
        if before is not None:
            last = read_origin(context.genesis_id, before.log.origin)
            if last is None or number <= last[0]:
                raise LogRefused(why=f"its number {number} is not after that of the present one")
            ended = msgspec.structs.replace(before, ended=context.height)
            _logs.put(state, before.log.origin.encode(), ended)
        empty = Anchored(0, EMPTY_ROOT, context.height, context.time_ms)
        _logs.put(state, origin.encode(), Log(body.log, context.height, empty, None))
        _present.put(state, purpose.encode(), origin)
        context.events.append(Event("transparency.begun", context.genesis_id, origin.encode()))

    def _anchor(self, context: Context, body: TransparencyAnchor) -> None:
        state, origin = context.state, body.origin
        known = log(state, origin)
        if known is None:
            raise LogUnknown(why=origin)
        if known.ended is not None:
            raise LogEnded(why=f"another one follows it since block {known.ended}")
        newest = known.newest
        if body.size < newest.size:
            raise AnchorBehind(why=f"{newest.size} entries are anchored, not {body.size}")
        if body.size == newest.size:
            if body.root != newest.root:
                raise AnchorForked(why=f"at {body.size} entries {newest.root.hex()} is anchored")
            return
        if not consistent(newest.size, newest.root, body.size, body.root, body.consistency):
            raise AnchorInconsistent(why=f"nothing leads from {newest.size} to {body.size} entries")
        row = Anchored(body.size, body.root, context.height, context.time_ms)
        _anchors.put(state, _anchor(origin, body.size), row)
        _logs.put(state, origin.encode(), msgspec.structs.replace(known, newest=row))
        context.events.append(Event("transparency.anchored", context.genesis_id, origin.encode()))


def _require_authority(genesis: Genesis, call: Call) -> None:
    if not call.signer_is_node or call.transaction.signer != key_id(genesis.sequencer):
        raise AnchoringForbidden(why="genesis names another node")
