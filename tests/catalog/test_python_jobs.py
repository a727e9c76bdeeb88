"""Python jobs: what they compute, what holds them, and what they cannot reach."""

from __future__ import annotations

import os
import secrets
import socket
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from hypermesh.catalog.engines import ladder as ladder_module
from hypermesh.catalog.engines.ladder import Ladder
from hypermesh.catalog.errors import ArgumentInvalid, TooManyJobs
from hypermesh.catalog.sandbox.process import OUTPUT_DROPPED_MAX, Cancellation
from hypermesh.wire.asset import Enforcement

from .conftest import Run, job

PRIMES = """
import sys
n = int(sys.argv[1])
print([p for p in range(2, n) if all(p % d for d in range(2, int(p**0.5) + 1))])
"""


def test_a_job_computes_from_its_arguments(python: Run) -> None:
    result = python(PRIMES, "30")
    assert result.stdout == b"[2, 3, 5, 7, 11, 13, 17, 19, 23, 29]\n"
    assert (result.exit_code, result.reason, result.stderr) == (0, "exited", b"")
    assert (result.stdout_cut_bytes, result.stderr_cut_bytes) == (0, 0)


def test_arguments_and_input_arrive_unchanged(python: Run) -> None:
    given = bytes(range(256)) * 2048
    result = python(
        "import sys; print(sys.argv[1:]); sys.stdout.flush()\n"
        "data = sys.stdin.buffer.read(); sys.stdout.buffer.write(data[::-1])",
        "--flag",
        "-",
        "two words",
        "Grüße $HOME `x` '\"",
        stdin=given,
        output=1 << 20,
    )
    head, _, body = result.stdout.partition(b"\n")
    assert head.decode() == str(["--flag", "-", "two words", "Grüße $HOME `x` '\""])
    assert body == given[::-1]


def test_a_job_that_never_reads_its_input_still_ends(python: Run) -> None:
    assert python("print('done')", stdin=bytes(1 << 20)).stdout == b"done\n"


def test_failures_are_results(python: Run) -> None:
    assert python("raise SystemExit(7)").exit_code == 7
    failed = python("1/0")
    assert failed.exit_code == 1
    assert b"ZeroDivisionError" in failed.stderr
    crashed = python("import os; os.abort()")
    assert (crashed.exit_code, crashed.reason) == (134, "exited")


@pytest.mark.parametrize("argument", ["a\0b", "\udc80"])
def test_an_argument_that_cannot_be_passed_is_refused(ladder: Ladder, argument: str) -> None:
    with pytest.raises(ArgumentInvalid, match="Argument 1"):
        ladder.run(job("python", "pass", "ok", argument))


def test_the_result_tells_how_it_was_held(python: Run, ladder: Ladder) -> None:
    result = python("pass")
    assert result.enforced_cpu == ladder.cpu.value
    assert result.enforced_memory == ladder.memory.value
    assert result.isolation.startswith("bubblewrap")
    held = ladder.memory is not Enforcement.UNENFORCED
    assert result.isolation.endswith(ladder.memory.value) == held


def test_the_cpu_quota_holds(python: Run, ladder: Ladder) -> None:
    program = "import time; end = time.monotonic() + 1.0\nwhile time.monotonic() < end: pass"
    result = python(program, cpu=200)
    assert result.wall_us >= 1_000_000
    if ladder.cpu is Enforcement.UNENFORCED:
        assert result.enforced_cpu == "unenforced"
    else:
        assert 0.15 <= result.cpu_us / result.wall_us <= 0.25


def test_a_memory_bomb_is_stopped(python: Run, ladder: Ladder) -> None:
    program = "data = []\nwhile True: data.append(bytearray(b'x' * (1 << 20)))"
    result = python(program, memory=48 << 20)
    assert result.exit_code != 0
    if ladder.memory is Enforcement.UNENFORCED:
        assert result.enforced_memory == "unenforced"
        assert b"MemoryError" in result.stderr
    else:
        assert (result.reason, result.exit_code) == ("memory", 137)
        assert 40 << 20 <= result.memory_peak_bytes <= 48 << 20


