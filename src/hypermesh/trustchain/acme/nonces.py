"""Anti-replay nonces (RFC 8555 section 6.5), each taken once, with no store.

A nonce is a counter and a MAC over it under a key that lives as long as the process. Which of the
last `WINDOW` counters were used is kept in a ring of bytes, as the anti-replay window of RFC 4303
section 3.4.3 does. So a nonce from before a restart is never taken, and the client gets a fresh one
with the refusal.
"""

from __future__ import annotations

import hashlib
import hmac
import secrets
import threading

from hypermesh.trustchain.acme.encoding import base64url, from_base64url
from hypermesh.trustchain.acme.problem import AcmeRefusal

WINDOW = 1 << 20
"""Nonces that are good at a time, and the bytes that say which of them were used."""

_COUNTER_BYTES = 8
_MAC_BYTES = 16


class Nonces:
    """The nonces of one process; may be used from several threads."""

    def __init__(self, window: int = WINDOW) -> None:
        self._secret = secrets.token_bytes(32)
        self._window = window
        self._next = 0
        self._used = bytearray(window)
        self._lock = threading.Lock()

    def fresh(self) -> str:
        """A nonce that was never given before."""
        with self._lock:
            number = self._next
            self._next += 1
            self._used[number % self._window] = 0
        counter = number.to_bytes(_COUNTER_BYTES, "big")
        return base64url(counter + self._mac(counter))

    def take(self, nonce: str) -> bool:
        """Use `nonce` up; False where it is not one of these, too old, or used."""
        try:
            data = from_base64url(nonce)
        except AcmeRefusal:
            return False
        counter, mac = data[:_COUNTER_BYTES], data[_COUNTER_BYTES:]
        if not hmac.compare_digest(mac, self._mac(counter)):
            return False
        number = int.from_bytes(counter, "big")
        with self._lock:
            if number < self._next - self._window or self._used[number % self._window]:
                return False
            self._used[number % self._window] = 1
        return True

    def _mac(self, counter: bytes) -> bytes:
        # Keyed BLAKE2 (RFC 7693 section 2.9) is a MAC by itself, at a tenth of what HMAC costs for
        # eight bytes.
        return hashlib.blake2b(counter, digest_size=_MAC_BYTES, key=self._secret).digest()
