"""A store filled to its limit opens again: what may be written is not too large to be read."""

from __future__ import annotations

from pathlib import Path

import pytest

from hypermesh.crypto.files import replace
from hypermesh.crypto.keys import QuantumKeys
from hypermesh.node import locators
from hypermesh.node import tokens as tokens_module
from hypermesh.node.borrowing import SESSIONS_BYTES_MAX, SESSIONS_MAX, KeptSession, Sessions
from hypermesh.node.locators import FILE_BYTES_MAX, RECORDS_MAX, Locators
from hypermesh.node.tokens import ENDED_KEPT_MS, TOKENS_MAX, Tokens, TokensFull
from hypermesh.wire.api.token import LIFETIME_MAX_MS, Scope, TokenRequest
from hypermesh.wire.asset import Locator
from hypermesh.wire.codec import SIZE_MAX, encode
from hypermesh.wire.keys import HYBRID_V1, QuantumSignature
from hypermesh.wire.rpc import SignedLocator

FALCON_SIGNATURE_BYTES = 1280
"""As `hypermesh.wire.keys.FalconSignature` wants it."""
LOCATORS = 3_000


def test_sessions(tmp_path: Path) -> None:
    secret = QuantumKeys.generate().secret_bytes()
    kept = [KeptSession(number.to_bytes(32, "big"), secret) for number in range(SESSIONS_MAX)]
    data = encode(kept)
    assert SIZE_MAX < len(data) < SESSIONS_BYTES_MAX
    replace(tmp_path / "sessions", data)
    assert Sessions(tmp_path / "sessions").get(kept[-1].lease) is not None


def test_locators(tmp_path: Path) -> None:
    signature = QuantumSignature(HYBRID_V1, bytes(FALCON_SIGNATURE_BYTES), bytes(64))
    records = [
        SignedLocator(
            Locator(number.to_bytes(32, "big"), ["h" * 64], 65535, 2**53, 2**53, "n" * 64),
            signature,
        )
        for number in range(LOCATORS)
    ]
    data = encode(locators._Book(records))
    assert len(data) > SIZE_MAX
    assert len(data) / LOCATORS * RECORDS_MAX < FILE_BYTES_MAX
    replace(tmp_path / "locators", data)
    assert len(Locators(tmp_path / "locators", b"g" * 32).nodes()) == LOCATORS


def test_tokens(tmp_path: Path) -> None:
    request = TokenRequest("n" * 63, sorted(Scope), LIFETIME_MAX_MS)
    tokens = Tokens(tmp_path / "tokens")
    with pytest.MonkeyPatch.context() as patch:
        # Each alone is durable; here the last is.
        patch.setattr(tokens_module, "replace", lambda *_: None)
        for _ in range(TOKENS_MAX - 1):
            tokens.create(request, 1)
    token, _ = tokens.create(request, 1)
    with pytest.raises(TokensFull):
        tokens.create(request, 1)
    again = Tokens(tmp_path / "tokens")
    assert again.find(token) is not None
    assert len(again.page(None, TOKENS_MAX + 1, 1).items) == TOKENS_MAX
    # A month after they have ended there is room again.
    again.create(request, LIFETIME_MAX_MS + ENDED_KEPT_MS + 1)
