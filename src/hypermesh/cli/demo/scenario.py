"""The main job, step by step: found, join, prove, lie, lease, compute, settle, agree.

The nodes are processes of their own; this one only asks them through the SDK, as a user would.
"""

from __future__ import annotations

import hashlib
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

import click
import msgspec
import wasmtime

from hypermesh.cli.demo.programs import COLLATZ, PRIMES, collatz_steps
from hypermesh.cli.demo.report import (
    SCHEMA_VERSION,
    AssetsReport,
    Enforced,
    JobReport,
    LedgerReport,
    MemoryReport,
    NodeReport,
    PaymentReport,
    ProofCount,
    ProofsReport,
    Report,
)
from hypermesh.cli.output import facts
from hypermesh.crypto.digest import digest
from hypermesh.node.background import await_ready, launch, stop
from hypermesh.node.claim import holder
from hypermesh.node.configuration import Configuration
from hypermesh.sdk.location import socket_path
from hypermesh.sdk.mesh import Mesh
from hypermesh.wire.address import GlobalAddress
from hypermesh.wire.amount import format_caes
from hypermesh.wire.api.job import JobSubmit, JobView
from hypermesh.wire.api.lease import LeaseView
from hypermesh.wire.asset import AssetKind, AssetState
from hypermesh.wire.codec import decode
from hypermesh.wire.errors import HyperMeshError, InvalidInput, NotFound, Unreachable
from hypermesh.wire.proof import Bundle, ProofKind
from hypermesh.wire.tx import ConsensusAttest, SignedTransaction

NAMES = ("alice", "bob", "carol")
SHARE = "33.33%"
START_TIMEOUT_S = 90.0
AGREE_TIMEOUT_S = 30.0
POLL_S = 0.02
REGION_BYTES = 32 << 20

Say = Callable[[str], None]
T = TypeVar("T")


