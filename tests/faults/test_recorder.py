"""The recorder sees every way in which this platform's Python changes a directory."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from .disk import Disk, read_in
from .recorder import Kind, preloading, read
from .workloads import KILLED, ROOT

PRELUDE = """
import os, sys, tempfile
from pathlib import Path
from tests.faults.recorder import Kind, Recorder
base, log = Path(sys.argv[1]), Path(sys.argv[2])
recorder = Recorder()
recorder.start(base, log)
"""


def recorded(library: Path, tmp_path: Path, program: str, *, killed: bool = False) -> Disk:
    """The model's disk after `program`; it is the same as the real one."""
    base = tmp_path / "disk"
    base.mkdir()
    done = subprocess.run(
        [sys.executable, "-c", PRELUDE + program, base, tmp_path / "log"],
        cwd=ROOT,
        env=preloading(library),
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert done.returncode == (KILLED if killed else 0), done.stderr
    disk = Disk()
    for record in read(tmp_path / "log"):
        disk.play(record)
    assert disk.present() == read_in(base)
    return disk


def test_all_operations(library: Path, tmp_path: Path) -> None:
    disk = recorded(
        library,
        tmp_path,
        """
os.chdir(base)
os.mkdir("relative", 0o700)
(base / "deep" / "er").mkdir(parents=True)
Path("buffered").write_bytes(b"x" * 100_000)
with open("appended", "ab") as file: file.write(b"one")
with open("appended", "ab") as file: file.write(b"two")
fd = os.open("raw", os.O_RDWR | os.O_CREAT, 0o640)
os.write(fd, b"0123456789")
os.pwrite(fd, b"AB", 3)
os.writev(fd, [b"tail", b"", b"s"])
os.pwritev(fd, [b"q", b"r"], 40)
os.ftruncate(fd, 41)
twin = os.dup(fd)
os.close(fd)
os.write(twin, b"through a copy")
os.lseek(twin, 0, os.SEEK_SET)
os.write(twin, b"Z")
os.fsync(twin)
os.fdatasync(twin)
os.truncate("raw", 30)
with open("raw", "r+b") as file: file.truncate(8)
with open("buffered", "wb") as file: file.write(b"short")
descriptor, name = tempfile.mkstemp(dir=base / "deep")
os.write(descriptor, b"temporary")
os.link(name, "deep/linked")
os.unlink(name)
os.write(descriptor, b" and on")
os.replace("appended", "relative-file")
os.rename("relative-file", "buffered")
directory = os.open("deep", os.O_RDONLY)
os.open("at", os.O_CREAT | os.O_WRONLY, 0o600, dir_fd=directory)
os.rename("at", "to", src_dir_fd=directory, dst_dir_fd=directory)
os.unlink("to", dir_fd=directory)
os.rmdir("deep/er")
if os.fork() == 0:
    Path("by a child").write_bytes(b"c")
    os._exit(0)
os.wait()
""",
    )
    image = disk.present()
    assert image["buffered"].data == b"onetwo"
    assert image["deep/linked"].data == b"temporary and on"
    assert image["raw"].data == b"Z12AB567"


def test_marks_stand_between_the_operations(library: Path, tmp_path: Path) -> None:
    recorded(
        library,
        tmp_path,
        """
recorder.mark(b"before")
(base / "file").write_bytes(b"data")
recorder.mark(b"after")
""",
    )
    kinds = [record.kind for record in read(tmp_path / "log")]
    assert kinds == [Kind.START, Kind.MARK, Kind.OPEN, Kind.WRITE, Kind.MARK]


def test_a_process_dies_before_the_operation_it_names(library: Path, tmp_path: Path) -> None:
    disk = recorded(
        library,
        tmp_path,
        """
fd = os.open(base / "file", os.O_CREAT | os.O_WRONLY)
recorder.die([Kind.WRITE], 3)
for byte in b"abcdef":
    os.write(fd, bytes([byte]))
    os.fsync(fd)
""",
        killed=True,
    )
    assert disk.present()["file"].data == b"ab"


def test_what_lies_elsewhere_is_not_recorded(library: Path, tmp_path: Path) -> None:
    recorded(library, tmp_path, '(base.parent / "disk and more").write_bytes(b"x")')
    assert [record.kind for record in read(tmp_path / "log")] == [Kind.START]


def test_stores_through_memory_are_named(library: Path, tmp_path: Path) -> None:
    disk = recorded(
        library,
        tmp_path,
        """
import mmap
with open(base / "mapped", "w+b") as file:
    file.write(b"1234")
    file.flush()
    mmap.mmap(file.fileno(), 4)
""",
    )
    assert disk.mapped == {str(tmp_path / "disk" / "mapped")}
