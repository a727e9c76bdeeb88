"""WASM jobs: commands, plain functions, limits, refusals, and which worker serves whom."""

from __future__ import annotations

import struct
import threading
import time
from pathlib import Path

import pytest

from hypermesh.catalog.engines import wasm as wasm_module
from hypermesh.catalog.engines.ladder import Ladder
from hypermesh.catalog.engines.wasm import WasmEngine
from hypermesh.catalog.errors import ArgumentInvalid, ModuleInvalid, SandboxBroken
from hypermesh.catalog.output import Output
from hypermesh.catalog.sandbox import enforcement
from hypermesh.catalog.sandbox.process import Cancellation
from hypermesh.wire.asset import Enforcement
from hypermesh.wire.errors import NotAvailable

from .conftest import Run, job

ARITHMETIC = """(module
  (memory (export "memory") 1)
  (func (export "add") (param i32 i64) (result i64)
    local.get 0 i64.extend_i32_s local.get 1 i64.add)
  (func (export "halve") (param f64) (result f64) local.get 0 f64.const 2 f64.div)
  (func (export "pair") (result i32 i32) i32.const 7 i32.const 8)
  (func (export "spin") (loop br 0))
  (func (export "fall") unreachable)
  (func $deep (export "deep") call $deep)
  (func (export "grow") (param i32) (result i32) local.get 0 memory.grow))"""

HELLO = """(module
  (import "wasi_snapshot_preview1" "fd_write"
    (func $write (param i32 i32 i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "proc_exit" (func $exit (param i32)))
  (memory (export "memory") 1)
  (data (i32.const 8) "hello from wasi\\n")
  (func (export "_start")
    (i32.store (i32.const 0) (i32.const 8)) (i32.store (i32.const 4) (i32.const 16))
    (drop (call $write (i32.const 1) (i32.const 0) (i32.const 1) (i32.const 64)))
    (drop (call $write (i32.const 2) (i32.const 0) (i32.const 1) (i32.const 64)))
    (call $exit (i32.const 3))))"""

# Prints its arguments (the buffer of NUL-ended strings), then copies standard input.
ECHO = """(module
  (import "wasi_snapshot_preview1" "args_sizes_get" (func $sizes (param i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "args_get" (func $args (param i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "fd_read"
    (func $read (param i32 i32 i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "fd_write"
    (func $write (param i32 i32 i32 i32) (result i32)))
  (memory (export "memory") 4)
  (func $put (param $at i32) (param $length i32)
    (i32.store (i32.const 0) (local.get $at)) (i32.store (i32.const 4) (local.get $length))
    (drop (call $write (i32.const 1) (i32.const 0) (i32.const 1) (i32.const 8))))
  (func (export "_start")
    (drop (call $sizes (i32.const 16) (i32.const 20)))
    (drop (call $args (i32.const 1024) (i32.const 4096)))
    (call $put (i32.const 4096) (i32.load (i32.const 20)))
    (loop $more
      (i32.store (i32.const 0) (i32.const 65536)) (i32.store (i32.const 4) (i32.const 65536))
      (drop (call $read (i32.const 0) (i32.const 0) (i32.const 1) (i32.const 8)))
      (if (i32.load (i32.const 8))
        (then (call $put (i32.const 65536) (i32.load (i32.const 8))) (br $more))))))"""

# Counts the descriptors from 3 on that are preopened directories, and the environment's strings.
NOTHING = """(module
  (import "wasi_snapshot_preview1" "fd_prestat_get" (func $stat (param i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "environ_sizes_get"
    (func $environ (param i32 i32) (result i32)))
  (memory (export "memory") 1)
  (func (export "preopened") (result i32) (call $stat (i32.const 3) (i32.const 0)))
  (func (export "environment") (result i32)
    (drop (call $environ (i32.const 0) (i32.const 4))) (i32.load (i32.const 0))))"""

