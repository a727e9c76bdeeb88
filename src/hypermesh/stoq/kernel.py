"""Ways past the system calls of a socket: which the kernel offers, and why none of them is used."""

from __future__ import annotations

from hypermesh import _native
from hypermesh.wire.errors import NotAvailable

RECORD = "docs/decisions/0015-io-uring-and-af-xdp.md"


def io_uring() -> NotAvailable:
    """Why datagrams do not move by io_uring here."""
    refused = _native.stoq_io_uring()
    why = refused or "the kernel offers it, and where it was measured it did not pay"
    return NotAvailable("Datagrams do not move by io_uring", why=why, fix=f"See {RECORD}")


def af_xdp(interface: str) -> NotAvailable:
    """Why the datagrams of an interface do not move by AF_XDP."""
    refused = _native.stoq_af_xdp(interface)
    why = refused or "the kernel offers it; it would need an IPv6 stack and privileges of its own"
    what = f"Datagrams on {interface} do not move by AF_XDP"
    return NotAvailable(what, why=why, fix=f"See {RECORD}")
