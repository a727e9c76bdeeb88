"""The process that runs WASM jobs, one after another, for one lease.

It runs inside the sandbox from the text of this file alone and imports nothing of HyperMesh. It
speaks over its standard input and output. A message is two u32 (big-endian), the lengths of a JSON
object and of the bytes behind it; the object says how the bytes divide:

    ready    {}
    job      {program, stdin: lengths; arguments, memory_bytes, wall_ms, output_bytes}
    answer   {exit_code, reason, stdout, stderr: lengths; stdout_cut, stderr_cut, memory_bytes,
              engine_us}, or {refused: "module" | "argument", text}

A module that exports `_start` is a WASI command (preview 1): it gets the arguments and standard
input, and no directory, no environment, no socket. Any other module is a library: the first
argument names an exported function, the rest are its parameters, and its results are printed.
"""

from __future__ import annotations

import json
import os
import struct
import threading
import time
from typing import Any

import wasmtime

WASI = "wasi_snapshot_preview1"
MODULES_KEPT_MAX = 8
TABLE_ELEMENTS_MAX = 1 << 20
TABLES_MAX = 64
MEMORIES_MAX = 8
EXIT_TRAP = 134
"""Exit code of a program that trapped: 128 + SIGABRT, as the wasmtime command gives it."""
EXIT_KILLED = 137
_TICK_S = 0.01
_HEAD = struct.Struct(">II")
_INTEGER_BITS = {"i32": 32, "i64": 64}


class Refused(Exception):
    """The module or an argument is at fault; `kind` says which."""

    def __init__(self, kind: str, text: str) -> None:
        super().__init__(text)
        self.kind = kind


class Deadline(threading.Thread):
    """Advances the engine's epoch at the deadline, and on until it is lifted: the epoch may move
    before the store that it is to stop exists."""

    def __init__(self, engine: wasmtime.Engine) -> None:
        super().__init__(name="deadline", daemon=True)
        self._engine = engine
        self._changed = threading.Condition()
        self._at: float | None = None

    def move(self, at: float | None) -> None:
        with self._changed:
            self._at = at
            self._changed.notify()

    def run(self) -> None:
        with self._changed:
            while True:
                left = None if self._at is None else self._at - time.monotonic()
                if left is not None and left <= 0:
                    self._engine.increment_epoch()
                    left = _TICK_S
                self._changed.wait(left)


class Output:
    """One output stream of a job, cut at its limit."""

    def __init__(self, limit: int) -> None:
        self.data = bytearray()
        self.cut = 0
        self._limit = limit

    def take(self, chunk: bytes) -> None:
        kept = chunk[: self._limit - len(self.data)]
        self.data += kept
        self.cut += len(chunk) - len(kept)


class Program:
    """A compiled module, linked and ready to be instantiated."""

    def __init__(self, linker: wasmtime.Linker, binary: bytes) -> None:
        try:
            module = wasmtime.Module(linker.engine, binary)
        except wasmtime.WasmtimeError as error:
            raise Refused("module", _first_line(error)) from error
        foreign = [f"{each.module}.{each.name}" for each in module.imports if each.module != WASI]
        if foreign:
            raise Refused("module", f"it imports {', '.join(foreign[:4])}; only {WASI} is there")
        self.command = any(export.name == "_start" for export in module.exports)
        self.wasi = bool(module.imports)
        try:
            self.instance = linker.instantiate_pre(module)
        except wasmtime.WasmtimeError as error:
            raise Refused("module", _first_line(error)) from error


class Runner:
    """Compiles and runs programs. Compiled code never leaves this process's memory."""

    def __init__(self) -> None:
        config = wasmtime.Config()
        config.epoch_interruption = True
        config.parallel_compilation = False
        config.wasm_threads = False
        engine = wasmtime.Engine(config)
        self._linker = wasmtime.Linker(engine)
        self._linker.define_wasi()
        self._programs: dict[bytes, Program] = {}
        self._deadline = Deadline(engine)
        self._deadline.start()

    def run(self, job: dict[str, Any], binary: bytes, stdin: bytes) -> dict[str, Any]:
        """The fields of the answer; `stdout` and `stderr` hold bytes."""
        self._deadline.move(time.monotonic() + job["wall_ms"] / 1000)
        try:
            program = self._program(binary)
            began = time.perf_counter()
            answer = _execute(self._linker.engine, program, job, stdin)
            answer["engine_us"] = int((time.perf_counter() - began) * 1e6)
            return answer
        finally:
            self._deadline.move(None)

    def _program(self, binary: bytes) -> Program:
        known = self._programs.get(binary)
        if known is None:
            known = Program(self._linker, binary)
            while len(self._programs) >= MODULES_KEPT_MAX:
                del self._programs[next(iter(self._programs))]
            self._programs[binary] = known
        return known


