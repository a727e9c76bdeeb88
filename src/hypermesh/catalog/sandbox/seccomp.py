"""The system calls that no job needs: a deny list in classic BPF (seccomp(2), linux/filter.h).

The namespaces already take the means away; this closes what they leave open. Namespaces do not
cover AF_VSOCK (a guest talks to its hypervisor over it), the kernel's key rings, and every kernel
interface behind a second user namespace, where most escapes of the past began. So: sockets of
UNIX, IPv4 and IPv6 only; no new namespaces; no mounts; no tracing; no `bpf`, `io_uring`,
`userfaultfd`, `perf`; no pushing of characters into a terminal. A refused call fails with EPERM.
`clone3` fails with ENOSYS, because its flags are out of a filter's reach and the C library then
falls back to `clone`.

A call made through another architecture's table (i386 on x86-64) ends the process.
"""

from __future__ import annotations

import errno
import struct
from dataclasses import dataclass

_LOAD = 0x20  # BPF_LD | BPF_W | BPF_ABS
_EQUAL = 0x15  # BPF_JMP | BPF_JEQ | BPF_K
_AT_LEAST = 0x35  # BPF_JMP | BPF_JGE | BPF_K
_ANY_BIT = 0x45  # BPF_JMP | BPF_JSET | BPF_K
_RETURN = 0x06  # BPF_RET | BPF_K

_ALLOW = 0x7FFF0000
_ERRNO = 0x00050000
_KILL_PROCESS = 0x80000000

# struct seccomp_data: nr u32, arch u32, instruction pointer u64, six arguments u64. Arguments are
# read by their low half, which stands first on the little-endian machines served here.
_NUMBER, _ARCH = 0, 4
_ARGUMENT_0, _ARGUMENT_1 = 16, 24

_X32_BIT = 0x40000000
_CLONE_NAMESPACES = 0x7E020000
"""CLONE_NEWNS, NEWCGROUP, NEWUTS, NEWIPC, NEWUSER, NEWPID and NEWNET (linux/sched.h)."""
_FAMILIES = (1, 2, 10)
"""AF_UNIX, AF_INET, AF_INET6."""
_TERMINAL_INJECTION = (0x5412, 0x541C)
"""TIOCSTI, TIOCLINUX."""


@dataclass(frozen=True, slots=True)
class _Machine:
    """Audit architecture (linux/audit.h) and numbers of system calls (asm/unistd.h)."""

    audit: int
    clone: int
    clone3: int
    socket: int
    ioctl: int
    denied: dict[str, int]
    x32: bool = False


# The numbers from 424 on are the same everywhere.
_EVERYWHERE = {
    "io_uring_setup": 425,
    "io_uring_enter": 426,
    "io_uring_register": 427,
    "open_tree": 428,
    "move_mount": 429,
    "fsopen": 430,
    "fsconfig": 431,
    "fsmount": 432,
    "fspick": 433,
    "pidfd_getfd": 438,
    "process_madvise": 440,
    "mount_setattr": 442,
    "quotactl_fd": 443,
}

