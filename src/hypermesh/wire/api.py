"""What the REST API takes and returns. JSON objects; identifiers are lower-case hex, amounts are
integers of nCAES, times are milliseconds since 1970 unless a name says otherwise."""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from hypermesh.wire.amount import Amount
from hypermesh.wire.asset import AssetKind, AssetState, Enforcement, LeaseState, PrivacyLevel
from hypermesh.wire.errors import HyperMeshError

Hex32 = Annotated[str, Meta(pattern="^[0-9a-f]{64}$")]
Hex16 = Annotated[str, Meta(pattern="^[0-9a-f]{32}$")]


class Body(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Base of request bodies: an unknown member is an error, not a silent no-op."""


class ProblemDetails(msgspec.Struct, frozen=True):
    """RFC 9457 problem details with the three parts of every HyperMesh error: `detail` says what
    happened, `cause` why, `fix` what to do. `exit_code` is what `hm` ends with on it."""

    type: str
    title: str
    status: int
    detail: str
    code: str
    cause: str
    fix: str
    exit_code: int
    failures: list[str] = []

    @classmethod
    def of(cls, error: HyperMeshError) -> ProblemDetails:
        return cls(
            type=f"urn:hypermesh:error:{error.code}",
            title=error.title,
            status=error.status,
            detail=error.what,
            code=error.code,
            cause=error.why,
            fix=error.fix,
            exit_code=error.exit_code,
            failures=list(getattr(error, "failures", ())),
        )


class PriceView(msgspec.Struct, frozen=True):
    """`amount` nCAES for each `per_units` units held for `per_ms` milliseconds."""

    amount: Amount
    per_units: int
    per_ms: int


class AssetView(msgspec.Struct, frozen=True):
    """An asset as this node may show it. Below FullPublic, `capacity`, `price` and `detail` of
    other owners' assets are null: they come from the host, after its access check."""

    asset: Hex16
    address: str
    kind: AssetKind
    level: PrivacyLevel
    state: AssetState
    owner: Hex32
    host: Hex32
    host_name: str
    mine: bool
    unit: str
    capacity: int | None
    free: int | None
    enforcement: Enforcement | None
    price: PriceView | None
    detail: dict[str, str] | None


class Page(msgspec.Struct, frozen=True):
    """A page of assets; `next_cursor` is null at the end."""

    items: list[AssetView]
    next_cursor: str | None


class RegisterAsset(Body, frozen=True):
    """`POST /assets/register`: declare a share of this machine's hardware of one kind."""

    kind: AssetKind
    level: PrivacyLevel = PrivacyLevel.PRIVATE
    share_basis_points: Annotated[int, Meta(ge=1, le=10_000)] = 5_000
    price: PriceView | None = None
    concurrent_max: Annotated[int, Meta(ge=1, le=1024)] = 16


class AllocateAsset(Body, frozen=True):
    """`PUT /assets/{id}/allocate`: lease `amount` units for `duration_ms`.

    With `keep` the node keeps the keys of the session, so that any program of the owner can go on
    with the lease; without, only the answer has them.
    """

    amount: Annotated[int, Meta(ge=1, le=2**63 - 1)]
    duration_ms: Annotated[int, Meta(ge=1000, le=86_400_000)] = 600_000
    keep: bool = False


class TrustView(msgspec.Struct, frozen=True):
    """What a session needs to check the provider: DER certificates as hex, the genesis id."""

    genesis: Hex32
    root: str
    issuing: str


class LeaseView(msgspec.Struct, frozen=True):
    """A lease with its capability, as long as it is active."""

    lease: Hex32
    asset: Hex16
    address: str
    kind: AssetKind
    provider: Hex32
    consumer: Hex32
    state: LeaseState
    amount: int
    escrow: Amount
    start_ms: int
    end_ms: int
    epoch: int
    session: Hex32
    host: str | None = None
    port: int | None = None
    paid: Amount | None = None
    fee: Amount | None = None
    refund: Amount | None = None


class SessionView(msgspec.Struct, frozen=True):
    """A session: its lease, its secret keys as hex, and what checks the provider. `secret` is null
    everywhere but on the owner's UNIX socket: keys never cross TCP."""

    lease: LeaseView
    secret: str | None
    trust: TrustView


class PrivacyChange(Body, frozen=True):
    """`PUT /privacy/level`."""

    asset: Hex16
    level: PrivacyLevel
    nodes: list[Hex32] = []
    networks: list[Hex32] = []


class PrivacyView(msgspec.Struct, frozen=True):
    """`GET /privacy/settings`: one asset's level and audience."""

    asset: Hex16
    kind: AssetKind
    level: PrivacyLevel
    nodes: list[Hex32]
    networks: list[Hex32]


class TransactionBytes(Body, frozen=True):
    """`POST /v1/transactions`: a canonical `SignedTransaction` as hex."""

    transaction: Annotated[str, Meta(max_length=512 * 1024)]


class TransactionView(msgspec.Struct, frozen=True):
    """What became of a transaction; it is durable when this is answered."""

    tx: Hex32
    height: int
    index: int
    code: str
    failures: list[str]


class ConsensusStatus(msgspec.Struct, frozen=True):
    """`GET /consensus/status`: what the proofs of this network are worth, and how far it is."""

    network_class: str
    epoch: int
    seed: Hex32
    seed_origin: str
    space_k: int
    plot_bytes: int
    draws: int
    draws_valid_min: int
    vdf_bits: int
    vdf_iterations: int
    matrix_size: int
    assurance: str
    height: int
    app_hash: Hex32
    attested_nodes: int


class ChallengeRequest(Body, frozen=True):
    """`POST /consensus/challenge`: the present challenges of a node (this one by default)."""

    node: Hex32 | None = None


class InputView(msgspec.Struct, frozen=True):
    """One input of a derivation: `bytes` are hex in `value`, an `integer` is decimal there."""

    name: str
    type: Literal["bytes", "integer", "text"]
    value: str


class ChallengeView(msgspec.Struct, frozen=True):
    """How one value follows: `result` is BLAKE3 derive_key, with `function` as its context, over
    `encoded`, which is the canonical encoding of the list of `inputs`, as hex. Without a function
    the only input is the result."""

    proof: str
    what: str
    function: str
    inputs: list[InputView]
    encoded: str
    result: Hex32


class ValidateRequest(Body, frozen=True):
    """`POST /consensus/validate`: a canonical `Bundle` or `SignedTransaction` as hex; a dry run."""

    bundle: Annotated[str, Meta(max_length=512 * 1024)] | None = None
    transaction: Annotated[str, Meta(max_length=512 * 1024)] | None = None


class FailureView(msgspec.Struct, frozen=True):
    """Why one proof is refused."""

    proof: str
    reason: str


class ValidateView(msgspec.Struct, frozen=True):
    """The verdict; every failure is listed, not only the first."""

    valid: bool
    failures: list[FailureView]


class InvitationRequest(Body, frozen=True):
    """`POST /v1/network/invitations`; `mine` takes the new node in under this node's owner."""

    mine: bool = False


class InvitationView(msgspec.Struct, frozen=True):
    """An invitation: good once, until it expires."""

    token: str
    expires_ms: int


class NodeView(msgspec.Struct, frozen=True):
    """One node of the network as the ledger knows it."""

    node: Hex32
    owner: Hex32
    name: str
    nonce: int
    revoked: bool
    attested: bool


class BlockView(msgspec.Struct, frozen=True):
    """A block. `entries` are canonical bytes as hex, the opening first; `codes` what became of
    each, and `types` what each is."""

    height: int
    time_ms: int
    hash: Hex32
    previous: Hex32
    app_hash: Hex32
    entries: list[str]
    types: list[str]
    codes: list[str]


class StatusView(msgspec.Struct, frozen=True):
    """`GET /v1/network`: this node in one look."""

    name: str
    node: Hex32
    owner: Hex32
    genesis: Hex32
    network: str
    network_class: str
    role: str
    assurance: str
    pid: int
    stoq: str
    api: str
    height: int
    app_hash: Hex32
    block_time_ms: int
    contact_age_ms: int | None
    certificate_sha256: Hex32
    certificate_expires_ms: int
    key_protection: str
    assets: int
    leases: int


class AccountView(msgspec.Struct, frozen=True):
    """An account; `anchor` none means test units without a peg."""

    owner: Hex32
    balance: Amount
    bonded: Amount
    in_escrow: Amount
    anchor: str


class TransferRequest(Body, frozen=True):
    """`POST /v1/accounts/transfer`."""

    to: Hex32
    amount: Annotated[int, Meta(ge=1)]
    memo: Annotated[str, Meta(max_length=200)] = ""


class JobSubmit(Body, frozen=True):
    """`POST /v1/jobs`: run a program in the pool and wait for its result. Bytes as hex."""

    engine: Annotated[str, Meta(max_length=32)]
    program: Annotated[str, Meta(min_length=2, max_length=4 * 1024 * 1024)]
    arguments: Annotated[list[Annotated[str, Meta(max_length=4096)]], Meta(max_length=64)] = []
    stdin: Annotated[str, Meta(max_length=2 * 1024 * 1024)] = ""
    cpu_millicores: Annotated[int, Meta(ge=1, le=1_024_000)] = 200
    memory_bytes: Annotated[int, Meta(ge=1 << 20, le=1 << 44)] = 256 << 20
    wall_ms: Annotated[int, Meta(ge=1, le=86_400_000)] = 30_000
    output_bytes: Annotated[int, Meta(ge=0, le=1 << 20)] = 1 << 20
    asset: Hex16 | None = None


class JobView(msgspec.Struct, frozen=True):
    """What a job did, how it was held, and what it cost."""

    lease: Hex32
    provider: Hex32
    engine: str
    exit_code: int
    reason: str
    stdout: str
    stderr: str
    wall_ms: float
    cpu_ms: float
    memory_peak_bytes: int
    isolation: str
    enforced: dict[str, str]
    paid: Amount
    fee: Amount
    timings_ms: dict[str, float]
