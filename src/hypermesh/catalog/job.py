"""The file a user runs: `hm job run FILE`.

A bare `.py` or `.wasm` file is a job with the default limits. A `.toml` file says more:

    engine = "python"            # optional: told from the program's suffix
    program = "primes.py"        # relative to this file
    arguments = ["1000"]
    stdin = "numbers.txt"        # optional, relative to this file

    [limits]
    cpu = "250m"                 # thousandths of a core, or cores: 0.25, 2
    memory = "64MiB"             # B, KiB, MiB, GiB, TiB (1024), kB, MB, GB, TB (1000)
    time = "30s"                 # ms, s, m, h: wall time
    output = "64KiB"             # standard output and standard error, each

`parse` is pure; `read` adds the files.
"""

from __future__ import annotations

import difflib
import re
import tomllib
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path, PurePath
from typing import Any

import msgspec

from hypermesh.catalog.errors import JobFileInvalid
from hypermesh.wire.ids import LeaseId
from hypermesh.wire.quantity import parse_bytes, parse_cores, parse_duration
from hypermesh.wire.rpc import JobLimits, JobRequest

DEFAULT_LIMITS = JobLimits(
    cpu_millicores=500, memory_bytes=256 << 20, wall_ms=30_000, output_bytes=64 << 10
)
JOB_FILE_BYTES_MAX = 64 << 10
PROGRAM_BYTES_MAX = 1 << 21
STDIN_BYTES_MAX = 1 << 20

ENGINES_BY_SUFFIX = {".py": "python", ".wasm": "wasm"}

_KEYS = ("engine", "program", "arguments", "stdin", "limits")


class JobFile(msgspec.Struct, frozen=True):
    """What a job file says. Paths are as written."""

    engine: str
    program: str
    arguments: list[str]
    stdin: str
    limits: JobLimits


class Job(msgspec.Struct, frozen=True):
    """A job with its bytes, ready to be sent to whoever leases the CPU."""

    engine: str
    program: bytes
    arguments: list[str]
    stdin: bytes
    limits: JobLimits

    def request(self, lease: LeaseId, epoch: int) -> JobRequest:
        """The call that runs it under `lease`."""
        return JobRequest(
            lease, epoch, self.engine, self.program, self.arguments, self.stdin, self.limits
        )


def read(path: Path, arguments: Sequence[str] = (), stdin: bytes | None = None) -> Job:
    """The job in `path` with the files it names. `arguments` follow those in the file; `stdin`
    stands in for the file's. Raises `JobFileInvalid`."""
    if path.suffix == ".toml":
        said = parse(_text(path), str(path))
    else:
        said = JobFile(_engine_of(path.name, str(path)), path.name, [], "", DEFAULT_LIMITS)
    program = _load(path.parent / said.program, PROGRAM_BYTES_MAX, "program")
    if not program:
        raise JobFileInvalid(f"The program {said.program} is empty")
    if stdin is None:
        stdin = _load(path.parent / said.stdin, STDIN_BYTES_MAX, "input") if said.stdin else b""
    job = Job(said.engine, program, [*said.arguments, *arguments], stdin, said.limits)
    return _checked(job, str(path))


def parse(text: str, where: str) -> JobFile:
    """The job file `text`; `where` names it in errors. Raises `JobFileInvalid`, which says the line
    or the field and what to write instead. Pure."""
    try:
        said = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise JobFileInvalid(f"{where} is not TOML", why=str(error)) from error
    _Table(where, text, "").only(said, _KEYS)
    table = _Table(where, text, "")
    program = table.string(said, "program")
    if not program:
        raise table.fault("program", "is missing", 'Write, say, program = "primes.py"')
    arguments = said.get("arguments", [])
    if not isinstance(arguments, list) or not all(isinstance(each, str) for each in arguments):
        raise table.fault("arguments", "is not a list of strings", 'Write, say, ["1000", "--fast"]')
    limits = said.get("limits", {})
    if not isinstance(limits, dict):
        raise table.fault("limits", "is not a table", "Write a line [limits] and the limits below")
    return JobFile(
        table.string(said, "engine") or _engine_of(program, where),
        program,
        arguments,
        table.string(said, "stdin"),
        _limits(limits, _Table(where, text, "limits.")),
    )


