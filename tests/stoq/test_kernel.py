"""What the kernel offers beside the system calls of a socket, and what is said of it."""

from __future__ import annotations

import ctypes
import errno
import os

import pytest

from hypermesh import _native
from hypermesh.stoq import kernel
from hypermesh.wire.errors import NotAvailable

SYS_IO_URING_SETUP = 425


def test_io_uring_is_there_where_the_system_call_says_so() -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    ring = libc.syscall(SYS_IO_URING_SETUP, 1, (ctypes.c_uint32 * 30)())
    refused = os.strerror(ctypes.get_errno()) if ring < 0 else None
    if ring >= 0:
        os.close(ring)
    said = _native.stoq_io_uring()
    assert (said is None) == (refused is None)
    assert refused is None or refused in str(said)


def test_af_xdp_needs_a_driver() -> None:
    assert _native.stoq_af_xdp("lo")
    reasons = [os.strerror(each) for each in (errno.ENODEV, errno.EPERM, errno.EAFNOSUPPORT)]
    assert any(each in str(_native.stoq_af_xdp("no-such-device")) for each in reasons)


@pytest.mark.parametrize("offered", [True, False])
def test_neither_is_used_and_the_reason_is_said(
    offered: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    answer = None if offered else "Operation not permitted (os error 1)"
    monkeypatch.setattr(_native, "stoq_io_uring", lambda: answer)
    monkeypatch.setattr(_native, "stoq_af_xdp", lambda _interface: answer)
    for said in (kernel.io_uring(), kernel.af_xdp("eth0")):
        assert isinstance(said, NotAvailable)
        assert ("offers" in said.why) == offered
        assert answer is None or said.why == answer
        assert "0015" in said.fix