def _execute(
    engine: wasmtime.Engine, program: Program, job: dict[str, Any], stdin: bytes
) -> dict[str, Any]:
    out, err = Output(job["output_bytes"]), Output(job["output_bytes"])
    store = wasmtime.Store(engine)
    try:
        store.set_epoch_deadline(1)
        store.set_limits(job["memory_bytes"], TABLE_ELEMENTS_MAX, 1, TABLES_MAX, MEMORIES_MAX)
        if program.wasi:
            arguments = job["arguments"] if program.command else []
            _give_wasi(store, ["job.wasm", *arguments], stdin, out, err)
        instance: wasmtime.Instance | None = None
        try:
            instance = program.instance.instantiate(store)
            code, reason = _call(store, instance, program.command, job["arguments"], out)
        except wasmtime.ExitTrap as exited:
            code, reason = exited.code, "exited"
        except (wasmtime.Trap, wasmtime.WasmtimeError) as error:
            code, reason = _verdict(error)
            err.take(f"{error}\n".encode())
        return {
            "exit_code": code,
            "reason": reason,
            "stdout": bytes(out.data),
            "stderr": bytes(err.data),
            "stdout_cut": out.cut,
            "stderr_cut": err.cut,
            "memory_bytes": _memory_bytes(store, instance),
        }
    finally:
        store.close()


def _give_wasi(
    store: wasmtime.Store, arguments: list[str], stdin: bytes, out: Output, err: Output
) -> None:
    wasi = wasmtime.WasiConfig()
    wasi.argv = arguments
    wasi.stdout_custom = out.take
    wasi.stderr_custom = err.take
    if stdin:
        descriptor = os.memfd_create("stdin", os.MFD_CLOEXEC)
        try:
            os.write(descriptor, stdin)
            wasi.stdin_file = f"/proc/self/fd/{descriptor}"
        finally:
            os.close(descriptor)
    store.set_wasi(wasi)


def _call(
    store: wasmtime.Store,
    instance: wasmtime.Instance,
    command: bool,
    arguments: list[str],
    out: Output,
) -> tuple[int, str]:
    name, *texts = ["_start"] if command else arguments or [""]
    function = instance.exports(store).get(name)
    if not isinstance(function, wasmtime.Func):
        raise Refused(
            "argument", f"the first argument must name an exported function; {name!r} is none"
        )
    kinds = [str(kind) for kind in function.type(store).params]
    if len(texts) != len(kinds):
        raise Refused("argument", f"{name} takes {len(kinds)} parameters, not {len(texts)}")
    results = function(store, *(_number(*pair) for pair in zip(kinds, texts, strict=True)))
    if results is not None:
        for result in results if isinstance(results, list) else [results]:
            out.take(f"{result}\n".encode())
    return 0, "exited"


def _number(kind: str, text: str) -> int | float:
    try:
        bits = _INTEGER_BITS.get(kind)
        if bits is None:
            return float(text)
        value = int(text, 0)
    except ValueError:
        raise Refused("argument", f"{text[:80]!r} is not an {kind}") from None
    if not -(1 << bits - 1) <= value < 1 << bits:
        raise Refused("argument", f"{value} does not fit an {kind}")
    return value - (1 << bits) if value >= 1 << bits - 1 else value


def _verdict(error: wasmtime.Trap | wasmtime.WasmtimeError) -> tuple[int, str]:
    if isinstance(error, wasmtime.Trap) and error.trap_code is wasmtime.TrapCode.INTERRUPT:
        return EXIT_KILLED, "deadline"
    if "exceeds memory limits" in str(error):
        return EXIT_KILLED, "memory"
    return EXIT_TRAP, "exited"


def _memory_bytes(store: wasmtime.Store, instance: wasmtime.Instance | None) -> int:
    if instance is None:
        return 0
    exports = instance.exports(store).values()
    return sum(each.data_len(store) for each in exports if isinstance(each, wasmtime.Memory))


def _first_line(error: Exception) -> str:
    return " ".join(str(error).split())[:500]


def _read(length: int) -> bytes:
    data = bytearray()
    while len(data) < length:
        chunk = os.read(0, length - len(data))
        if not chunk:
            raise EOFError
        data += chunk
    return bytes(data)


def _write(descriptor: int, head: dict[str, Any], body: bytes) -> None:
    text = json.dumps(head).encode()
    data = memoryview(_HEAD.pack(len(text), len(body)) + text + body)
    while data:
        data = data[os.write(descriptor, data) :]


def main() -> None:
    """Serve jobs until standard input ends."""
    # Nothing that a library prints may get between the messages.
    answers = os.dup(1)
    os.dup2(2, 1)
    runner = Runner()
    _write(answers, {}, b"")
    while True:
        try:
            head_bytes, body_bytes = _HEAD.unpack(_read(_HEAD.size))
            job = json.loads(_read(head_bytes))
            body = _read(body_bytes)
        except EOFError:
            return
        try:
            answer = runner.run(job, body[: job["program"]], body[job["program"] :])
        except Refused as refused:
            _write(answers, {"refused": refused.kind, "text": str(refused)}, b"")
            continue
        out, err = answer["stdout"], answer["stderr"]
        _write(answers, answer | {"stdout": len(out), "stderr": len(err)}, out + err)


if __name__ == "__main__":
    main()