class _Table:
    """One table of the file, for errors that name the field and its line."""

    def __init__(self, where: str, text: str, prefix: str) -> None:
        self._where = where
        self._text = text
        self._prefix = prefix

    def fault(self, key: str, what: str, fix: str = "") -> JobFileInvalid:
        line = re.search(rf"^\s*\[?{re.escape(key)}\b", self._text, re.MULTILINE)
        place = f", line {self._text.count(chr(10), 0, line.start()) + 1}" if line else ""
        return JobFileInvalid(f"{self._where}{place}: {self._prefix}{key} {what}", fix=fix)

    def only(self, said: Mapping[str, Any], keys: Sequence[str]) -> None:
        for key in said:
            if key not in keys:
                near = difflib.get_close_matches(key, keys, 1)
                hint = f"Did you mean {near[0]}?" if near else f"Known are: {', '.join(keys)}"
                raise self.fault(key, "is not known", hint)

    def string(self, said: Mapping[str, Any], key: str) -> str:
        value = said.get(key, "")
        if not isinstance(value, str):
            raise self.fault(key, "is not a string", f'Write {key} = "…"')
        return value


_LIMITS: dict[str, tuple[str, Callable[[Any], int]]] = {
    "cpu": ("cpu_millicores", parse_cores),
    "memory": ("memory_bytes", parse_bytes),
    "time": ("wall_ms", parse_duration),
    "output": ("output_bytes", parse_bytes),
}


def _limits(said: Mapping[str, Any], table: _Table) -> JobLimits:
    table.only(said, list(_LIMITS))
    limits = DEFAULT_LIMITS
    for key, value in said.items():
        field, amount = _LIMITS[key]
        try:
            limits = msgspec.structs.replace(limits, **{field: amount(value)})
        except ValueError as error:
            raise table.fault(key, f"is not valid: {error}") from error
        try:
            msgspec.convert(msgspec.to_builtins(limits), JobLimits)
        except msgspec.ValidationError as error:
            bound = str(error).partition(" - ")[0].replace("Expected `int`", f"{field} must be")
            why = f"{field} would be {getattr(limits, field)}, and {bound}"
            raise table.fault(key, f"is not valid: {why}") from error
    return limits


def _engine_of(program: str, where: str) -> str:
    engine = ENGINES_BY_SUFFIX.get(PurePath(program).suffix)
    if engine is None:
        known = ", ".join(ENGINES_BY_SUFFIX)
        raise JobFileInvalid(
            f"{where}: no engine is known for {program}",
            why=f"known suffixes are {known}, and .toml for a job file",
            fix='Rename the program, or write a job file with engine = "python" or "wasm"',
        )
    return engine


def _checked(job: Job, where: str) -> Job:
    """`job`, within the bounds of the wire."""
    request = job.request(bytes(32), 0)
    try:
        msgspec.convert(msgspec.to_builtins(request), JobRequest)
    except msgspec.ValidationError as error:
        raise JobFileInvalid(f"{where} asks for too much", why=str(error)) from error
    return job


def _text(path: Path) -> str:
    try:
        return _load(path, JOB_FILE_BYTES_MAX, "job file").decode()
    except UnicodeDecodeError as error:
        raise JobFileInvalid(f"{path} is not UTF-8", why=str(error)) from error


def _load(path: Path, size_max: int, what: str) -> bytes:
    try:
        with path.open("rb") as file:
            data = file.read(size_max + 1)
    except OSError as error:
        raise JobFileInvalid(
            f"The {what} {path} cannot be read", why=error.strerror or str(error)
        ) from error
    if len(data) > size_max:
        raise JobFileInvalid(f"The {what} {path} is too large", why=f"at most {size_max} bytes")
    return data
