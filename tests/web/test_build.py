"""The built files: how much a first visit loads, and what they carry."""

from __future__ import annotations

import gzip
import importlib.util
import re
import sys
from pathlib import Path
from types import ModuleType

import pytest

import hypermesh

ROOT = Path(__file__).resolve().parents[2]
BUILT = Path(hypermesh.__file__).parent / "_ui"
FIRST_LOAD_BYTES_MAX = 250 * 1024
WHOLE_BYTES_MAX = 2 << 20

pytestmark = pytest.mark.skipif(
    not (BUILT / "index.html").exists(), reason="the dashboard is not built: `make ui`"
)


def first_load(directory: Path) -> set[Path]:
    """The page, and all that it loads before anything is clicked: what its HTML names, and what
    those files import at once."""
    found: set[Path] = set()
    waiting = [directory / "index.html"]
    while waiting:
        file = waiting.pop()
        if file in found:
            continue
        found.add(file)
        text = file.read_text()
        named = re.findall(r'(?:src|href)="/([^"]+)"', text) if file.suffix == ".html" else []
        waiting += [directory / name for name in named]
        if file.suffix == ".js":
            static = re.findall(r'(?:^|[;}])(?:import|export)[^"\'();]*["\']\./([^"\']+)', text)
            waiting += [file.parent / name for name in static]
    return found


def test_a_first_visit_is_small() -> None:
    files = first_load(BUILT)
    assert {".html", ".js", ".css", ".svg"} <= {file.suffix for file in files}
    size = sum(len(gzip.compress(file.read_bytes(), 9)) for file in files)
    assert size <= FIRST_LOAD_BYTES_MAX


def test_the_graph_is_loaded_when_it_is_asked_for() -> None:
    everything = set(BUILT.rglob("*.js"))
    assert any("topology" in file.name for file in everything)
    assert not any("topology" in file.name for file in first_load(BUILT))


def test_an_import_at_once_is_counted(tmp_path: Path) -> None:
    """The measure sees what a script pulls in, and leaves out what it loads later."""
    (tmp_path / "static").mkdir()
    (tmp_path / "index.html").write_text('<script src="/static/a.js"></script>')
    (tmp_path / "static" / "a.js").write_text('import{x}from"./b.js";const y=()=>import("./c.js");')
    (tmp_path / "static" / "b.js").write_text("export const x=1;")
    (tmp_path / "static" / "c.js").write_text("later")
    assert {file.name for file in first_load(tmp_path)} == {"index.html", "a.js", "b.js"}


def test_the_whole_fits_into_the_wheel() -> None:
    assert sum(file.stat().st_size for file in BUILT.rglob("*")) <= WHOLE_BYTES_MAX


def test_each_text_is_there_compressed() -> None:
    for file in BUILT.rglob("*"):
        if file.suffix in (".js", ".css", ".html"):
            packed = file.with_name(file.name + ".gz")
            assert gzip.decompress(packed.read_bytes()) == file.read_bytes()
            assert file.with_name(file.name + ".br").is_file()


def test_nothing_is_inline_and_nothing_comes_from_elsewhere() -> None:
    page = (BUILT / "index.html").read_text()
    assert re.findall(r"<script(?![^>]*\bsrc=)", page) == []
    assert "<style" not in page
    assert "style=" not in page
    assert re.findall(r'(?:src|href)="(?!/)', page) == []


def test_the_licences_are_with_it() -> None:
    notices = (BUILT / "notices.txt").read_text()
    for package in ("react", "react-dom", "scheduler", "uplot", "cytoscape"):
        assert re.search(rf"^{package} [0-9.]+ \(MIT\)$", notices, re.MULTILINE)


def test_every_version_is_pinned() -> None:
    import json

    package = json.loads((ROOT / "web" / "package.json").read_text())
    wanted = package["dependencies"] | package["devDependencies"]
    assert all(re.fullmatch(r"\d+\.\d+\.\d+", version) for version in wanted.values())
    locked = json.loads((ROOT / "web" / "package-lock.json").read_text())["packages"]
    for name, version in wanted.items():
        assert locked[f"node_modules/{name}"]["version"] == version


@pytest.fixture
def setup() -> ModuleType:
    spec = importlib.util.spec_from_file_location("setup_tool", ROOT / "tools" / "setup.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def nowhere(setup: ModuleType, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> ModuleType:
    """A set-up on a machine without Node, to which no package comes."""
    monkeypatch.setattr(setup, "done", lambda *_: False)
    monkeypatch.setattr(setup, "NODE", tmp_path / "node")
    monkeypatch.setattr(setup.venv, "create", lambda place, **_: place.mkdir())
    monkeypatch.setattr(setup.subprocess, "call", lambda *_, **__: 1)
    return setup


def test_without_any_node_it_says_so_and_goes_on(
    nowhere: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(nowhere.shutil, "which", lambda _: None)
    assert "Node 20.19 or newer" in nowhere.dashboard()
    assert not nowhere.NODE.exists()


def test_make_ui_fails_where_it_cannot_build(
    nowhere: ModuleType, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(nowhere.shutil, "which", lambda name: "cargo" if name == "cargo" else None)
    monkeypatch.setattr(sys, "argv", ["setup.py", "dashboard"])
    assert nowhere.main() == 1
    assert "not built" in capsys.readouterr().err


@pytest.mark.parametrize(("version", "path"), [("v18.19.0", ""), ("v22.20.0", "/bin")])
def test_a_node_that_is_too_old_is_not_used(
    nowhere: ModuleType, monkeypatch: pytest.MonkeyPatch, version: str, path: str
) -> None:
    monkeypatch.setattr(nowhere.shutil, "which", lambda name: name)
    monkeypatch.setattr(nowhere.subprocess, "check_output", lambda *_, **__: f"{version}\n")
    monkeypatch.setenv("PATH", "/bin")
    assert nowhere.node_path() == path
