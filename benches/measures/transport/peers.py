"""STOQ and the transports beside it.

The cipher is AES-256-GCM everywhere that one is used, and Rust's peers agree on keys by
X25519MLKEM768 as STOQ does.
"""

from __future__ import annotations

from collections.abc import Sequence

from measures.transport.ends import Link, Transport

QUIC_PAYLOAD_BYTES = {65_536: 65_487, 9_000: 8_952, 1_500: 1_452}
"""The largest UDP payload over IPv6 at each MTU."""
GSO_DATAGRAMS = 10
"""quinn's batch, whatever the datagram."""
GSO_BYTES_MAX = 65_487


def quinn_at_best(link: Link) -> Sequence[str]:
    """The largest datagram of the path. A batch of quinn's ten that the kernel would refuse loses
    all ten without a word, so beyond a tenth of the kernel's limit its offload is off, which it
    documents as a setting. Measured to be better than ten smaller datagrams with it."""
    payload = QUIC_PAYLOAD_BYTES[link.mtu]
    batched = payload * GSO_DATAGRAMS <= GSO_BYTES_MAX
    return ("--mtu", str(payload), "--gso", "true" if batched else "false")


AIOQUIC_PAYLOAD_BYTES_MAX = 16_000
"""Its packets say their length in 14 bits."""


def aioquic_datagram(link: Link) -> Sequence[str]:
    return ("--mtu", str(min(QUIC_PAYLOAD_BYTES[link.mtu], AIOQUIC_PAYLOAD_BYTES_MAX)))


STOQ = Transport("stoq", ("rust", "stoq"))
STOQ_PYTHON = Transport("stoq_python", ("python", "stoq_stream"))
QUINN = Transport("quinn_default", ("rust", "quinn"))
QUINN_BEST = Transport("quinn_best", ("rust", "quinn"), quinn_at_best)
RUSTLS = Transport("rustls", ("rust", "tls"))
PYTHON_SSL = Transport("python_ssl", ("python", "python_ssl"))
TCP = Transport("tcp", ("rust", "tcp"))
PYTHON_TCP = Transport("python_tcp", ("python", "plain_tcp"))
AIOQUIC = Transport("aioquic", ("python", "aioquic_stream"), aioquic_datagram)

ALL = (STOQ, STOQ_PYTHON, QUINN_BEST, QUINN, RUSTLS, PYTHON_SSL, TCP, PYTHON_TCP, AIOQUIC)
