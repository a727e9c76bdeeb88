"""Calls between nodes over STOQ: the methods, what they take and what they return.

A request stream carries one `Call`; the answer is the encoded result or a `Problem`. Calls on
ALPN `hm-enrol/1` are `enrol.*` only; on `hm-session/1` (the bearer of a lease) `job.*` only; on
`hm-partner/1` (a node of a partner network) `partner.*` and `asset.inspect` only; the rest needs
`hm/1`, where both sides have proven their certificates.
"""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from hypermesh.wire.asset import (
    AssetKind,
    AssetState,
    Capability,
    Descriptor,
    Locator,
    Offer,
    PrivacyLevel,
    Receipt,
    Region,
    Sharing,
    TimeMs,
)
from hypermesh.wire.block import Genesis
from hypermesh.wire.errors import Problem
from hypermesh.wire.ids import AssetId, GenesisId, Hash, JobId, LeaseId, NodeId, OwnerId
from hypermesh.wire.keys import PublicKeys, QuantumSignature
from hypermesh.wire.reading import MeterReading
from hypermesh.wire.transparency import NOTE_BYTES_MAX, Logged, Origin, Path
from hypermesh.wire.tx import Certificate, LogSize, TxResult

ALPN_NODE = "hm/1"
ALPN_ENROL = "hm-enrol/1"
ALPN_SESSION = "hm-session/1"
ALPN_PARTNER = "hm-partner/1"
"""Between nodes of two networks that list each other (`docs/decisions/0028-federation.md`)."""

SERVICE_CONTROL = 1
"""STOQ service number of `Call`s."""
SERVICE_MEMORY = 2
"""STOQ service number of remote memory; its operations are served in Rust."""
SERVICE_JOB = 3
"""STOQ service number of jobs: `Call`s of `job.*`."""
SERVICE_TRANSFER = 4
"""STOQ service number of files: streams as `wire.transfer` says."""
SERVICE_ECHO = 7
"""STOQ service number that returns what it gets (RFC 862 in spirit), to measure a path."""

SERVICE_TUNNEL = 22
"""STOQ service number of tunnels: a stream for each connection to a service that a node offers."""
SERVICE_PERF = 23
"""STOQ service number of measurements of a path, of servers that run alone."""


LOG_RESOURCE_BYTES_MAX = 4_000_000
"""A whole tile of entries of a mesh has about a quarter of that; a body of STOQ has 4 MiB."""
COSIGNATURE_BYTES_MAX = 16 * 1024
"""Both lines of a node have about 2 KiB."""
INTRODUCTION_BYTES_MAX = 96 * 1024
PARTNER_REVOKED_MAX = 4096
"""Revoked nodes that one answer names."""
PARTNER_ASSETS_MAX = 256
"""Assets in one answer to a node of another network."""


class Call(msgspec.Struct, frozen=True, array_like=True):
    """One request: a method and its encoded argument."""

    method: Annotated[str, Meta(min_length=1, max_length=64)]
    argument: bytes


class EnrolStatement(msgspec.Struct, frozen=True, array_like=True):
    """What an `EnrolRequest` signs, encoded (domain `enrol`, the network's genesis id).

    `channel` is the STOQ channel binding of the connection that carries the request, so a request
    is worthless on any other; `secret` is the invitation's, empty on renewal; `owner` is absent
    where the request brings none.
    """

    channel: Hash
    secret: Annotated[bytes, Meta(max_length=16)]
    node: PublicKeys
    owner: PublicKeys | None


class EnrolRequest(msgspec.Struct, frozen=True, array_like=True):
    """`enrol.request` and `enrol.renew`: ask the CA for a node certificate.

    `proof` signs the `EnrolStatement` of the other fields with the node's keys; `owner_consent`
    signs the same with the owner's, so a node cannot name an owner that does not know it. An
    invitation for the issuer's own machines (`hm invite --mine`) leaves `owner` empty: the issuer's
    owner takes it in. A renewal leaves `secret` and `owner` empty: the node keeps its owner.
    """

    secret: Annotated[bytes, Meta(max_length=16)]
    node: PublicKeys
    owner: PublicKeys | None
    channel: Hash
    proof: QuantumSignature
    owner_consent: QuantumSignature | None


class EnrolResponse(msgspec.Struct, frozen=True, array_like=True):
    """The certificate chain (leaf, issuing, root), where the network begins, and what shows that
    the leaf is in the network's transparency log; None where the authority keeps none."""

    chain: Annotated[list[Certificate], Meta(min_length=3, max_length=3)]
    genesis: Genesis
    owner: OwnerId
    locators: Annotated[list[Locator], Meta(max_length=16)]
    logged: Logged | None = None