def test_the_work_directory_counts_as_memory_and_is_bounded(python: Run) -> None:
    program = "f = open('big', 'wb')\nwhile True: f.write(bytes(1 << 20))"
    result = python(program, memory=48 << 20)
    assert result.exit_code != 0
    assert result.reason in ("memory", "exited")
    assert result.memory_peak_bytes <= 48 << 20
    if result.enforced_memory == "unenforced":
        assert result.memory_peak_bytes == 0, "what is not measured is not invented"
        assert b"File too large" in result.stderr or b"No space left" in result.stderr


def test_a_fork_bomb_is_held(python: Run) -> None:
    program = """
import os, time
count = 1
try:
    while count < 5000:
        if os.fork() == 0:
            time.sleep(30)
            os._exit(0)
        count += 1
except OSError as error:
    print(count, error.errno)
"""
    result = python(program)
    count, error = result.stdout.split()
    assert int(count) <= 64
    assert int(error) == 11
    assert result.wall_us < 10_000_000, "children that sleep end with the job"


def test_an_endless_loop_ends_at_its_deadline(python: Run) -> None:
    result = python("while True: pass", wall_ms=300)
    assert (result.reason, result.exit_code) == ("deadline", 137)
    assert 300_000 <= result.wall_us < 3_000_000


def test_a_job_that_ignores_signals_and_sleeps_ends_at_its_deadline(python: Run) -> None:
    program = (
        "import os, signal, time\n"
        "for n in range(1, 32):\n"
        "    if n not in (9, 19): signal.signal(n, signal.SIG_IGN)\n"
        "os.fork(); os.setpgid(0, 0) if os.getpid() > 2 else None\n"
        "print('ready', flush=True); time.sleep(60)"
    )
    result = python(program, wall_ms=500)
    assert result.reason == "deadline"
    assert b"ready" in result.stdout


def test_a_cancelled_job_ends(python: Run) -> None:
    with Cancellation() as cancellation:
        timer = threading.Timer(0.2, cancellation.cancel)
        timer.start()
        result = python("import time; time.sleep(60)", cancellation=cancellation)
        timer.join()
    assert (result.reason, result.exit_code) == ("killed", 137)
    assert result.wall_us < 10_000_000


def test_output_is_cut_at_its_limit_and_said(python: Run) -> None:
    result = python(
        "import sys; sys.stdout.write('x' * 300_000); sys.stderr.write('y' * 5_000)", output=4096
    )
    assert (result.reason, result.exit_code) == ("exited", 0)
    assert result.stdout == b"x" * 4096
    assert result.stdout_cut_bytes == 300_000 - 4096
    assert result.stderr == b"y" * 4096
    assert result.stderr_cut_bytes == 5_000 - 4096


def test_an_output_flood_is_ended(python: Run) -> None:
    result = python("import os\nwhile True: os.write(1, bytes(65536))", output=100)
    assert result.reason == "killed"
    assert len(result.stdout) == 100
    assert result.stdout_cut_bytes > OUTPUT_DROPPED_MAX


def test_there_is_no_network(python: Run) -> None:
    with socket.socket(socket.AF_INET6) as listening:
        listening.bind(("::1", 0))
        listening.listen()
        port = listening.getsockname()[1]
        result = python(
            "import socket, sys\n"
            "for host in ('::1', '2001:db8::1'):\n"
            "    try: socket.create_connection((host, int(sys.argv[1])), 2)\n"
            "    except OSError as error: print('refused')\n"
            "for family in (socket.AF_VSOCK, socket.AF_NETLINK, socket.AF_PACKET):\n"
            "    try: socket.socket(family, socket.SOCK_RAW)\n"
            "    except PermissionError: print('denied')\n",
            str(port),
        )
    lines = result.stdout.split()
    assert lines[:2] == [b"refused", b"refused"]
    assert lines[2:] == [b"denied"] * 3 or "seccomp" not in result.isolation


def test_no_file_of_the_host_is_there(python: Run) -> None:
    here = Path(__file__).resolve()
    hidden = ["/etc/shadow", "/etc/passwd", "/root", "/home", "/var", "/sys", str(here)]
    program = "import os, sys\nfor path in sys.argv[1:]: print(os.path.exists(path))"
    assert python(program, *hidden).stdout.split() == [b"False"] * len(hidden)
    listed = python("import os; print(*sorted(os.listdir('/')), os.getcwd(), os.listdir())").stdout
    allowed = {"bin", "dev", "etc", "job.py", "lib", "lib32", "lib64", "libx32", "opt", "proc"}
    assert set(listed.decode().split()) <= allowed | {"sbin", "usr", "work", "/work", "[]"}


