"""What a demo run reports, as JSON (`--report FILE`)."""

from __future__ import annotations

import msgspec

SCHEMA_VERSION = 1


class NodeReport(msgspec.Struct, frozen=True):
    name: str
    node_id: str
    pid: int
    stoq: str
    api: str
    certificate_sha256: str


class AssetsReport(msgspec.Struct, frozen=True):
    registered: int
    by_kind: dict[str, int]


class ProofCount(msgspec.Struct, frozen=True):
    """`verified` counts accepted bundles on the ledger; `rejected` the refusals of this run that
    name the proof."""

    verified: int
    rejected: int


class ProofsReport(msgspec.Struct, frozen=True):
    by_kind: dict[str, ProofCount]


class MemoryReport(msgspec.Struct, frozen=True):
    address: str
    lease: str
    bytes_written: int
    bytes_read: int
    blake3_match: bool
    write_gbps: float
    read_gbps: float
    cas_ok: bool


class Enforced(msgspec.Struct, frozen=True):
    cpu: str
    memory: str


class JobReport(msgspec.Struct, frozen=True):
    engine: str
    exit_code: int
    stdout: str
    wall_ms: float
    cpu_ms: float
    isolation: str
    enforced: Enforced


class PaymentReport(msgspec.Struct, frozen=True):
    """Differences of the real balances over this run's leases, in nCAES."""

    lease_ids: list[str]
    consumer_delta: int
    provider_delta: int
    fees: int
    conserved: bool


class LedgerReport(msgspec.Struct, frozen=True):
    engine: str
    height: int
    app_hash: str
    followers_agree: bool


class Report(msgspec.Struct, frozen=True):
    schema_version: int
    seed: int
    nodes: list[NodeReport]
    assets: AssetsReport
    proofs: ProofsReport
    memory: MemoryReport
    job: JobReport
    wasm_job: JobReport
    payment: PaymentReport
    ledger: LedgerReport
    timings_ms: dict[str, float]

    @property
    def ok(self) -> bool:
        """Everything that the demo promises came true."""
        return (
            self.memory.blake3_match
            and self.memory.cas_ok
            and self.job.exit_code == 0
            and self.wasm_job.exit_code == 0
            and self.payment.conserved
            and self.ledger.followers_agree
            and all(each.verified and each.rejected for each in self.proofs.by_kind.values())
        )