class LoggedRequest(msgspec.Struct, frozen=True, array_like=True):
    """`certificate.logged`: what shows that the answering node's certificate with this SHA-256 is
    logged?"""

    certificate_sha256: Hash


class LoggedResponse(msgspec.Struct, frozen=True, array_like=True):
    """The node's certificate chain, and the evidence beside it; None where it has none."""

    chain: Annotated[list[Certificate], Meta(min_length=3, max_length=3)]
    logged: Logged | None


class LogProofRequest(msgspec.Struct, frozen=True, array_like=True):
    """`log.prove`: of the log `origin`, the path from entry `index` to the root of its first `size`
    entries (RFC 9162 section 2.1.3)."""

    origin: Origin
    index: Annotated[int, Meta(ge=0, le=2**40)]
    size: Annotated[int, Meta(ge=0, le=2**40)]


class LogProofResponse(msgspec.Struct, frozen=True, array_like=True):
    """The hashes, from the leaf up."""

    path: Path


class CosignRequest(msgspec.Struct, frozen=True, array_like=True):
    """`log.cosign`: cosign the checkpoint in the signed note `note`, as a witness that cosigned
    `old` entries of its log last; `proof` leads from these to the checkpoint (RFC 9162 section
    2.1.4)."""

    old: LogSize
    proof: Path
    note: Annotated[bytes, Meta(min_length=1, max_length=NOTE_BYTES_MAX)]


class CosignResponse(msgspec.Struct, frozen=True, array_like=True):
    """The witness's signature lines, and how many entries it has cosigned now; without lines where
    it stands at another size than `old`."""

    lines: Annotated[bytes, Meta(max_length=COSIGNATURE_BYTES_MAX)]
    size: LogSize


class CosignedRequest(msgspec.Struct, frozen=True, array_like=True):
    """`log.cosigned`: of the log `origin`, the newest checkpoint that witnesses have cosigned, and
    the path from entry `index` to its root."""

    origin: Origin
    index: LogSize


class CosignedResponse(msgspec.Struct, frozen=True, array_like=True):
    """The checkpoint as a signed note with its cosignatures, and the path."""

    note: Annotated[bytes, Meta(min_length=1, max_length=NOTE_BYTES_MAX)]
    path: Path


class LogReadRequest(msgspec.Struct, frozen=True, array_like=True):
    """`log.read`: what a monitor reads under `path` of the present log for a purpose (C2SP
    static-ct-api, tlog-tiles)."""

    log: Literal["certificates", "acts"]
    path: Annotated[str, Meta(min_length=1, max_length=200)]


class LogReadResponse(msgspec.Struct, frozen=True, array_like=True):
    """The resource, as the log serves it."""

    content: Annotated[bytes, Meta(max_length=LOG_RESOURCE_BYTES_MAX)]


class BlocksRequest(msgspec.Struct, frozen=True, array_like=True):
    """`ledger.blocks`: blocks from `height` on; waits up to `wait_ms` for the first."""

    height: Annotated[int, Meta(ge=1, le=2**53)]
    count_max: Annotated[int, Meta(ge=1, le=256)]
    wait_ms: Annotated[int, Meta(ge=0, le=30_000)]


class BlocksResponse(msgspec.Struct, frozen=True, array_like=True):
    """Encoded `Block`s in order, the height of the one who answers and, from the sequencer, block
    time at the moment of the answer (0 from others)."""

    blocks: list[bytes]
    height: int
    time_ms: TimeMs = 0


class SubmitResponse(msgspec.Struct, frozen=True, array_like=True):
    """`ledger.submit` (argument: an encoded `SignedTransaction`): durable when answered.

    `problem` says a refusal in words, where the answering node still has them.
    """

    height: int
    index: int
    result: TxResult
    problem: Problem | None = None


class AssetView(msgspec.Struct, frozen=True, array_like=True):
    """An asset as its hosting node shows it to one caller, after the access check. `free` units may
    be lent now, of the `share` of its capacity that its owner lends, in ten-thousandths. With
    `salt` the caller sees that the descriptor is the one that the ledger commits to."""

    asset: AssetId
    owner: OwnerId
    host: NodeId
    kind: AssetKind
    level: PrivacyLevel
    state: AssetState
    descriptor: Descriptor
    in_use: bool
    free: int
    share: Annotated[int, Meta(ge=1, le=10_000)]
    region: Region
    salt: Annotated[bytes, Meta(min_length=16, max_length=16)]


