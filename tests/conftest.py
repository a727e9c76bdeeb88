"""For all tests."""

from __future__ import annotations

import signal

# A shell without job control starts what runs in the background with SIGINT ignored, and children
# inherit that: no Ctrl-C would reach the commands that tests interrupt.
if signal.getsignal(signal.SIGINT) == signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

pytest_plugins = ["tests.postgresql.fixtures"]