FLOOD = """(module
  (import "wasi_snapshot_preview1" "fd_write"
    (func $write (param i32 i32 i32 i32) (result i32)))
  (memory (export "memory") 1)
  (func (export "_start") (local $left i32)
    (local.set $left (i32.const 100))
    (i32.store (i32.const 0) (i32.const 64)) (i32.store (i32.const 4) (i32.const 1000))
    (loop $again
      (drop (call $write (i32.const 1) (i32.const 0) (i32.const 1) (i32.const 8)))
      (br_if $again (local.tee $left (i32.sub (local.get $left) (i32.const 1)))))))"""

# poll_oneoff with one relative clock subscription of 60 s: a sleep inside the host.
SLEEP = """(module
  (import "wasi_snapshot_preview1" "poll_oneoff"
    (func $poll (param i32 i32 i32 i32) (result i32)))
  (memory (export "memory") 1)
  (func (export "_start")
    (i32.store (i32.const 16) (i32.const 1))
    (i64.store (i32.const 24) (i64.const 60000000000))
    (drop (call $poll (i32.const 0) (i32.const 128) (i32.const 1) (i32.const 256)))))"""


def test_an_exported_function_is_called_and_its_results_printed(wasm: Run) -> None:
    assert wasm(ARITHMETIC, "add", "3", "0x10").stdout == b"19\n"
    assert wasm(ARITHMETIC, "add", "4294967295", "0").stdout == b"-1\n"
    assert wasm(ARITHMETIC, "halve", "3").stdout == b"1.5\n"
    assert wasm(ARITHMETIC, "pair").stdout == b"7\n8\n"


def test_a_wasi_command_prints_and_exits(wasm: Run) -> None:
    result = wasm(HELLO)
    assert result.stdout == result.stderr == b"hello from wasi\n"
    assert (result.exit_code, result.reason) == (3, "exited")


def test_arguments_and_input_reach_a_command(wasm: Run) -> None:
    given = bytes(range(256)) * 1024
    result = wasm(ECHO, "two words", "Grüße", stdin=given, output=1 << 20)
    assert result.stdout == "job.wasm\0two words\0Grüße\0".encode() + given
    assert wasm(ECHO).stdout == b"job.wasm\0"


def test_no_directory_and_no_environment_is_given(wasm: Run) -> None:
    assert wasm(NOTHING, "preopened").stdout == b"8\n", "8 is EBADF"
    assert wasm(NOTHING, "environment").stdout == b"0\n"


def test_the_result_tells_how_it_was_held(wasm: Run, ladder: Ladder) -> None:
    result = wasm(ARITHMETIC, "pair")
    assert result.isolation.startswith("wasmtime")
    assert result.enforced_cpu == ladder.cpu.value
    assert result.enforced_memory == ladder.memory.value
    assert result.memory_peak_bytes == 65536


@pytest.mark.parametrize("name", ["fall", "deep"])
def test_a_trap_is_a_result(wasm: Run, name: str) -> None:
    result = wasm(ARITHMETIC, name)
    assert (result.exit_code, result.reason) == (134, "exited")
    assert b"wasm trap" in result.stderr
    assert wasm(ARITHMETIC, "pair").exit_code == 0


def test_an_endless_loop_ends_at_its_deadline(wasm: Run) -> None:
    result = wasm(ARITHMETIC, "spin", wall_ms=200)
    assert (result.exit_code, result.reason) == (137, "deadline")
    assert 200_000 <= result.wall_us < 1_500_000
    assert wasm(ARITHMETIC, "pair").stdout == b"7\n8\n", "the worker goes on"


def test_a_sleep_inside_the_host_ends_with_its_worker(wasm: Run) -> None:
    result = wasm(SLEEP, wall_ms=200)
    assert (result.exit_code, result.reason) == (137, "deadline")
    assert result.wall_us < 3_000_000
    assert wasm(ARITHMETIC, "pair").stdout == b"7\n8\n", "a new worker serves"