@dataclass
class Demo:
    """One run. Collects what happened on its way to the report."""

    data: Path
    seed: int
    say: Say
    stack: ExitStack
    meshes: dict[str, Mesh] = field(default_factory=dict)
    timings_ms: dict[str, float] = field(default_factory=dict)
    settled: list[LeaseView] = field(default_factory=list)
    jobs: list[JobView] = field(default_factory=list)

    @property
    def alice(self) -> Mesh:
        return self.meshes["alice"]

    @contextmanager
    def step(self, name: str, text: str) -> Iterator[None]:
        """Say what is done and keep how long it took."""
        self.say(f"{text} ...")
        started = time.perf_counter()
        yield
        self.timings_ms[name] = round((time.perf_counter() - started) * 1000, 1)

    def start_nodes(self) -> None:
        with self.step("start_alice", "alice founds the network (or comes back) and sequences"):
            self._await("alice", self._launch("alice", None))
        with self.step("join", "bob and carol join by token (or come back) and follow"):
            launched = {name: self._launch(name, self._token(name)) for name in NAMES[1:]}
            for name, process in launched.items():
                self._await(name, process)
        with self.step("agree_first", "all three see each other's assets"):
            wait_for(self._all_visible, START_TIMEOUT_S, "the assets of all three nodes")

    def _token(self, name: str) -> str | None:
        joined = (self.data / name / "genesis").exists()
        return None if joined else self.alice.network.invite().token

    def _launch(self, name: str, token: str | None) -> subprocess.Popen[bytes] | None:
        configuration = self._configuration(name)
        if holder(configuration.lock) is not None:
            return None
        # Whoever runs a demo again after days means to: no clock to be doubted.
        process = launch(configuration, token, clock_is_right=True)
        self.stack.callback(_end, process, self.data / name)
        return process

    def _await(self, name: str, process: subprocess.Popen[bytes] | None) -> None:
        if process is not None:
            await_ready(self._configuration(name), process, timeout_s=START_TIMEOUT_S)
        self.meshes[name] = self.stack.enter_context(Mesh(socket_path(self.data / name)))

    def _configuration(self, name: str) -> Configuration:
        return Configuration.of(
            self.data / name,
            name=name,
            share=SHARE,
            level="full_public",
            stoq_host="::1",
            stoq_port=None,
        )

    def _all_visible(self) -> bool:
        for mesh in self.meshes.values():
            hosts = {asset.host for asset in mesh.assets.list(AssetKind.MEMORY)}
            attested = sum(node.attested for node in mesh.network.nodes())
            if len(hosts) < len(NAMES) or attested < len(NAMES):
                return False
        return True

    def prove_and_lie(self) -> ProofsReport:
        with self.step("proofs", "bob lies about each of his four proofs, well signed"):
            refusals = {kind: self._lie(kind) for kind in ProofKind}
        accepted = sum(1 for _ in self._bundles())
        return ProofsReport(
            {
                kind.value: ProofCount(accepted, int(kind.value in refusals[kind]))
                for kind in ProofKind
            }
        )

    def _lie(self, kind: ProofKind) -> list[str]:
        """The proofs that the ledger names when it refuses bob's lie about `kind`."""
        return self.meshes["bob"].attempts.run(f"forge-{kind.value}").failures

    def _bundles(self) -> Iterator[tuple[bytes, Bundle]]:
        """(node, bundle) of every accepted attestation on the ledger, oldest first."""
        height = self.alice.network.status().height
        for number in range(1, height + 1):
            block = self.alice.ledger.block(number)
            for entry, kind, code in zip(block.entries, block.types, block.codes, strict=True):
                if code == "ok" and kind == "consensus.attest":
                    read = decode(SignedTransaction, bytes.fromhex(entry)).transaction
                    if isinstance(read.body, ConsensusAttest):
                        yield read.signer, read.body.bundle

    def remote_memory(self) -> MemoryReport:
        place = self._address(AssetKind.MEMORY, "carol")
        content = hashlib.shake_256(b"hm demo %d" % self.seed).digest(REGION_BYTES)
        with self.step("memory_lease", f"alice leases {REGION_BYTES >> 20} MiB of carol's memory"):
            region = self.alice.memory.lease(REGION_BYTES, address=GlobalAddress.parse(place))
        with self.step("memory_bytes", "and writes, reads and swaps there over STOQ"):
            started = time.perf_counter()
            region.write(0, content)
            written = time.perf_counter()
            back = region.read(0, REGION_BYTES)
            read = time.perf_counter()
            before = int.from_bytes(content[:8], "little")
            swapped, _ = region.compare_and_swap(0, before, before ^ self.seed)
            _, now = region.compare_and_swap(0, before, before)
        with self.step("memory_settle", "and pays for what she held"):
            settled = region.close()
        if settled is not None:
            self.settled.append(settled)
        return MemoryReport(
            address=place,
            lease=region.lease.lease,
            bytes_written=len(content),
            bytes_read=len(back),
            blake3_match=digest("demo", back) == digest("demo", content),
            write_gbps=_gbps(len(content), written - started),
            read_gbps=_gbps(len(back), read - written),
            cas_ok=swapped and now == before ^ self.seed,
        )

    def python_job(self) -> JobReport:
        start, count = 10_000 + self.seed % 1_000_000, 20
        job = JobSubmit(
            engine="python", program=PRIMES.hex(), stdin=f"{start} {count}".encode().hex()
        )
        with self.step("python_job", "alice runs a Python job on another machine's CPU"):
            return self._run(job)

    def wasm_job(self) -> JobReport:
        start = 27 + self.seed % 1_000_000
        module = wasmtime.wat2wasm(COLLATZ.replace("SEED", str(start)))
        job = JobSubmit(engine="wasm", program=bytes(module).hex())
        with self.step("wasm_job", "and a WebAssembly job"):
            report = self._run(job)
        if report.stdout != f"{collatz_steps(start)}\n":
            raise HyperMeshError("The WASM job printed another number than its program gives")
        return report

    def _run(self, job: JobSubmit) -> JobReport:
        view = self.alice.jobs.run(job)
        if view.exit_code is None:
            raise view.failure or HyperMeshError(f"Job {view.job} has no result")
        self.jobs.append(view)
        return JobReport(
            engine=view.engine,
            exit_code=view.exit_code,
            stdout=view.stdout,
            wall_ms=view.wall_ms,
            cpu_ms=view.cpu_ms,
            isolation=view.isolation,
            enforced=Enforced(view.enforced["cpu"], view.enforced["memory"]),
        )

    def payment(self, before: dict[str, int]) -> PaymentReport:
        """What the balances say, against what the settlements said."""
        after = self.balances()
        consumer = after["alice"] - before["alice"]
        provider = sum(after[name] - before[name] for name in NAMES[1:])
        settled = [(lease.lease, lease.fee) for lease in self.settled]
        settled += [(job.lease, job.fee) for job in self.jobs if job.lease]
        fees = sum(fee or 0 for _, fee in settled)
        return PaymentReport(
            lease_ids=[lease for lease, _ in settled],
            consumer_delta=consumer,
            provider_delta=provider,
            fees=fees,
            conserved=consumer == -(provider + fees) and provider > 0 and fees > 0,
        )

    def balances(self) -> dict[str, int]:
        """All from one copy of the ledger: followers may lag a block behind."""
        owners = {name: mesh.network.status().owner for name, mesh in self.meshes.items()}
        return {name: self.alice.accounts.get(owner).balance for name, owner in owners.items()}

    def agreement(self) -> LedgerReport:
        """All three at one height with one app hash."""
        with self.step("agree_last", "and all three ledgers agree"):
            agreed = wait_for(self._agreed, AGREE_TIMEOUT_S, "one height and one app hash")
        height, app_hash = agreed
        return LedgerReport("solo", height, app_hash, followers_agree=True)

    def _agreed(self) -> tuple[int, str] | None:
        seen = {(s.height, s.app_hash) for s in (m.network.status() for m in self.meshes.values())}
        return seen.pop() if len(seen) == 1 else None

    def nodes(self) -> list[NodeReport]:
        statuses = {name: mesh.network.status() for name, mesh in self.meshes.items()}
        return [
            NodeReport(name, s.node, s.pid, s.stoq, s.api, s.certificate_sha256)
            for name, s in statuses.items()
        ]

    def assets(self) -> AssetsReport:
        found = list(self.alice.assets.list())
        kinds = sorted({asset.kind.value for asset in found})
        by_kind = {kind: sum(a.kind.value == kind for a in found) for kind in kinds}
        return AssetsReport(len(found), by_kind)

    def _address(self, kind: AssetKind, host: str) -> str:
        for asset in self.alice.assets.list(kind):
            if asset.host_name == host and asset.state is AssetState.AVAILABLE:
                return asset.address
        raise NotFound(f"{host} has no {kind.value} to lease")


