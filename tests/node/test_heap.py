"""Freed memory is shared by all threads of a node."""

from __future__ import annotations

import platform
import subprocess
import sys

import pytest

ARENAS = """
import ctypes, re, sys, tempfile, threading
from hypermesh.node import heap

assert not sys.argv[1:] or heap.bound()
allocated = threading.Barrier(17)

def allocate():
    keep = ctypes.create_string_buffer(1000)
    libc.malloc.restype = ctypes.c_void_p
    libc.malloc(1000)
    allocated.wait(10)

libc = ctypes.CDLL(None)
threads = [threading.Thread(target=allocate) for _ in range(16)]
for thread in threads:
    thread.start()
with tempfile.NamedTemporaryFile("r+") as told:
    libc.fopen.restype = ctypes.c_void_p
    file = libc.fopen(told.name.encode(), b"w")
    libc.malloc_info(0, ctypes.c_void_p(file))
    libc.fclose(ctypes.c_void_p(file))
    print(len(re.findall("<heap nr", open(told.name).read())))
allocated.wait(10)
for thread in threads:
    thread.join()
"""


def arenas(*arguments: str) -> int:
    command = [sys.executable, "-c", ARENAS, *arguments]
    return int(subprocess.run(command, capture_output=True, check=True, timeout=30).stdout)


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="another C library")
def test_a_node_has_two_heaps_however_many_threads_it_has() -> None:
    assert arenas("bound") <= 2 < arenas()