def test_the_cpu_quota_holds_and_is_metered(wasm: Run, ladder: Ladder) -> None:
    wasm(ARITHMETIC, "pair")
    result = wasm(ARITHMETIC, "spin", wall_ms=800, cpu=200)
    assert result.reason == "deadline"
    if ladder.cpu is Enforcement.UNENFORCED:
        assert result.enforced_cpu == "unenforced"
    else:
        assert 0.15 <= result.cpu_us / result.wall_us <= 0.25


def test_memory_cannot_grow_past_its_limit(wasm: Run) -> None:
    limit = 8 << 20
    assert wasm(ARITHMETIC, "grow", "127", memory=limit).stdout == b"1\n"
    refused = wasm(ARITHMETIC, "grow", "128", memory=limit)
    assert refused.stdout == b"-1\n"
    assert refused.memory_peak_bytes <= limit
    born_too_big = wasm("""(module (memory 200) (func (export "f")))""", "f", memory=limit)
    assert (born_too_big.reason, born_too_big.exit_code) == ("memory", 137)


def test_output_is_cut_at_its_limit_and_said(wasm: Run) -> None:
    result = wasm(FLOOD, output=4096)
    assert (len(result.stdout), result.stdout_cut_bytes) == (4096, 100_000 - 4096)
    assert result.reason == "exited"


def test_a_cancelled_job_ends(wasm: Run) -> None:
    with Cancellation() as cancellation:
        timer = threading.Timer(0.2, cancellation.cancel)
        timer.start()
        result = wasm(ARITHMETIC, "spin", cancellation=cancellation)
        timer.join()
    assert (result.reason, result.exit_code) == ("killed", 137)


@pytest.mark.parametrize(
    ("program", "says"),
    [
        (b"", "begins with"),
        (b"(module)", "not its text"),
        (b"\0asm\2\0\0\0", "begins with"),
        (b"\0asm\1\0\0\0\1\xff\xff\xff\xff\xff", "offset"),
        (b"\0asm\1\0\0\0" + bytes(range(200)), "offset"),
    ],
)
def test_a_malformed_module_is_refused(ladder: Ladder, program: bytes, says: str) -> None:
    with pytest.raises(ModuleInvalid, match=says):
        ladder.run(job("wasm", program, "f"))


def test_a_component_is_named_as_not_available(ladder: Ladder) -> None:
    with pytest.raises(NotAvailable, match="components"):
        ladder.run(job("wasm", b"\0asm\r\0\1\0"))


def test_foreign_imports_are_refused_by_name(wasm: Run) -> None:
    with pytest.raises(ModuleInvalid, match=r"env\.system"):
        wasm("""(module (import "env" "system" (func)))""")
    with pytest.raises(ModuleInvalid, match="no_such_call"):
        wasm("""(module (import "wasi_snapshot_preview1" "no_such_call" (func)))""")


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ([], "must name an exported function"),
        (["missing"], "'missing' is none"),
        (["memory"], "'memory' is none"),
        (["add", "1"], "takes 2 parameters"),
        (["add", "one", "2"], "is not an i32"),
        (["add", "4294967296", "2"], "does not fit"),
        (["halve", "half"], "is not an f64"),
    ],
)
def test_wrong_arguments_are_refused(wasm: Run, arguments: list[str], says: str) -> None:
    with pytest.raises(ArgumentInvalid, match=says):
        wasm(ARITHMETIC, *arguments)


@pytest.fixture
def engine(ladder: Ladder) -> WasmEngine:
    found = ladder._engines["wasm"]
    assert isinstance(found, WasmEngine)
    return found


def test_a_worker_serves_one_lease_only(ladder: Ladder, wasm: Run, engine: WasmEngine) -> None:
    wasm(ARITHMETIC, "pair", lease=b"A" * 32)
    first = engine._idle
    wasm(ARITHMETIC, "pair", lease=b"A" * 32)
    assert engine._idle is first
    wasm(ARITHMETIC, "pair", lease=b"B" * 32)
    assert engine._idle is not first
    assert first is not None
    assert not first.alive


