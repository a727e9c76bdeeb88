"""`hm job run`: Python, WebAssembly and job files."""

from __future__ import annotations

import base64
import json
import os
import re
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import wasmtime
from tests.node.network import eventually

from hypermesh.cli.job import _ending
from hypermesh.wire.api.job import JobView

from .shell import HM, Machine

HELLO = (
    'import sys\nprint("hello", *sys.argv[1:], sys.stdin.read())\nprint("aside", file=sys.stderr)\n'
)
ENDLESS = """
import sys
print("begun")
sys.stdout.buffer.write(b"\\xff\\xfe\\n")
while True: pass
"""
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
    (place / "endless.py").write_text(ENDLESS)
    (place / "numbers.txt").write_text("1 2 3")
    for code in (0, 7):
        module = wasmtime.wat2wasm(EXIT_7.replace("CODE", str(code)))
        (place / f"exit{code}.wasm").write_bytes(bytes(module))
    (place / "job.toml").write_text(
        'program = "hello.py"\narguments = ["a"]\nstdin = "numbers.txt"\n'
        '[limits]\ncpu = "100m"\nmemory = "64MiB"\ntime = "20s"\n'
    )


@contextmanager
def running(machine: Machine, *words: str) -> Iterator[subprocess.Popen[bytes]]:
    """`hm` while it runs; ended at the end."""
    process = subprocess.Popen(
        [str(HM), *words],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        cwd=machine.directory,
        env={**os.environ, "HYPERMESH_DATA": str(machine.data)},
    )
    with process:
        try:
            yield process
        finally:
            process.kill()


def test_a_python_program(home: Machine) -> None:
    done = home.succeeds("job", "run", "hello.py", "--cpu", "100m", "--arg", "x", "--arg", "-y")
    assert done.stdout == b"hello x -y \n"
    said = done.stderr.decode()
    assert said.startswith("aside\n")
    assert re.search(
        r"\nexited with 0 after \d+ ms \(\d+ ms of CPU\) on lender, in \S+; "
        r"cost 0\.\d+ CAES\nreceipt [0-9a-f]{64}\n$",
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
    # The job's end is told when it has ended, its lease is settled in a block after it.
    eventually(lambda: home.json("lease", "ls") == {"items": []} or None, "its lease is settled")


def test_its_output_comes_while_it_runs_and_ctrl_c_cancels_it(home: Machine) -> None:
    with running(home, "job", "run", "endless.py", "--cpu", "100m") as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"begun\n"
        assert process.stdout.readline() == b"\xff\xfe\n"
        process.send_signal(signal.SIGINT)
        _, said = process.communicate(timeout=60)
    assert process.returncode == 130
    assert b"was cancelled after" in said
    assert b"receipt " in said
    newest = home.json("job", "ls", "--limit", "1")["items"][0]
    assert (newest["state"], newest["reason"]) == ("cancelled", "cancelled")


def test_a_job_that_is_left_to_the_node(home: Machine) -> None:
    detached = home.succeeds("job", "run", "endless.py", "--cpu", "100m", "--detach")
    job = detached.stdout.decode().strip()
    assert re.fullmatch("[0-9a-f]{32}", job)
    assert detached.stderr == b""
    with running(home, "job", "logs", "-f", job) as following:
        assert following.stdout is not None
        assert following.stdout.readline() == b"begun\n"
        assert following.stdout.readline() == b"\xff\xfe\n"
        assert job[:16].encode() in home.succeeds("job", "ls", "--state", "running").stdout
        assert home.succeeds("job", "ls", "-q").stdout.splitlines()[0] == job.encode()
        assert home.json("job", "show", job[:12])["state"] == "running"
        assert home.succeeds("job", "cancel", job).stdout == b"Now: cancelled\n"
        assert following.wait(60) == 0
    again = home.succeeds("job", "cancel", job)
    assert again.stdout == b"Was over already: cancelled\n"
    shown = home.succeeds("job", "show", job).stdout.decode()
    assert "lender (" in shown
    assert re.search(r"^receipt +[0-9a-f]{64}$", shown, re.MULTILINE)
    assert home.succeeds("job", "logs", job).stdout == b"begun\n\xff\xfe\n"
    pieces = home.succeeds("job", "logs", job, "--output", "jsonl").stdout.splitlines()
    assert base64.b64decode(json.loads(pieces[0])["stdout_raw"]) == b"begun\n\xff\xfe\n"


def test_a_job_that_waits_for_room_says_so(home: Machine) -> None:
    """The second asks for the very asset that the first takes up, as `--asset` says."""
    shares = home.json("asset", "ls", "--kind", "cpu")["items"]
    lent = next(each for each in shares if each["host_name"] == "lender")
    where = ("--cpu", f"{lent['capacity']}m", "--asset", lent["asset"])
    detached = home.succeeds("job", "run", "endless.py", *where, "--timeout", "90s", "--detach")
    first = detached.stdout.decode().strip()
    with running(home, "job", "logs", "-f", first) as following:
        assert following.stdout is not None
        assert following.stdout.readline() == b"begun\n"
    with running(home, "job", "run", "hello.py", *where) as waiting:
        assert waiting.stderr is not None
        assert b"waits for one" in waiting.stderr.readline()
        home.succeeds("job", "cancel", first)
        said, _ = waiting.communicate(timeout=60)
    assert (waiting.returncode, said) == (0, b"hello \n")


def test_a_job_that_is_not_there(home: Machine) -> None:
    for command in ("show", "logs", "cancel"):
        assert "no job" in home.fails("job", command, "0" * 32, exit_code=5)
        assert "No jobs begin with" in home.fails("job", command, "zz", exit_code=5)
        home.fails("job", command, "", exit_code=2)


def test_more_than_anyone_shares_names_the_largest_share(home: Machine) -> None:
    said = home.fails("job", "run", "hello.py", "--cpu", "64", exit_code=5)
    assert re.search(r"the largest share of CPU is \d+ millicores, on (home|lender)", said)
    assert re.search(r"Ask for less: --cpu \d+m", said)


def test_a_failed_program_is_no_failure_of_hm(home: Machine) -> None:
    """With JSON the result is on stdout, whatever it is; a job that could not run is a problem."""
    done = home.hm("job", "run", "fails.py", "--cpu", "100m", "--output", "json")
    assert (done.returncode, done.stderr) == (1, b"")
    result = json.loads(done.stdout)
    assert (result["state"], result["exit_code"], result["problem"]) == ("failed", 3, None)
    refused = home.problem("job", "run", "hello.py", "--cpu", "64", exit_code=5)
    assert refused["code"] == "HM-JOB-0015"


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


@pytest.mark.parametrize(
    ("engine", "keeper", "words"),
    [
        ("python", "cgroup2", "4 ms of CPU"),
        ("python", "unenforced", "CPU not metered"),
        ("wasm", "unenforced", "4 ms of CPU"),
    ],
)
def test_cpu_time_is_told_where_it_was_metered(engine: str, keeper: str, words: str) -> None:
    whole: dict[str, Any] = dict.fromkeys(JobView.__struct_fields__)
    whole |= {"engine": engine, "enforced": {"cpu": keeper}, "reason": "exited", "exit_code": 0}
    view = JobView(**{**whole, "wall_ms": 9.0, "cpu_ms": 4.0})
    assert f"({words})" in _ending(view)
