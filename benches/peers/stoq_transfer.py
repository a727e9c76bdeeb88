"""Content-aware transfer: one file, then the same file with one byte inserted.

    python stoq_transfer.py scan --bytes N ...      cutting and digesting alone, no stream; by kind
    python stoq_transfer.py receive ...             takes two files
    python stoq_transfer.py send --bytes N ...      sends them

Files are made in the credentials directory.
"""

from __future__ import annotations

import secrets
import time
from pathlib import Path
from typing import Any

import tensors
from end import Options, announce, run
from stoq_stream import PATIENCE_MS, bound, dialled

from hypermesh import _native
from hypermesh.crypto.keys import QuantumKeys
from hypermesh.stoq.connection import Connection
from hypermesh.stoq.delivery import prove, verify_proof, verify_signature
from hypermesh.stoq.transfer.progress import Progress
from hypermesh.stoq.transfer.receiver import Receiver
from hypermesh.stoq.transfer.sender import Parties, Source, cutting_key, send
from hypermesh.stoq.transfer.store import Store
from hypermesh.wire.delivery import DeliveryProof
from hypermesh.wire.rpc import SERVICE_TRANSFER
from hypermesh.wire.transfer import PAGE_CHUNKS_MAX

PIECE_BYTES = 1 << 20
SCANS = 3
PROOFS = 50
SEED = 4
GZIP = b"\x1f\x8b\x08\0"
"""What a file begins with that is compressed (RFC 1952)."""
FILES = 2
STALL_MS = 60_000


def scan(options: Options) -> dict[str, Any]:
    key = cutting_key((options.credentials / "genesis").read_bytes())
    file = written(options.credentials / "scanned", options.bytes)
    taken_s = scanned(file, key, "content")
    with file.open("r+b") as content:
        content.write(GZIP)
    return {
        "taken_s": taken_s,
        "compressed_s": scanned(file, key, "compressed"),
        "tensors": tensors.beyond(options.credentials, key, SEED, b"")[1],
        "tensors_as_content": tensors.beyond(options.credentials, key, SEED, tensors.DISGUISE)[1],
    }


def scanned(file: Path, key: bytes, kind: str) -> list[float]:
    """Processor seconds of each pass over `file`, which is taken for a file of `kind`."""
    taken_s = []
    with Source(file) as source:
        for _ in range(SCANS):
            scanner = _native.ChunkScanner(source.descriptor, key)
            if scanner.kind != kind:
                raise SystemExit(f"the file is taken for {scanner.kind}")
            started = time.process_time()
            while scanner.page(PAGE_CHUNKS_MAX):
                pass
            taken_s.append(time.process_time() - started)
            if scanner.root() is None:
                raise SystemExit("the file was not scanned to its end")
    return taken_s


def receive(options: Options) -> dict[str, Any]:
    genesis, keys = _self(options.credentials, "server")
    store = Store(options.credentials / "inbox")
    receiver = Receiver(store, lambda _owner, _offer: None, _now_ms)
    with bound(options.host, options.credentials, "server") as endpoint:
        announce(endpoint.address[1])
        for _ in range(FILES):
            request = endpoint.next_request(PATIENCE_MS)
            if request is None or not (request.stream and request.peer_id and request.peer_owner):
                raise SystemExit("no file was offered")
            parties = Parties(genesis, keys, request.peer_id)
            receiver.receive(request.stream, request.peer_owner, parties, stall_ms=STALL_MS)
        while endpoint.stats().connections:  # the sender closes first
            time.sleep(0.001)
    store.close()
    return {"files": FILES}


def send_both(options: Options) -> dict[str, Any]:
    genesis, keys = _self(options.credentials, "client")
    file = written(options.credentials / "sent", options.bytes)
    with bound("::", options.credentials, "client") as endpoint:
        connection = dialled(endpoint, options)
        parties = Parties(genesis, keys, connection.peer_id)
        first = sent(connection, file, parties)
        insert(file, options.bytes // 2)
        again = sent(connection, file, parties)
    return {"first": first, "again": again}


def sent(connection: Connection, file: Path, parties: Parties) -> dict[str, Any]:
    last = Progress(0, 0, 0)

    def watch(progress: Progress) -> None:
        nonlocal last
        last = progress

    stream = connection.open_stream(SERVICE_TRANSFER)
    with Source(file) as source:
        started = time.perf_counter()
        proof = send(
            stream,
            source,
            secrets.token_bytes(16),
            parties,
            since_ms=_now_ms(),
            watcher=watch,
            stall_ms=STALL_MS,
        )
        seconds = time.perf_counter() - started
    verify_proof(proof)
    return {
        "seconds": seconds,
        "size": last.size,
        "moved": last.moved,
        "proof_s": proving(parties.keys, proof),
    }


def proving(keys: QuantumKeys, proof: DeliveryProof) -> float:
    """Seconds that the signatures of one delivery take, both ends together: each signs once and
    verifies the other's once."""
    started = time.perf_counter()
    for _ in range(PROOFS):
        signature = prove(keys, proof.delivery)
        verify_signature(keys.public, proof.delivery, signature)
    return 2 * (time.perf_counter() - started) / PROOFS


def written(file: Path, size: int) -> Path:
    """A file of random bytes."""
    with file.open("wb") as out:
        for at in range(0, size, PIECE_BYTES):
            out.write(secrets.token_bytes(min(PIECE_BYTES, size - at)))
    return file


def insert(file: Path, at: int) -> None:
    """One byte more, at `at`; what follows moves on by one."""
    with file.open("r+b") as content:
        content.seek(at)
        carried = b"!"
        while piece := content.read(PIECE_BYTES):
            content.seek(-len(piece), 1)
            moved = carried + piece
            content.write(moved[: len(piece)])
            carried = moved[len(piece) :]
        content.write(carried)


def _self(credentials: Path, who: str) -> tuple[bytes, QuantumKeys]:
    keys = QuantumKeys.from_secret_bytes((credentials / f"{who}.keys").read_bytes())
    return (credentials / "genesis").read_bytes(), keys


def _now_ms() -> int:
    return time.time_ns() // 1_000_000


if __name__ == "__main__":
    run(scan=scan, receive=receive, send=send_both)
