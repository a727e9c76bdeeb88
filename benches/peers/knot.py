"""Knot DNS as a peer of the name server: one zone with the same records, signed by Ed25519.

Knot signs a zone when it loads it. Ours signs an answer when it is first asked for and keeps the
signature, and the questions of a run were all asked before: so both give kept signatures, and
signing itself is not compared.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import dns.exception
import dns.message
import dns.query
import dns.rdatatype

HOST = "::1"
START_S = 30.0
TRY_S = 1.0


def program() -> str | None:
    """`knotd`; None, said how to have it, where it is not there."""
    found = shutil.which("knotd", path=f"{os.environ.get('PATH', '')}:/usr/sbin")
    if found is None:
        sys.stdout.write("Knot is left out: knotd is missing (Debian's package knot)\n")
    return found


@contextlib.contextmanager
def serving(knotd: str, directory: Path, apex: str, records: Sequence[str]) -> Iterator[int]:
    """The UDP port at which Knot answers for the zone `apex` of `records` (lines of a master file,
    RFC 1035 section 5), signed."""
    with socket.socket(socket.AF_INET6, socket.SOCK_DGRAM) as free:
        free.bind((HOST, 0))
        port = int(free.getsockname()[1])
    (directory / "zone").write_text("\n".join(records) + "\n")
    workers = len(os.sched_getaffinity(0))
    (directory / "knot.conf").write_text(
        f"server:\n    listen: {HOST}@{port}\n    rundir: {directory}\n"
        f"    udp-workers: {workers}\n"
        f"database:\n    storage: {directory}\n"
        "policy:\n  - id: bench\n    algorithm: ed25519\n    single-type-signing: on\n"
        f"zone:\n  - domain: {apex}\n    storage: {directory}\n    file: zone\n"
        "    dnssec-signing: on\n    dnssec-policy: bench\n    zonefile-sync: -1\n"
    )
    command = [knotd, "-c", str(directory / "knot.conf")]
    server = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        _signed(server, port, apex)
        yield port
    finally:
        server.terminate()
        server.wait()


def _signed(server: subprocess.Popen[bytes], port: int, apex: str) -> None:
    """Wait until answers are signed."""
    query = dns.message.make_query(apex, "SOA", want_dnssec=True)
    deadline = time.monotonic() + START_S
    while server.poll() is None and time.monotonic() < deadline:
        with contextlib.suppress(dns.exception.DNSException, OSError):
            answer = dns.query.udp(query, HOST, TRY_S, port)
            if any(each.rdtype == dns.rdatatype.RRSIG for each in answer.answer):
                return
        time.sleep(0.05)
    raise SystemExit("Knot does not answer with signatures")