class DescribeRequest(msgspec.Struct, frozen=True, array_like=True):
    """`asset.describe`: what is it, and on what terms may the caller's owner lease it."""

    asset: AssetId


class PartnerStatusRequest(msgspec.Struct, frozen=True, array_like=True):
    """`partner.status`: who is revoked in the network of the node that is asked. `height` is where
    the caller's list stands, 0 for none."""

    height: Annotated[int, Meta(ge=0, le=2**53)]


class PartnerStatus(msgspec.Struct, frozen=True, array_like=True):
    """The revoked nodes of a network at a height of its ledger, as one of its nodes follows it. All
    of them where `complete`, else as many as there is room for."""

    height: Annotated[int, Meta(ge=0, le=2**53)]
    time_ms: TimeMs
    revoked: Annotated[list[NodeId], Meta(max_length=PARTNER_REVOKED_MAX)]
    complete: bool


class PartnerIntroductionRequest(msgspec.Struct, frozen=True, array_like=True):
    """`partner.introduction`: what is `network`, which the node that is asked is of, now? Anybody
    may ask."""

    network: GenesisId


class PartnerIntroduction(msgspec.Struct, frozen=True, array_like=True):
    """An encoded `trustchain.federation.Introduction`: the answer to `partner.introduction`, and
    what `partner.changed` tells a partner that lists the caller's network."""

    introduction: Annotated[bytes, Meta(max_length=INTRODUCTION_BYTES_MAX)]


class PartnerNoted(msgspec.Struct, frozen=True, array_like=True):
    """Whether that was news that the listing will follow."""

    news: bool


class PartnerAssetsRequest(msgspec.Struct, frozen=True, array_like=True):
    """`partner.assets`: the assets that are open to anyone, those with ids above `after`."""

    after: Annotated[bytes, Meta(max_length=16)]


class PartnerAsset(msgspec.Struct, frozen=True, array_like=True):
    """An asset at FullPublic, as the ledger of its network has it."""

    asset: AssetId
    host: NodeId
    kind: AssetKind
    state: AssetState
    capacity: Annotated[int, Meta(ge=0, le=2**63 - 1)]


class PartnerAssets(msgspec.Struct, frozen=True, array_like=True):
    """A page of them by ascending id; `more` where there are others above."""

    items: Annotated[list[PartnerAsset], Meta(max_length=PARTNER_ASSETS_MAX)]
    more: bool


class DescribeResponse(msgspec.Struct, frozen=True, array_like=True):
    """The view, with the host's signed consent and its present attestation."""

    view: AssetView
    offer: Offer
    offer_signature: QuantumSignature
    attestation: Hash


class TermsRequest(msgspec.Struct, frozen=True, array_like=True):
    """`asset.terms`: on what terms is the caller's asset shared; and the height at which the caller
    saw that it is the caller's."""

    asset: AssetId
    height: Annotated[int, Meta(ge=0, le=2**53)]


class TermsResponse(msgspec.Struct, frozen=True, array_like=True):
    """All that the owner has set, told to the owner alone; of `capacity` units `free` are not set
    aside."""

    sharing: Sharing
    capacity: int
    free: int


class SetTermsRequest(msgspec.Struct, frozen=True, array_like=True):
    """`asset.set_terms`: the owner of an asset tells its host the terms that the owner is about to
    put on the ledger. They hold from the block that commits to them. `height` as in
    `TermsRequest`."""

    asset: AssetId
    sharing: Sharing
    height: Annotated[int, Meta(ge=0, le=2**53)]


class SetTermsResponse(msgspec.Struct, frozen=True, array_like=True):
    """The host has written the terms down. `descriptor` and `salt` are what FullPublic discloses;
    `attestation` is the host's, for the owner's transaction."""

    descriptor: Descriptor
    salt: Annotated[bytes, Meta(max_length=16)]
    attestation: Hash


class LeaseRequest(msgspec.Struct, frozen=True, array_like=True):
    """`lease.activate` and `lease.receipt`: which lease, and the height the caller saw it at."""

    lease: LeaseId
    height: Annotated[int, Meta(ge=0, le=2**53)]


class ActivateResponse(msgspec.Struct, frozen=True, array_like=True):
    """The capability now accepted at `locator`."""

    capability: Capability
    locator: Locator


class ReceiptResponse(msgspec.Struct, frozen=True, array_like=True):
    """The final meter reading; the leased thing is already fenced off. The receipt's evidence is
    the digest of `reading`."""

    receipt: Receipt
    signature: QuantumSignature
    reading: MeterReading | None = None