_MACHINES = {
    "x86_64": _Machine(
        audit=0xC000003E,
        clone=56,
        clone3=435,
        socket=41,
        ioctl=16,
        x32=True,
        denied=_EVERYWHERE
        | {
            "ptrace": 101,
            "syslog": 103,
            "personality": 135,
            "uselib": 134,
            "ustat": 136,
            "sysfs": 139,
            "vhangup": 153,
            "modify_ldt": 154,
            "pivot_root": 155,
            "_sysctl": 156,
            "adjtimex": 159,
            "chroot": 161,
            "acct": 163,
            "settimeofday": 164,
            "mount": 165,
            "umount2": 166,
            "swapon": 167,
            "swapoff": 168,
            "reboot": 169,
            "sethostname": 170,
            "setdomainname": 171,
            "iopl": 172,
            "ioperm": 173,
            "create_module": 174,
            "init_module": 175,
            "delete_module": 176,
            "get_kernel_syms": 177,
            "query_module": 178,
            "quotactl": 179,
            "nfsservctl": 180,
            "lookup_dcookie": 212,
            "clock_settime": 227,
            "set_mempolicy": 238,
            "get_mempolicy": 239,
            "kexec_load": 246,
            "add_key": 248,
            "request_key": 249,
            "keyctl": 250,
            "migrate_pages": 256,
            "unshare": 272,
            "vmsplice": 278,
            "move_pages": 279,
            "perf_event_open": 298,
            "fanotify_init": 300,
            "name_to_handle_at": 303,
            "open_by_handle_at": 304,
            "clock_adjtime": 305,
            "setns": 308,
            "process_vm_readv": 310,
            "process_vm_writev": 311,
            "kcmp": 312,
            "finit_module": 313,
            "kexec_file_load": 320,
            "bpf": 321,
            "userfaultfd": 323,
        },
    ),
    "aarch64": _Machine(
        audit=0xC00000B7,
        clone=220,
        clone3=435,
        socket=198,
        ioctl=29,
        denied=_EVERYWHERE
        | {
            "lookup_dcookie": 18,
            "umount2": 39,
            "mount": 40,
            "pivot_root": 41,
            "nfsservctl": 42,
            "chroot": 51,
            "vhangup": 58,
            "quotactl": 60,
            "vmsplice": 75,
            "acct": 89,
            "personality": 92,
            "unshare": 97,
            "kexec_load": 104,
            "init_module": 105,
            "delete_module": 106,
            "clock_settime": 112,
            "syslog": 116,
            "ptrace": 117,
            "reboot": 142,
            "sethostname": 161,
            "setdomainname": 162,
            "settimeofday": 170,
            "adjtimex": 171,
            "add_key": 217,
            "request_key": 218,
            "keyctl": 219,
            "swapon": 224,
            "swapoff": 225,
            "get_mempolicy": 236,
            "set_mempolicy": 237,
            "migrate_pages": 238,
            "move_pages": 239,
            "perf_event_open": 241,
            "fanotify_init": 262,
            "name_to_handle_at": 264,
            "open_by_handle_at": 265,
            "clock_adjtime": 266,
            "setns": 268,
            "process_vm_readv": 270,
            "process_vm_writev": 271,
            "kcmp": 272,
            "finit_module": 273,
            "bpf": 280,
            "userfaultfd": 282,
            "kexec_file_load": 294,
        },
    ),
}


def filter_for(machine: str) -> bytes | None:
    """The filter for `machine` (as `platform.machine()` names it), as bwrap's `--seccomp` wants it:
    an array of `struct sock_filter`. None for a machine whose table is not known."""
    known = _MACHINES.get(machine)
    return None if known is None else _assemble(known)


def _assemble(machine: _Machine) -> bytes:
    program = _Program()
    program.load(_ARCH)
    program.jump(_EQUAL, machine.audit, otherwise="kill")
    program.load(_NUMBER)
    if machine.x32:
        program.jump(_AT_LEAST, _X32_BIT, to="deny")
    for number in sorted(machine.denied.values()):
        program.jump(_EQUAL, number, to="deny")
    program.jump(_EQUAL, machine.clone3, to="absent")
    program.jump(_EQUAL, machine.clone, to="clone")
    program.jump(_EQUAL, machine.socket, to="socket")
    program.jump(_EQUAL, machine.ioctl, to="ioctl", otherwise="allow")
    program.label("clone")
    program.load(_ARGUMENT_0)
    program.jump(_ANY_BIT, _CLONE_NAMESPACES, to="deny", otherwise="allow")
    program.label("socket")
    program.load(_ARGUMENT_0)
    for family in _FAMILIES:
        program.jump(_EQUAL, family, to="allow")
    program.give(_ERRNO | errno.EPERM)
    program.label("ioctl")
    program.load(_ARGUMENT_1)
    for request in _TERMINAL_INJECTION:
        program.jump(_EQUAL, request, to="deny")
    program.label("allow")
    program.give(_ALLOW)
    program.label("deny")
    program.give(_ERRNO | errno.EPERM)
    program.label("absent")
    program.give(_ERRNO | errno.ENOSYS)
    program.label("kill")
    program.give(_KILL_PROCESS)
    return program.assemble()


class _Program:
    """Instructions with labels; a jump without a target falls through."""

    def __init__(self) -> None:
        self._lines: list[tuple[int, str, str, int]] = []
        self._labels: dict[str, int] = {}

    def label(self, name: str) -> None:
        self._labels[name] = len(self._lines)

    def load(self, offset: int) -> None:
        self._lines.append((_LOAD, "", "", offset))

    def jump(self, test: int, value: int, *, to: str = "", otherwise: str = "") -> None:
        self._lines.append((test, to, otherwise, value))

    def give(self, verdict: int) -> None:
        self._lines.append((_RETURN, "", "", verdict))

    def assemble(self) -> bytes:
        """`struct sock_filter`: code u16, two jump distances u8, k u32."""
        return b"".join(
            struct.pack("<HBBI", code, self._distance(at, to), self._distance(at, otherwise), value)
            for at, (code, to, otherwise, value) in enumerate(self._lines)
        )

    def _distance(self, at: int, name: str) -> int:
        return self._labels[name] - at - 1 if name else 0