def run(data: Path, *, leave: bool, report: Path | None, seed: int) -> int:
    """Run the main job; returns the exit code."""
    if report is not None and not report.absolute().parent.is_dir():
        raise InvalidInput(
            f"{report} cannot be written", why="its directory does not exist", fix="Make it first"
        )
    with ExitStack() as stack:
        demo = Demo(data, seed, lambda text: click.echo(f"  {text}"), stack)
        started = time.perf_counter()
        click.echo(f"Three nodes in {data}")
        demo.start_nodes()
        proofs = demo.prove_and_lie()
        before = demo.balances()
        memory = demo.remote_memory()
        job = demo.python_job()
        wasm_job = demo.wasm_job()
        payment = demo.payment(before)
        ledger = demo.agreement()
        demo.timings_ms["total"] = round((time.perf_counter() - started) * 1000, 1)
        result = Report(
            schema_version=SCHEMA_VERSION,
            seed=seed,
            nodes=demo.nodes(),
            assets=demo.assets(),
            proofs=proofs,
            memory=memory,
            job=job,
            wasm_job=wasm_job,
            payment=payment,
            ledger=ledger,
            timings_ms=demo.timings_ms,
        )
        if report is not None:
            report.write_bytes(msgspec.json.format(msgspec.json.encode(result), indent=2) + b"\n")
        click.echo("\n" + summary(result))
        if not leave:
            click.echo(
                "\nThe three nodes stay up. Try, in another terminal:\n"
                f"  hm asset ls --data {data / 'bob'}\n"
                f"  hm wallet show --data {data / 'alice'}\n"
                "Ctrl-C ends them; the next run goes on with them."
            )
            _until_interrupted()
        return 0 if result.ok else 1


def summary(result: Report) -> str:
    """What happened, a line each."""
    t, m, j, w, p = result.timings_ms, result.memory, result.job, result.wasm_job, result.payment
    refused = sum(count.rejected for count in result.proofs.by_kind.values())
    verified = sum(count.verified for count in result.proofs.by_kind.values())
    kinds = ", ".join(f"{count} {kind}" for kind, count in result.assets.by_kind.items())
    return facts(
        {
            "nodes": f"3 up in {(t['start_alice'] + t['join']) / 1000:.1f} s",
            "assets": f"{result.assets.registered} registered ({kinds})",
            "proofs": f"{verified} verified; {refused} of 4 lies refused, each by its name",
            "memory": f"wrote {m.write_gbps:.1f} and read {m.read_gbps:.1f} Gbit/s; bytes match: "
            f"{'yes' if m.blake3_match else 'NO'}; compare-and-swap: "
            f"{'yes' if m.cas_ok else 'NO'}",
            "python job": f"exit {j.exit_code} in {j.wall_ms:.0f} ms ({j.cpu_ms:.0f} ms of CPU), "
            f"{j.isolation}; limits kept by {j.enforced.cpu}",
            "wasm job": f"exit {w.exit_code} in {w.wall_ms:.0f} ms, {w.isolation}",
            "payment": f"alice {format_caes(p.consumer_delta)}, providers "
            f"{format_caes(p.provider_delta)}, fees {format_caes(p.fees)} CAES; "
            f"conserved: {'yes' if p.conserved else 'NO'}",
            "ledger": f"height {result.ledger.height}, {result.ledger.app_hash[:16]}, all agree",
            "total": f"{t['total'] / 1000:.1f} s",
        }
    )


def wait_for(condition: Callable[[], T | None], timeout_s: float, what: str) -> T:
    """The first true value of `condition`, asked until the deadline."""
    deadline = time.monotonic() + timeout_s
    while not (value := condition()):
        if time.monotonic() > deadline:
            raise Unreachable(f"Waited {timeout_s:g} s for {what}")
        time.sleep(POLL_S)
    return value


def _end(process: subprocess.Popen[bytes], data: Path) -> None:
    stop(data)
    process.wait()


def _until_interrupted() -> None:
    stopped = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: stopped.set())
    stopped.wait()


def _gbps(count: int, seconds: float) -> float:
    return round(count * 8 / seconds / 1e9, 3)
