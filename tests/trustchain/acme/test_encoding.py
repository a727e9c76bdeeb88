"""What people paste from here into command lines."""

from __future__ import annotations

import secrets

import pytest

from hypermesh.trustchain.acme.encoding import base64url, drawn


@pytest.mark.parametrize("first", range(0, 256, 4))
def test_no_drawn_text_is_taken_for_an_option(monkeypatch: pytest.MonkeyPatch, first: int) -> None:
    monkeypatch.setattr(secrets, "token_bytes", lambda size: bytes([first]) + bytes(size - 1))
    text = base64url(drawn(32))
    assert text[0].isalpha()
    assert len(text) == 43
