"""The ladder: which engines there are, and what happens where a sandbox is missing or broken."""

from __future__ import annotations

from importlib import metadata
from pathlib import Path

import msgspec
import pytest

from hypermesh.catalog.engines.engine import EngineInfo
from hypermesh.catalog.engines.ladder import PLANNED, Ladder
from hypermesh.catalog.engines.packages import offered
from hypermesh.catalog.engines.python import PythonEngine
from hypermesh.catalog.engines.wasm import WasmEngine
from hypermesh.catalog.errors import EngineUnknown, SandboxMissing, SandboxUnusable
from hypermesh.catalog.output import Output
from hypermesh.catalog.sandbox import bubblewrap
from hypermesh.catalog.sandbox.bubblewrap import Bubblewrap
from hypermesh.catalog.sandbox.cgroup import NoCgroups
from hypermesh.wire.errors import NotAvailable

from .conftest import Run, job


def _info(ladder: Ladder, name: str) -> EngineInfo:
    return next(each for each in ladder.engines() if each.name == name)


def test_every_engine_of_the_design_is_listed_truthfully(ladder: Ladder) -> None:
    names = [each.name for each in ladder.engines()]
    assert names[:2] == ["python", "wasm"]
    assert set(PLANNED) == set(names[2:])
    for each in ladder.engines():
        assert each.available == (each.isolation != "none")
        assert each.available == (each.reason == "")


def test_an_engine_tells_the_runtime_that_jobs_find(ladder: Ladder, python: Run) -> None:
    said = python("import platform; print(platform.python_version())").stdout.decode()
    assert _info(ladder, "python").runtime == f"CPython {said.strip()}"
    assert _info(ladder, "wasm").runtime == f"wasmtime {metadata.version('wasmtime')}"
    assert {_info(ladder, name).runtime for name in PLANNED} == {""}


def test_the_packages_on_offer_are_those_that_a_job_finds(ladder: Ladder, python: Run) -> None:
    del python
    assert offered()
    for name, version in offered().items():
        asking = job("python", f"import {name}; print({name}.__version__)")
        done = ladder.run(msgspec.structs.replace(asking, packages=[name]))
        assert done.stdout.decode().strip() == version


@pytest.mark.parametrize("name", sorted(PLANNED))
def test_what_does_not_exist_yet_says_so(ladder: Ladder, name: str) -> None:
    with pytest.raises(NotAvailable, match=f"{name} does not exist yet"):
        ladder.run(job(name, "x"))


def test_an_unknown_engine_is_refused_with_a_guess(ladder: Ladder) -> None:
    with pytest.raises(EngineUnknown, match="did you mean python"):
        ladder.run(job("pyton", "x"))
    with pytest.raises(EngineUnknown, match="Use one of: python, wasm"):
        ladder.run(job("", "x"))


def test_a_missing_bwrap_is_named_with_the_command(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, node_name: str
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    bare = Ladder.open(f"{node_name}-bare-path")
    try:
        info = _info(bare, "python")
        assert not info.available
        assert "apt-get install bubblewrap" in info.reason
        with pytest.raises(SandboxMissing, match="apt-get install bubblewrap"):
            bare.run(job("python", "print(1)"))
        assert "bubblewrap" not in _info(bare, "wasm").isolation
    finally:
        bare.close()


def _program(path: Path, script: str) -> None:
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o755)


def test_a_bwrap_that_fails_is_unusable_and_says_why(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    _program(tmp_path / "bwrap", "echo 'bwrap: No permissions to create new namespace' >&2; exit 1")
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(SandboxUnusable, match="No permissions to create new namespace"):
        bubblewrap.find()


def test_a_bwrap_that_hangs_is_given_up(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    _program(tmp_path / "bwrap", "read -r never < /dev/zero")
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(bubblewrap, "PROBE_S_MAX", 0.1)
    with pytest.raises(SandboxUnusable, match="no answer"):
        bubblewrap.find()


def test_a_shim_is_no_interpreter(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    shim = tmp_path / "python3"
    _program(shim, 'exec python3.11 "$@"')
    monkeypatch.setattr(bubblewrap, "_INTERPRETERS", (str(shim),))
    assert all(each.program != shim for each in bubblewrap.interpreters())
    own = bubblewrap.own_interpreter()
    assert own is not None
    assert own.read_bytes()[:4] == b"\x7fELF"


def test_the_nodes_own_interpreter_serves_where_the_system_has_none(
    monkeypatch: pytest.MonkeyPatch, python: Run
) -> None:
    own = bubblewrap.own_interpreter()
    if own is not None and own.is_relative_to("/usr"):
        assert bubblewrap.interpreters()[0].program == own
        return
    monkeypatch.setattr(bubblewrap, "_INTERPRETERS", ())
    found = bubblewrap.find()
    assert str(found.interpreter.program).startswith("/opt/python/")
    result = PythonEngine(found, NoCgroups()).run(
        job("python", "import sys; print(sys.prefix)"), None, Output(1024)
    )
    assert result.stdout == b"/opt/python\n"


def _sandbox(ladder: Ladder) -> Bubblewrap:
    found = ladder._engines["python"]._sandbox  # type: ignore[attr-defined]
    assert isinstance(found, Bubblewrap)
    return found


def test_without_cgroups_everything_says_unenforced(python: Run, ladder: Ladder) -> None:
    engine = PythonEngine(_sandbox(ladder), NoCgroups())
    result = engine.run(job("python", "print(1)"), None, Output(1024))
    assert (result.enforced_cpu, result.enforced_memory) == ("unenforced", "unenforced")
    assert "cgroup" not in result.isolation
    assert result.stdout == b"1\n"


def test_without_cgroups_each_process_is_still_bounded(python: Run, ladder: Ladder) -> None:
    engine = PythonEngine(_sandbox(ladder), NoCgroups())
    hungry = engine.run(
        job("python", "x = bytearray(200 << 20)", memory=96 << 20), None, Output(1 << 16)
    )
    assert b"MemoryError" in hungry.stderr
    bomb = "import os, time\nwhile True:\n  if os.fork() == 0: time.sleep(60)"
    forked = engine.run(job("python", bomb, wall_ms=5000), None, Output(1 << 16))
    assert (forked.exit_code, forked.reason) == (1, "exited")
    assert b"BlockingIOError" in forked.stderr
    endless = engine.run(
        job("python", "import os; os.fork()\nwhile True: pass", wall_ms=200), None, Output(1)
    )
    assert endless.reason == "deadline"


def test_without_cgroups_wasm_stops_and_says_so(ladder: Ladder) -> None:
    from wasmtime import wat2wasm

    sandbox = ladder._engines["wasm"]._sandbox  # type: ignore[attr-defined]
    engine = WasmEngine(sandbox, NoCgroups())
    try:
        spin = bytes(wat2wasm('(module (func (export "f") (loop br 0)))'))
        result = engine.run(job("wasm", spin, "f", wall_ms=100), None, Output(1))
        assert result.reason == "deadline"
        assert (result.enforced_cpu, result.enforced_memory) == ("unenforced", "unenforced")
        assert result.cpu_us > 50_000
    finally:
        engine.close()
