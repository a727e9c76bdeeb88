"""What people paste from here into command lines."""

from __future__ import annotations

import secrets

import pytest

from hypermesh.trustchain.acme.encoding import base64url, drawn, from_base64url
from hypermesh.trustchain.acme.problem import AcmeRefusal


@pytest.mark.parametrize("first", range(0, 256, 4))
def test_no_drawn_text_is_taken_for_an_option(monkeypatch: pytest.MonkeyPatch, first: int) -> None:
    monkeypatch.setattr(secrets, "token_bytes", lambda size: bytes([first]) + bytes(size - 1))
    text = base64url(drawn(32))
    assert text[0].isalpha()
    assert len(text) == 43


@pytest.mark.parametrize("size", range(12))
def test_bytes_have_one_text(size: int) -> None:
    data = bytes(range(250, 256)) + bytes(size)
    text = base64url(data)
    assert not set(text) & set("+/=")
    assert from_base64url(text) == data
    for other in (f"{text}=", f"{text} ", f" {text}", f"{text}\n", f"{text}\u00e9", f"{text}A"):
        if other != f"{text}A" or len(text) % 4 == 0:
            with pytest.raises(AcmeRefusal):
                from_base64url(other)


@pytest.mark.parametrize("text", ["+_8", "/-8", "AB", "AAB", "A", "A=", "=", "AA==", "A A", "\0"])
def test_another_text_is_refused(text: str) -> None:
    with pytest.raises(AcmeRefusal):
        from_base64url(text)


def test_nothing_is_the_empty_text() -> None:
    assert (base64url(b""), from_base64url("")) == ("", b"")
