"""`hm job run`: Python, WebAssembly and job files."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import wasmtime

from .shell import Machine

HELLO = (
    'import sys\nprint("hello", *sys.argv[1:], sys.stdin.read())\nprint("aside", file=sys.stderr)\n'
)
EXIT_7 = """
(module
  (import "wasi_snapshot_preview1" "proc_exit" (func $exit (param i32)))
  (memory (export "memory") 1)
  (func (export "_start") (call $exit (i32.const CODE))))
"""


@pytest.fixture(scope="module", autouse=True)
def _files(home: Machine, lender: Machine) -> None:
    place = home.directory
    (place / "hello.py").write_text(HELLO)
    (place / "fails.py").write_text("raise SystemExit(3)")
    (place / "spins.py").write_text("while True: pass")
    (place / "numbers.txt").write_text("1 2 3")
    for code in (0, 7):
        module = wasmtime.wat2wasm(EXIT_7.replace("CODE", str(code)))
        (place / f"exit{code}.wasm").write_bytes(bytes(module))
    (place / "job.toml").write_text(
        'program = "hello.py"\narguments = ["a"]\nstdin = "numbers.txt"\n'
        '[limits]\ncpu = "100m"\nmemory = "64MiB"\ntime = "20s"\n'
    )


def test_a_python_program(home: Machine) -> None:
    done = home.succeeds("job", "run", "hello.py", "--cpu", "100m", "--arg", "x", "--arg", "-y")
    assert done.stdout == b"hello x -y \n"
    said = done.stderr.decode()
    assert said.startswith("aside\n")
    assert re.search(
        r"\nexited with 0 after \d+ ms \(\d+ ms of CPU\) on lender, in \S+; "
        r"cost 0\.\d+ CAES; lease [0-9a-f]{16}\n$",
        said,
    )


def test_its_input(home: Machine) -> None:
    for words, stdin in ((("numbers.txt",), b""), (("-",), b"1 2 3")):
        done = home.succeeds(
            "job", "run", "hello.py", "--cpu", "100m", "--stdin", *words, stdin=stdin
        )
        assert done.stdout == b"hello 1 2 3\n"


def test_a_job_file(home: Machine) -> None:
    result = home.json("job", "run", "job.toml", "--arg", "b")
    assert (result["stdout"], result["stderr"]) == ("hello a b 1 2 3\n", "aside\n")
    assert (result["engine"], result["exit_code"], result["reason"]) == ("python", 0, "exited")
    assert result["paid"] > 0
    assert result["fee"] > 0


def test_webassembly(home: Machine) -> None:
    assert home.json("job", "run", "exit0.wasm", "--cpu", "100m")["engine"] == "wasm"
    done = home.hm("job", "run", "exit7.wasm", "--cpu", "100m")
    assert done.returncode == 1
    assert b"exited with 7" in done.stderr


def test_a_program_that_fails(home: Machine) -> None:
    done = home.hm("job", "run", "fails.py", "--cpu", "100m")
    assert (done.returncode, done.stdout) == (1, b"")
    assert b"exited with 3 after" in done.stderr


def test_a_program_that_does_not_end(home: Machine) -> None:
    done = home.hm("job", "run", "spins.py", "--cpu", "100m", "--timeout", "500ms")
    assert done.returncode == 1
    assert b"was stopped at its deadline" in done.stderr
    assert home.json("lease", "ls") == {"items": []}


@pytest.mark.parametrize(
    ("option", "value", "says"),
    [
        ("--cpu", "frob", "is not a number"),
        ("--cpu", "1GHz", "is not a unit here"),
        ("--memory", "64mib", "did you mean MiB?"),
        ("--timeout", "30", "the unit is missing"),
        ("--timeout", "-1s", "is not a number"),
    ],
)
def test_a_limit_that_cannot_be_read(home: Machine, option: str, value: str, says: str) -> None:
    said = home.fails("job", "run", "hello.py", option, value, exit_code=2)
    assert says in said
    assert option in said


@pytest.mark.parametrize(
    ("option", "value", "exit_code", "says"),
    [
        ("--cpu", "0", 2, "cpu_millicores"),
        ("--memory", "1B", 2, "memory_bytes"),
        ("--memory", "9999TiB", 2, "memory_bytes"),
        ("--timeout", "0s", 2, "wall_ms"),
        ("--timeout", "25h", 2, "wall_ms"),
        ("--cpu", "1000", 5, "No provider has 1000000 millicores"),
    ],
)
def test_a_limit_that_cannot_be_given(
    home: Machine, option: str, value: str, exit_code: int, says: str
) -> None:
    said = home.fails("job", "run", "hello.py", option, value, exit_code=exit_code)
    assert says in said


@pytest.mark.parametrize(
    ("name", "text", "says"),
    [
        ("bad.toml", "program = 3", "line 1: program is not a string"),
        ("empty.py", "", "is empty"),
        ("what.txt", "x", "no engine is known"),
        ("unknown.toml", 'program = "hello.py"\nprogramm = 1', "Did you mean program?"),
    ],
)
def test_a_file_that_is_no_job(home: Machine, name: str, text: str, says: str) -> None:
    (home.directory / name).write_text(text)
    assert says in home.fails("job", "run", name, exit_code=2)
    assert home.problem("job", "run", name, exit_code=2)["code"] == "HM-JOB-0005"


def test_a_machine_alone_runs_its_own_jobs(tmp_path: Path) -> None:
    """And modules where the user stands are no part of the node, whatever they are called."""
    machine = Machine(tmp_path, "alone")
    (tmp_path / "hello.py").write_text(HELLO)
    for module in ("copy", "json", "sqlite3"):
        (tmp_path / f"{module}.py").write_text("raise SystemExit('shadowed')")
    try:
        machine.succeeds("up", "--share", "10%")
        assert machine.json("job", "run", "hello.py", "--cpu", "100m")["stdout"] == "hello \n"
    finally:
        machine.hm("down")