class SignedLocator(msgspec.Struct, frozen=True, array_like=True):
    """`locator.publish`: a locator record under its node's signature (domain `locator`)."""

    locator: Locator
    signature: QuantumSignature


class ResolveRequest(msgspec.Struct, frozen=True, array_like=True):
    """`locator.resolve`: where is the node whose id starts with these bytes?"""

    prefix: Annotated[bytes, Meta(min_length=8, max_length=32)]


class LedgerStatus(msgspec.Struct, frozen=True, array_like=True):
    """`ledger.status`."""

    height: int
    app_hash: Hash
    time_ms: TimeMs
    assurance: str


JOB_WALL_MS_MAX = 86_400_000
"""A day."""
JOB_OUTPUT_BYTES_MAX = 1 << 20
"""Of standard output and standard error each."""


class JobLimits(msgspec.Struct, frozen=True, array_like=True):
    """What a job may use. Thousandths of a core, bytes, milliseconds of wall time; `output_bytes`
    bounds standard output and standard error each, so that a result fits one message."""

    cpu_millicores: Annotated[int, Meta(ge=1, le=1_024_000)]
    memory_bytes: Annotated[int, Meta(ge=1 << 20, le=1 << 44)]
    wall_ms: Annotated[int, Meta(ge=1, le=JOB_WALL_MS_MAX)]
    output_bytes: Annotated[int, Meta(ge=0, le=JOB_OUTPUT_BYTES_MAX)]


class JobRequest(msgspec.Struct, frozen=True, array_like=True):
    """`job.run`: `engine` is `python` or `wasm`; `program` is source text or a WASM module.

    `job` is the id that the consumer gave it; `job.output` and `job.cancel` name it. `packages` are
    Python packages of the provider that the program may import (`catalog.engines.packages`).
    `result_bytes` bounds one more output of the program, its result; with 0 it has none.
    """

    lease: LeaseId
    epoch: Annotated[int, Meta(ge=0)]
    engine: Annotated[str, Meta(max_length=32)]
    program: Annotated[bytes, Meta(min_length=1, max_length=1 << 21)]
    arguments: Annotated[list[Annotated[str, Meta(max_length=4096)]], Meta(max_length=64)]
    stdin: Annotated[bytes, Meta(max_length=1 << 20)]
    limits: JobLimits
    job: JobId = bytes(16)
    packages: Annotated[list[Annotated[str, Meta(max_length=64)]], Meta(max_length=8)] = []
    result_bytes: Annotated[int, Meta(ge=0, le=1 << 20)] = 0


class JobResult(msgspec.Struct, frozen=True, array_like=True):
    """What the job did and how it was held.

    `exit_code` is the program's, or 128 + signal. `reason` says why it ended: `exited`, `deadline`,
    `memory` (it wanted more than its limit) or `killed` (cancelled, or it flooded its output).
    `isolation` names the class; `enforced_*` name the mechanism (`Enforcement`) that kept each
    limit. `memory_peak_bytes` is 0 where nothing measures it. `*_cut_bytes` say how much of an
    output was dropped beyond its limit.
    """

    engine: str
    exit_code: int
    reason: str
    stdout: bytes
    stderr: bytes
    wall_us: int
    cpu_us: int
    memory_peak_bytes: int
    isolation: str
    enforced_cpu: str
    enforced_memory: str
    stdout_cut_bytes: int = 0
    stderr_cut_bytes: int = 0
    result: bytes = b""
    result_cut_bytes: int = 0


class JobOutputRequest(msgspec.Struct, frozen=True, array_like=True):
    """`job.output`: what a running job of this session's lease has said beyond these offsets; waits
    up to `wait_ms` for the first byte."""

    lease: LeaseId
    job: JobId
    stdout: Annotated[int, Meta(ge=0, le=1 << 20)]
    stderr: Annotated[int, Meta(ge=0, le=1 << 20)]
    wait_ms: Annotated[int, Meta(ge=0, le=30_000)]


class JobOutputResponse(msgspec.Struct, frozen=True, array_like=True):
    """What came; `ended` when the job no longer runs here, and its answer to `job.run` has the
    rest."""

    stdout: bytes
    stderr: bytes
    ended: bool


class JobCancelRequest(msgspec.Struct, frozen=True, array_like=True):
    """`job.cancel`: end a running job of this session's lease. `job.run` answers `killed`."""

    lease: LeaseId
    job: JobId


class JobCancelResponse(msgspec.Struct, frozen=True, array_like=True):
    """Whether the job was running."""

    running: bool
