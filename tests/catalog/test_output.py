"""What a job says while it runs, its packages and its result."""

from __future__ import annotations

import pickle
import threading

import pytest
from msgspec.structs import replace as replaced

from hypermesh.catalog.engines import packages
from hypermesh.catalog.engines.ladder import Ladder, output_of
from hypermesh.catalog.errors import PackageUnknown
from hypermesh.catalog.output import Output
from hypermesh.catalog.sandbox.process import OUTPUT_DROPPED_MAX, Cancellation
from hypermesh.wire.rpc import JobRequest

from .conftest import Run, job

WAIT_S = 30.0
RESULT = (
    "import os, sys\n"
    "print('seen')\n"
    "with os.fdopen(int(os.environ['HYPERMESH_RESULT_FD']), 'wb') as file:\n"
    "    file.write(sys.stdin.buffer.read())\n"
)


def test_what_a_job_prints_is_there_before_it_ends(python: Run, ladder: Ladder) -> None:
    """The program runs until it is cancelled, and it is cancelled once its output was seen."""
    request = job("python", "print('out')\nimport sys\nprint('err', file=sys.stderr)\nwhile 1: 0")
    output = output_of(request)
    seen = threading.Event()
    with Cancellation() as cancellation:

        def listen() -> None:
            if output.since(0, 0) == (b"out\n", b"err\n"):
                seen.set()
                cancellation.cancel()

        with output.heard(listen):
            result = ladder.run(request, cancellation, output)
    assert seen.is_set()
    assert result.reason == "killed"
    assert output.ended
    assert (result.stdout, result.stderr) == (b"out\n", b"err\n")


def test_a_result_is_apart_from_what_is_printed(python: Run, ladder: Ladder) -> None:
    given = bytes(range(256)) * 64
    result = ladder.run(with_result(RESULT, len(given), stdin=given))
    assert (result.stdout, result.result, result.result_cut_bytes) == (b"seen\n", given, 0)


def test_a_result_beyond_its_limit_is_cut_and_says_so(python: Run, ladder: Ladder) -> None:
    result = ladder.run(with_result(RESULT, 10, stdin=bytes(1000)))
    assert (len(result.result), result.result_cut_bytes) == (10, 990)


def test_a_job_that_asks_for_no_result_has_no_descriptor(python: Run) -> None:
    result = python(
        "import os; print('HYPERMESH_RESULT_FD' in os.environ, os.listdir('/proc/self/fd'))"
    )
    assert result.stdout.startswith(b"False ['0', '1', '2', '3']")
    assert result.result == b""


def test_a_flood_of_results_ends_the_job(python: Run, ladder: Ladder) -> None:
    flood = "import os\nwhile 1: os.write(int(os.environ['HYPERMESH_RESULT_FD']), bytes(1 << 20))"
    result = ladder.run(with_result(flood, 100))
    assert result.reason == "killed"
    assert result.result_cut_bytes > OUTPUT_DROPPED_MAX


@pytest.mark.parametrize("public", [True, False])
def test_a_package_of_every_node(
    python: Run, ladder: Ladder, monkeypatch: pytest.MonkeyPatch, public: bool
) -> None:
    """Where the sandbox cannot reach the node's own files it gets copies."""
    monkeypatch.setattr(packages, "_is_public", lambda _: public)
    program = (
        "import os, cloudpickle\n"
        "with os.fdopen(int(os.environ['HYPERMESH_RESULT_FD']), 'wb') as file:\n"
        "    file.write(cloudpickle.dumps(6 * 7))\n"
        "open('/opt/packages/cloudpickle/__init__.py', 'a')\n"
    )
    result = ladder.run(replaced(with_result(program, 1 << 16), packages=["cloudpickle"]))
    assert pickle.loads(result.result) == 42  # noqa: S301
    assert b"OSError" in result.stderr or b"PermissionError" in result.stderr


def test_a_package_is_there_only_when_asked_for(python: Run) -> None:
    assert b"ModuleNotFoundError" in python("import cloudpickle").stderr


@pytest.mark.parametrize("name", ["numpy", "", "../../etc", "hypermesh"])
def test_any_other_package_is_refused(ladder: Ladder, name: str) -> None:
    with pytest.raises(PackageUnknown, match="no package"):
        ladder.run(replaced(job("python", "pass"), packages=[name]))


def test_webassembly_has_neither(ladder: Ladder) -> None:
    for fields in ({"packages": ["cloudpickle"]}, {"result_bytes": 1}):
        with pytest.raises(PackageUnknown):
            ladder.run(replaced(job("wasm", b"\0asm\1\0\0\0"), **fields))


def test_output_is_bounded_and_counts_what_it_drops() -> None:
    output = Output(4, 2)
    output.take(output.stdout, b"abcdef")
    output.take(output.result, b"xyz")
    assert output.since(1, 0) == (b"bcd", b"")
    assert (output.stdout.cut, bytes(output.result.data), output.result.cut) == (2, b"xy", 1)
    assert output.has(3, 0)
    assert not output.has(4, 0)
    output.end()
    assert output.has(4, 0)


def with_result(program: str, result_bytes: int, stdin: bytes = b"") -> JobRequest:
    return replaced(job("python", program, stdin=stdin), result_bytes=result_bytes)
