"""One GET, against servers that answer well, badly and without end."""

from __future__ import annotations

import asyncio
import contextlib

import pytest

from hypermesh.trustchain.acme.fetch import HEAD_BYTES_MAX, Fetched, NotHttp, fetch

MOST = 10
WAIT_S = 60
HEAD = b"HTTP/1.1 200 OK\r\n"


def fetched(*pieces: bytes, is_open: bool = False) -> Fetched:
    """The answer that `pieces` make, written one after the other; then the end of the connection,
    unless it `is_open`."""
    heads: list[bytes] = []
    over = asyncio.Event()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(ConnectionError):
            heads.append(await reader.readuntil(b"\r\n\r\n"))
            for piece in pieces:
                writer.write(piece)
                await writer.drain()
            if is_open:
                await reader.read()
        with contextlib.suppress(ConnectionError):
            writer.close()
            await writer.wait_closed()
        over.set()

    async def run() -> Fetched:
        server = await asyncio.start_server(serve, "127.0.0.1", 0)
        port = server.sockets[0].getsockname()[1]
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        try:
            async with asyncio.timeout(WAIT_S):
                return await fetch(reader, writer, "a.example", "/x?y", MOST)
        finally:
            with contextlib.suppress(ConnectionError):
                writer.close()
                await writer.wait_closed()
            async with asyncio.timeout(WAIT_S):
                await over.wait()
            server.close()

    answer = asyncio.run(run())
    assert heads[0].startswith(b"GET /x?y HTTP/1.1\r\nhost: a.example\r\n")
    assert heads[0].endswith(b"\r\nconnection: close\r\n\r\n")
    return answer


@pytest.mark.parametrize(
    ("answer", "body"),
    [
        (HEAD + b"\r\nabc", b"abc"),
        (HEAD + b"content-length: 3\r\n\r\nabc", b"abc"),
        (HEAD + b"transfer-encoding: chunked\r\n\r\n2\r\nab\r\n1\r\nc\r\n0\r\n\r\n", b"abc"),
        (HEAD + b"location: /other\r\ncontent-length: 3\r\n\r\nabc", b"abc"),
        (
            b"HTTP/1.1 103 Early\r\nlocation: /x\r\n\r\n" + HEAD + b"content-length: 3\r\n\r\nabc",
            b"abc",
        ),
        (b"HTTP/1.1 100 Go\r\n\r\n" + HEAD + b"\r\nabc", b"abc"),
        (HEAD + b"content-length: 3\r\n\r\nabc" + b"HTTP/1.1 500 No\r\n\r\n", b"abc"),
        (HEAD + b"content-length: 0\r\n\r\n", b""),
        (b"HTTP/1.0 200 OK\r\n\r\nabc", b"abc"),
    ],
)
def test_a_whole_answer(answer: bytes, body: bytes) -> None:
    whole = fetched(answer)
    assert (whole.status, whole.body) == (200, body)
    apart = fetched(*(answer[at : at + 1] for at in range(len(answer))))
    assert (apart.status, apart.body) == (200, body)


def test_a_framed_answer_needs_no_end() -> None:
    answer = fetched(HEAD + b"content-length: 3\r\n\r\nabc", is_open=True)
    assert answer.body == b"abc"


def test_of_a_redirect_the_head_is_enough() -> None:
    head = b"HTTP/1.1 307 Away\r\nlocation: http://b.example/\r\ncontent-length: 9\r\n\r\n"
    assert fetched(head, is_open=True).location == "http://b.example/"


def test_a_body_without_end_is_read_as_far_as_it_matters() -> None:
    answer = fetched(HEAD + b"\r\n", b"x" * MOST, b"x", is_open=True)
    assert len(answer.body) > MOST


@pytest.mark.parametrize(
    "pieces",
    [
        (b"",),
        (b"\x00\x01\r\n\r\n",),
        (HEAD,),
        (HEAD + b"content-length: 4\r\n\r\nabc",),
        (HEAD + b"transfer-encoding: chunked\r\n\r\n2\r\nab\r\n",),
        (HEAD + b"transfer-encoding: chunked\r\n\r\nzz\r\n",),
        (b"HTTP/1.1 101 Other\r\nupgrade: x\r\nconnection: upgrade\r\n\r\nabc",),
        (HEAD + b"x: ", *[b"x" * 1024] * (HEAD_BYTES_MAX // 1024 + 2)),
        tuple([b"HTTP/1.1 100 Go\r\n\r\n"] * (HEAD_BYTES_MAX // 21 + 9)),
    ],
)
def test_what_is_no_whole_answer(pieces: tuple[bytes, ...]) -> None:
    with pytest.raises(NotHttp):
        fetched(*pieces)
