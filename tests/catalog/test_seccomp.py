"""The filter's verdicts, by an interpreter of classic BPF."""

from __future__ import annotations

import errno
import struct

import pytest

from hypermesh.catalog.sandbox.seccomp import filter_for

ALLOW, KILL = 0x7FFF0000, 0x80000000
EPERM, ENOSYS = 0x00050000 | errno.EPERM, 0x00050000 | errno.ENOSYS
AUDIT = {"x86_64": 0xC000003E, "aarch64": 0xC00000B7}
CLONE = {"x86_64": 56, "aarch64": 220}
SOCKET = {"x86_64": 41, "aarch64": 198}
IOCTL = {"x86_64": 16, "aarch64": 29}
MACHINES = pytest.mark.parametrize("machine", ["x86_64", "aarch64"])


def verdict(machine: str, number: int, *arguments: int, arch: int | None = None) -> int:
    program = filter_for(machine)
    assert program is not None
    data = struct.pack(
        "<IIQ6Q", number, arch or AUDIT[machine], 0, *arguments, *[0] * (6 - len(arguments))
    )
    accumulator = at = 0
    while True:
        code, if_true, if_false, value = struct.unpack_from("<HBBI", program, 8 * at)
        at += 1
        if code == 0x20:
            (accumulator,) = struct.unpack_from("<I", data, value)
        elif code == 0x06:
            return value
        else:
            holds = {
                0x15: accumulator == value,
                0x35: accumulator >= value,
                0x45: bool(accumulator & value),
            }[code]
            at += if_true if holds else if_false


@MACHINES
def test_what_a_program_needs_is_allowed(machine: str) -> None:
    needed = {"x86_64": (0, 1, 9, 59, 231, 257, 318), "aarch64": (63, 64, 222, 221, 94, 56, 278)}
    for number in needed[machine]:
        assert verdict(machine, number) == ALLOW
    assert verdict(machine, CLONE[machine], 17) == ALLOW
    assert verdict(machine, CLONE[machine], 0x3D0F00) == ALLOW, "a thread, as glibc makes it"
    assert verdict(machine, IOCTL[machine], 0, 0x5401) == ALLOW
    for family in (1, 2, 10):
        assert verdict(machine, SOCKET[machine], family) == ALLOW


@MACHINES
def test_what_no_program_needs_is_denied(machine: str) -> None:
    denied = {
        # ptrace, mount, unshare, setns, bpf, keyctl, perf_event_open, userfaultfd, pivot_root
        "x86_64": (101, 165, 272, 308, 321, 250, 298, 323, 155),
        "aarch64": (117, 40, 97, 268, 280, 219, 241, 282, 41),
    }
    for number in (*denied[machine], 425, 426, 427, 428, 429, 430, 442):
        assert verdict(machine, number) == EPERM
    for family in (0, 16, 17, 38, 40):
        assert verdict(machine, SOCKET[machine], family) == EPERM
    for request in (0x5412, 0x541C):
        assert verdict(machine, IOCTL[machine], 0, request) == EPERM


@MACHINES
@pytest.mark.parametrize("bit", [17, 25, 26, 27, 28, 29, 30])
def test_no_namespace_can_be_made_by_clone(machine: str, bit: int) -> None:
    assert verdict(machine, CLONE[machine], 17 | 1 << bit) == EPERM
    assert verdict(machine, 435) == ENOSYS


def test_other_tables_of_system_calls_are_closed() -> None:
    assert verdict("x86_64", 59, arch=0x40000003) == KILL, "i386"
    assert verdict("aarch64", 59, arch=0x40000028) == KILL, "arm"
    assert verdict("x86_64", 0x40000000 | 59) == EPERM, "x32"


def test_high_halves_of_arguments_do_not_open_a_door() -> None:
    assert verdict("x86_64", SOCKET["x86_64"], (1 << 32) | 40) == EPERM
    assert verdict("x86_64", CLONE["x86_64"], (1 << 32) | 0x10000000) == EPERM


def test_a_machine_without_a_table_has_no_filter() -> None:
    assert filter_for("riscv64") is None