def test_nothing_outside_the_work_directory_can_be_written(python: Run) -> None:
    program = """
import os
for path in ("/x", "/usr/x", "/etc/x", "/dev/x", "/proc/sys/kernel/core_pattern",
             "/proc/sysrq-trigger", "/job.py", "/opt/x"):
    try:
        with open(path, "w") as file: file.write("x")
        print("wrote", path)
    except OSError: pass
with open("/work/mine", "w") as file: file.write("x")
print("end")
"""
    assert python(program).stdout == b"end\n"


def test_the_node_and_its_secrets_cannot_be_seen(
    python: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HM_SECRET", "hunter2")
    program = """
import os
print(sorted(k for k in os.environ if k not in ("PWD", "LC_CTYPE")))
print(len([p for p in os.listdir("/proc") if p.isdigit()]) <= 3)
for pid in ("1", "self"):
    try: print(b"hunter2" in open(f"/proc/{pid}/environ", "rb").read())
    except OSError: print(False)
print(os.getuid() != 0, os.getsid(0) != 0)
"""
    lines = python(program).stdout.split(b"\n")
    assert lines == [b"[]", b"True", b"False", b"False", b"True True", b""]


def test_no_descriptor_is_inherited(python: Run, tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.write_text("hunter2")
    with secret.open() as file:
        os.set_inheritable(file.fileno(), True)
        result = python("import os; print(sorted(int(fd) for fd in os.listdir('/proc/self/fd')))")
    assert result.stdout == b"[0, 1, 2, 3]\n", "3 is the open directory itself"


def test_tracing_mounting_and_namespaces_are_denied(python: Run) -> None:
    program = """
import ctypes, os
libc = ctypes.CDLL(None, use_errno=True)
def tried(call, *arguments):
    ctypes.set_errno(0)
    print(call(*arguments) == -1 and ctypes.get_errno() == 1)
tried(libc.ptrace, 16, os.getppid(), 0, 0)
tried(libc.unshare, 0x10000000)
tried(libc.mount, b"none", b"/work", b"tmpfs", 0, None)
tried(libc.umount2, b"/proc/sys", 2)
tried(libc.chroot, b"/work")
tried(libc.setns, 0, 0)
tried(libc.personality, 0xffffffff)
"""
    result = python(program)
    if "seccomp" in result.isolation:
        assert result.stdout.split() == [b"True"] * 7


def test_nothing_of_a_job_outlives_it(python: Run) -> None:
    program = """
import os, sys
if os.fork() == 0:
    os.setsid()
    if os.fork() == 0:
        os.close(1); os.close(2)
        while True: pass
    os._exit(0)
print("gone")
"""
    marker = secrets.token_hex(16)
    result = python(program, marker)
    assert (result.stdout, result.reason) == (b"gone\n", "exited")
    assert result.wall_us < 10_000_000
    until = time.monotonic() + 5
    while [path for path in Path("/proc").glob("[0-9]*/cmdline") if marker in _text(path)]:
        assert time.monotonic() < until, "a process outlives its job"
        time.sleep(0.002)


def _text(path: Path) -> str:
    try:
        return path.read_text(errors="replace")
    except OSError:
        return ""


def test_one_job_too_many_is_refused(
    python: Run, ladder: Ladder, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ladder, "_places", threading.BoundedSemaphore(2))
    with Cancellation() as cancellation, ThreadPoolExecutor(2) as threads:
        running = [
            threads.submit(python, "import time; time.sleep(60)", cancellation=cancellation)
            for _ in range(2)
        ]
        until = time.monotonic() + 5
        while ladder._places._value and time.monotonic() < until:
            time.sleep(0.002)
        refused = None
        try:
            ladder.run(job("python", "print(1)"))
        except TooManyJobs as error:
            refused = error
        cancellation.cancel()
        for each in running:
            each.result()
    assert refused is not None
    assert str(ladder_module.JOBS_CONCURRENT_MAX) in refused.why
