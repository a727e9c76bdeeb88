"""Job files: what they may say, and how a fault is reported."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hypermesh.catalog.errors import JobFileInvalid
from hypermesh.catalog.job import (
    DEFAULT_LIMITS,
    PROGRAM_BYTES_MAX,
    parse,
    read,
)
from hypermesh.wire.codec import decode, encode
from hypermesh.wire.rpc import JobLimits, JobRequest

FULL = """
program = "primes.py"
arguments = ["1000", "--fast"]
stdin = "numbers.txt"

[limits]
cpu = "250m"
memory = "64MiB"
time = "1.5s"
output = "64kB"
"""


def test_a_full_file_is_read() -> None:
    said = parse(FULL, "job.toml")
    assert (said.engine, said.program, said.stdin) == ("python", "primes.py", "numbers.txt")
    assert said.arguments == ["1000", "--fast"]
    assert said.limits == JobLimits(250, 64 << 20, 1500, 64_000)


def test_a_short_file_has_the_default_limits() -> None:
    said = parse('program = "x.wasm"', "job.toml")
    assert (said.engine, said.limits) == ("wasm", DEFAULT_LIMITS)


@pytest.mark.parametrize(
    ("text", "says", "fix"),
    [
        ("program = ", "not TOML", ""),
        ('program = "a.py"\nprogramm = 1', "line 2: programm is not known", "mean program?"),
        ('program = "a.py"\n[limits]\nmem = 1', "line 3: limits.mem is not known", "memory"),
        ("engine = 'python'", "program is missing", "primes.py"),
        ("program = 3", "line 1: program is not a string", "program ="),
        ('program = "a.rb"', "no engine is known for a.rb", "Rename"),
        ('program = "a.py"\narguments = "x"', "line 2: arguments", '["1000"'),
        ('program = "a.py"\narguments = [1]', "arguments", '["1000"'),
        ('limits = 3\nprogram = "a.py"', "line 1: limits is not a table", "[limits]"),
        ('program = "a.py"\n[limits]\ncpu = "2x"', "line 3: limits.cpu", ""),
        ('program = "a.py"\n[limits]\ncpu = 0', "limits.cpu is not valid", ""),
        ('program = "a.py"\n[limits]\ncpu = true', "limits.cpu is not valid", ""),
        ('program = "a.py"\n[limits]\nmemory = "1KiB"', "limits.memory is not valid", ""),
        ('program = "a.py"\n[limits]\nmemory = "64 MIB"', "did you mean MiB?", ""),
        ('program = "a.py"\n[limits]\ntime = 30', "the unit is missing", ""),
        ('program = "a.py"\n[limits]\ntime = "25h"', "limits.time is not valid", ""),
        ('program = "a.py"\n[limits]\noutput = "2MiB"', "limits.output is not valid", ""),
        ('program = "a.py"\n[limits]\nmemory = "-1"', "limits.memory is not valid", ""),
        ('program = "a.py"\n[limits]\nmemory = nan', "limits.memory is not valid", ""),
        ('program = "a.py"\n[limits]\nmemory = "1e9"', "limits.memory is not valid", ""),
    ],
)
def test_a_fault_names_the_place_and_the_fix(text: str, says: str, fix: str) -> None:
    with pytest.raises(JobFileInvalid) as caught:
        parse(text, "job.toml")
    assert says in caught.value.what
    assert "job.toml" in caught.value.what
    assert fix in caught.value.fix


@given(st.text(max_size=200))
def test_any_text_is_read_or_refused(text: str) -> None:
    try:
        said = parse(text, "job.toml")
    except JobFileInvalid:
        return
    assert said.program


def test_a_file_brings_its_program_and_input(tmp_path: Path) -> None:
    (tmp_path / "job.toml").write_text(FULL)
    (tmp_path / "primes.py").write_text("print(1)")
    (tmp_path / "numbers.txt").write_bytes(b"\0\1")
    found = read(tmp_path / "job.toml", ["more"])
    assert (found.program, found.stdin) == (b"print(1)", b"\0\1")
    assert found.arguments == ["1000", "--fast", "more"]
    assert read(tmp_path / "job.toml", stdin=b"other").stdin == b"other"
    request = found.request(bytes(32), 3)
    assert decode(JobRequest, encode(request)) == request


def test_a_bare_program_is_a_job(tmp_path: Path) -> None:
    (tmp_path / "a.py").write_text("print(1)")
    found = read(tmp_path / "a.py", ["x"])
    assert (found.engine, found.arguments, found.limits) == ("python", ["x"], DEFAULT_LIMITS)


def test_files_that_cannot_be_taken_are_refused(tmp_path: Path) -> None:
    (tmp_path / "empty.py").touch()
    (tmp_path / "big.py").write_bytes(b"#" * (PROGRAM_BYTES_MAX + 1))
    (tmp_path / "text.txt").write_text("x")
    (tmp_path / "job.toml").write_bytes(b"\xff\xfe")
    (tmp_path / "gone.toml").write_text('program = "missing.py"')
    (tmp_path / "a.py").write_text("pass")
    for name, says in [
        ("empty.py", "empty"),
        ("big.py", "too large"),
        ("text.txt", "no engine"),
        ("job.toml", "UTF-8"),
        ("gone.toml", "cannot be read"),
        ("nothing.py", "cannot be read"),
        (".", "no engine"),
    ]:
        with pytest.raises(JobFileInvalid, match=says):
            read(tmp_path / name)
    with pytest.raises(JobFileInvalid, match="asks for too much"):
        read(tmp_path / "a.py", ["x"] * 65)
