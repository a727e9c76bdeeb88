"""The events of `GET /events`: what each server-sent event carries as its `data`.

An event of the ledger has the id `HEIGHT.INDEX`: its block, and its place among the events of that
block, of which the block itself is 0. The same block has the same events on every node and after
every restart, so an id is good for resuming anywhere. `job`, `phase` and `live` have no id: they
tell of this node alone and of now. A `reset` has the id of the place from which the stream goes on.
"""

from __future__ import annotations

import enum

import msgspec

from hypermesh.wire.amount import Amount
from hypermesh.wire.api.body import Hex16, Hex32
from hypermesh.wire.api.job import JobState
from hypermesh.wire.api.memory import MemoryLeaseView
from hypermesh.wire.asset import AssetKind, AssetState, LeaseState, PrivacyLevel


class EventKind(enum.StrEnum):
    """The `event:` line; also what `?kinds=` takes, but for `reset`, which always comes."""

    BLOCK = "block"
    ASSET = "asset"
    LEASE = "lease"
    JOB = "job"
    NODE = "node"
    PRIVACY = "privacy"
    ACCOUNT = "account"
    NAME = "name"
    PHASE = "phase"
    LIVE = "live"
    RESET = "reset"


class LedgerEvent(msgspec.Struct, frozen=True):
    """What every event of the ledger says: its block and the block's time. `what` is the word for
    what happened, such as `registered`."""

    height: int
    time_ms: int
    what: str


class BlockEvent(LedgerEvent, frozen=True):
    """`block`: one was made (`what` is `made`). `types` counts its transactions by type, refused
    ones too; `epoch` is the one that began with this block, else null."""

    hash: Hex32
    app_hash: Hex32
    operations: int
    refused: int
    types: dict[str, int]
    epoch: int | None


class AssetEvent(LedgerEvent, frozen=True):
    """`asset`: `registered`, `state`, or what else became of it. `privacy`: level, audience or
    price were `changed`. The asset is as it was after; `revision` counts such changes."""

    asset: Hex16
    kind: AssetKind
    level: PrivacyLevel
    state: AssetState
    owner: Hex32
    host: Hex32
    leases: int
    committed: int
    revision: int


class LeaseStateEvent(LedgerEvent, frozen=True):
    """`lease`: it came to a new state, which `what` says as well. `mine`: this node's owner lends
    or borrows it. `paid`, `fee` and `refund` are null until the lease is final."""

    lease: Hex32
    asset: Hex16
    host: Hex32
    payee: Hex32
    consumer: Hex32
    mine: bool
    state: LeaseState
    amount: int
    ends_ms: int
    paid: Amount | None
    fee: Amount | None
    refund: Amount | None


class NodeEvent(LedgerEvent, frozen=True):
    """`node`: `enrolled` (first or with a renewed certificate), `attested` or `revoked`, which has
    a reason."""

    node: Hex32
    owner: Hex32 | None
    reason: str


class AccountEvent(LedgerEvent, frozen=True):
    """`account`: units moved (`granted`, `transferred`, `bonded`, `unbonding`, `returned`) or an
    owner made its keys known (`owned`, amount 0). What leases pay is told by `lease`."""

    accounts: list[Hex32]
    amount: Amount
    mine: bool


class NameEvent(LedgerEvent, frozen=True):
    """`name`: what an owner calls a node or an asset was `added`, `changed` (it stands for another
    than before, or is another owner's), or `dropped`, and then it is as it was. `mine`: it is this
    node's owner's."""

    label: str
    owner: Hex32
    node: Hex32 | None
    asset: Hex16 | None
    mine: bool


class PhaseEvent(msgspec.Struct, frozen=True):
    """`phase`: who answers for names of the mesh at this node was switched, from `before` to
    `phase` (see `GET /v1/dns`)."""

    phase: int
    before: int
    time_ms: int


class JobEvent(msgspec.Struct, frozen=True):
    """`job`: a job of this node's owner came to another state. Jobs stand on no ledger: after a
    reconnection ask `GET /v1/jobs` for what was missed."""

    job: Hex16
    state: JobState
    time_ms: int
    lease: Hex32 | None = None


class LatencyView(msgspec.Struct, frozen=True):
    """Recent operations of one name that this node waited for. Times in microseconds."""

    count: int
    p50_us: float
    p99_us: float


class RatesView(msgspec.Struct, frozen=True):
    """What happened each second, on average over the last `window_ms`. `operations` are
    transactions of blocks; bytes are those of remote memory, measured or counted here."""

    window_ms: int
    blocks: float
    operations: float
    memory_read_bytes: float
    memory_written_bytes: float


class LinkView(msgspec.Struct, frozen=True):
    """A node as this one hears it now."""

    node: Hex32
    connected: bool
    heard_ms_ago: int | None
    rtt_us: int | None


class LiveEvent(msgspec.Struct, frozen=True):
    """`live`: this node now, three times a second. Whoever shows it says how old it is: `time_ms`
    is when it was taken, on this node's clock.

    `block_age_ms` is how long ago this node saw a new block; `contact_age_ms` how long ago it heard
    from the sequencer, null on the sequencer itself.
    """

    time_ms: int
    level: str
    summary: str
    height: int
    app_hash: Hex32
    block_time_ms: int
    block_age_ms: int | None
    contact_age_ms: int | None
    assets: int
    leases: int
    rates: RatesView
    operations: dict[str, LatencyView]
    memory: list[MemoryLeaseView]
    links: list[LinkView]


class ResetEvent(msgspec.Struct, frozen=True):
    """`reset`: events were left out, for the `reason` given. Load afresh what is shown; resume with
    `since`, the id of the last event before those that follow. Where the stream ends after this,
    connect again with it."""

    reason: str
    since: str
