"""A signer of transactions: it keeps its nonce in step and knows what a refusal means."""

from __future__ import annotations

import threading
import time
from typing import Any

from hypermesh.crypto.digest import digest_of
from hypermesh.crypto.keys import QuantumKeys
from hypermesh.crypto.signature import sign
from hypermesh.ledger import identity
from hypermesh.ledger.kernel import NonceNotNext, OutsideWindow
from hypermesh.node.chain import Chain
from hypermesh.wire.codec import encode
from hypermesh.wire.errors import Problem, error_from
from hypermesh.wire.ids import GenesisId
from hypermesh.wire.rpc import SubmitResponse
from hypermesh.wire.tx import WINDOW_MS_MAX, SignedTransaction, Transaction

TRIES = 4


class Wallet:
    """Signs with one pair of keys. One transaction at a time, so that nonces never cross."""

    def __init__(self, keys: QuantumKeys, genesis: GenesisId, chain: Chain) -> None:
        self._keys = keys
        self._genesis = genesis
        self._chain = chain
        self._lock = threading.Lock()
        self._spent = 0
        """Nonces known to be spent; the own copy of the ledger may lag behind."""

    @property
    def id(self) -> bytes:
        return self._keys.id

    def submit(self, body: Any, attestation: bytes = b"") -> SubmitResponse:
        """Put `body` on the ledger. Raises the refusal, as its own class, where it is refused."""
        answer = self.place(body, attestation)
        result = answer.result
        if result.code == "ok":
            return answer
        problem = answer.problem or Problem(result.code, "", "; ".join(result.failures), "")
        refusal = error_from(problem)
        refusal.failures = tuple(result.failures)  # type: ignore[attr-defined]
        raise refusal

    def place(self, body: Any, attestation: bytes = b"") -> SubmitResponse:
        """As `submit`, and a refusal that a block records is an answer like any other."""
        with self._lock:
            return self._placed(body, attestation)

    def _placed(self, body: Any, attestation: bytes) -> SubmitResponse:
        time_ms = time.time_ns() // 1_000_000
        for _ in range(TRIES - 1):
            nonce = self._next()
            try:
                answer = self._chain.submit(self._signed(body, attestation, nonce, time_ms))
            except NonceNotNext:
                self._spent = 0
            except OutsideWindow:
                time_ms = self._chain.ledger.status().time_ms
            else:
                self._spent = nonce + 1
                return answer
        nonce = self._next()
        answer = self._chain.submit(self._signed(body, attestation, nonce, time_ms))
        self._spent = nonce + 1
        return answer

    def _next(self) -> int:
        with self._chain.ledger.state() as state:
            return max(self._spent, identity.nonce(state, self._keys.id))

    def _signed(self, body: Any, attestation: bytes, nonce: int, time_ms: int) -> bytes:
        transaction = Transaction(
            genesis=self._genesis,
            signer=self._keys.id,
            nonce=nonce,
            valid_from_ms=max(0, time_ms - WINDOW_MS_MAX // 2),
            valid_until_ms=time_ms + WINDOW_MS_MAX // 2,
            attestation=attestation,
            body=body,
        )
        signature = sign(self._keys, "tx", self._genesis, digest_of("tx", transaction))
        return encode(SignedTransaction(transaction, signature))
