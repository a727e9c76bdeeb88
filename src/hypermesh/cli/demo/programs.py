"""The programs that the demo runs on a provider. Their results follow from the input."""

from __future__ import annotations

PRIMES = b"""\
import sys

start, count = map(int, sys.stdin.read().split())
found = []
candidate = start
while len(found) < count:
    candidate += 1
    if candidate > 1 and all(candidate % d for d in range(2, int(candidate**0.5) + 1)):
        found.append(candidate)
print(*found)
"""
"""The next `count` primes above `start`; both come on stdin."""

COLLATZ = """
(module
  (import "wasi_snapshot_preview1" "fd_write"
    (func $fd_write (param i32 i32 i32 i32) (result i32)))
  (memory (export "memory") 1)
  (func $steps (param $n i64) (result i64)
    (local $count i64)
    (block $done
      (loop $next
        (br_if $done (i64.le_u (local.get $n) (i64.const 1)))
        (local.set $n
          (if (result i64) (i64.eqz (i64.and (local.get $n) (i64.const 1)))
            (then (i64.shr_u (local.get $n) (i64.const 1)))
            (else (i64.add (i64.mul (local.get $n) (i64.const 3)) (i64.const 1)))))
        (local.set $count (i64.add (local.get $count) (i64.const 1)))
        (br $next)))
    (local.get $count))
  (func (export "_start")
    (local $value i64) (local $at i32)
    (local.set $value (call $steps (i64.const SEED)))
    (local.set $at (i32.const 1024))
    (i32.store8 (local.get $at) (i32.const 10))
    (loop $digit
      (local.set $at (i32.sub (local.get $at) (i32.const 1)))
      (i32.store8 (local.get $at)
        (i32.add (i32.const 48)
          (i32.wrap_i64 (i64.rem_u (local.get $value) (i64.const 10)))))
      (local.set $value (i64.div_u (local.get $value) (i64.const 10)))
      (br_if $digit (i64.ne (local.get $value) (i64.const 0))))
    (i32.store (i32.const 0) (local.get $at))
    (i32.store (i32.const 4) (i32.sub (i32.const 1025) (local.get $at)))
    (drop (call $fd_write (i32.const 1) (i32.const 0) (i32.const 1) (i32.const 8)))))
"""
"""Prints how many Collatz steps lead from SEED to 1 (WASI preview 1, text form)."""


def collatz_steps(start: int) -> int:
    """What `COLLATZ` prints, computed here, to compare."""
    count = 0
    while start > 1:
        start = start // 2 if start % 2 == 0 else 3 * start + 1
        count += 1
    return count