def test_a_worker_is_replaced_after_its_jobs(
    wasm: Run, engine: WasmEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(wasm_module, "JOBS_PER_WORKER_MAX", 2)
    wasm(ARITHMETIC, "pair", lease=b"C" * 32)
    assert engine._idle is not None
    wasm(ARITHMETIC, "pair", lease=b"C" * 32)
    assert engine._idle is None


def test_an_idle_worker_that_died_is_replaced(wasm: Run, engine: WasmEngine) -> None:
    wasm(ARITHMETIC, "pair")
    assert engine._idle is not None
    engine._idle._process.kill()
    engine._idle._process.wait(5)
    assert wasm(ARITHMETIC, "pair").stdout == b"7\n8\n"


def test_jobs_run_side_by_side(wasm: Run, ladder: Ladder) -> None:
    results = []
    slow = threading.Thread(
        target=lambda: results.append(wasm(ARITHMETIC, "spin", wall_ms=1500, cpu=500))
    )
    slow.start()
    began = time.monotonic()
    assert wasm(ARITHMETIC, "pair", lease=b"D" * 32).stdout == b"7\n8\n"
    took = time.monotonic() - began
    slow.join()
    assert results[0].reason == "deadline"
    assert took < 1.4


@pytest.mark.parametrize(
    ("head", "body", "says"),
    [
        (b'{"stdout": 1000000}', b"abc", "lengths"),
        (b'{"stdout": 3, "reason": "fine"}', b"abc", "reason"),
        (b'{"stdout": -1, "stderr": 4}', b"abc", "stdout"),
        (b"not json", b"", "JSON"),
        (bytes(1 << 17), b"", "too long"),
        (b"{}", b"\0\0\0\2\0\0\0\0{}", "lengths"),
    ],
)
def test_a_worker_that_lies_is_not_believed(
    ladder: Ladder,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    node_name: str,
    head: bytes,
    body: bytes,
    says: str,
) -> None:
    """A module that breaks out of wasmtime speaks for its worker: whatever it says is checked."""
    ready = struct.pack(">II", 2, 0) + b"{}"
    said = struct.pack(">II", len(head), len(body)) + head + body
    liar = tmp_path / "liar.py"
    liar.write_text(
        f"import os, time\nos.write(1, {ready!r})\nos.read(0, 1)\n"
        f"os.write(1, {said!r})\ntime.sleep(30)\n"
    )
    monkeypatch.setattr(wasm_module, "_WORKER", liar)
    cgroups = enforcement.find(f"{node_name}-liar")
    sandbox = ladder._engines["wasm"]._sandbox  # type: ignore[attr-defined]
    engine = WasmEngine(sandbox, cgroups)
    try:
        with pytest.raises(SandboxBroken, match=f"nonsense.*{says}"):
            engine.run(job("wasm", b"\0asm\1\0\0\0", "f"), None, Output(64))
        assert engine._idle is None
    finally:
        engine.close()
        cgroups.close()


def test_without_bubblewrap_the_class_says_so(node_name: str) -> None:
    cgroups = enforcement.find(f"{node_name}-bare")
    engine = WasmEngine(None, cgroups)
    try:
        assert engine.info.available
        assert "bubblewrap" not in engine.info.isolation
        result = engine.run(
            job(
                "wasm",
                b"\0asm\1\0\0\0\x01\x04\x01\x60\0\0\x03\2\1\0\x07\5\1\1f\0\0\x0a\4\1\2\0\x0b",
                "f",
            ),
            None,
            Output(64),
        )
        assert (result.exit_code, result.reason) == (0, "exited")
        assert result.isolation == engine.info.isolation
    finally:
        engine.close()
        cgroups.close()
