"""QUIC by aioquic, through its asyncio API."""

from __future__ import annotations

import asyncio
import ssl
from typing import Any

from aioquic.asyncio import QuicConnectionProtocol, connect, serve
from aioquic.quic.configuration import QuicConfiguration
from aioquic.quic.events import QuicEvent, StreamDataReceived
from aioquic.tls import CipherSuite
from end import ALPN, TLS_NAME, Options, Sink, Source, announce, run

WINDOW_BYTES = 16 << 20
UNSENT_BYTES_MAX = 1 << 20


def receive(options: Options) -> dict[str, Any]:
    return asyncio.run(_receive(options))


def send(options: Options) -> dict[str, Any]:
    return asyncio.run(_send(options))


async def _receive(options: Options) -> dict[str, Any]:
    found: asyncio.Future[dict[str, Any]] = asyncio.get_running_loop().create_future()
    over = asyncio.Event()

    class Receiver(QuicConnectionProtocol):
        def __init__(self, *arguments: Any, **named: Any) -> None:
            super().__init__(*arguments, **named)
            self._sink = Sink(options)

        def quic_event_received(self, event: QuicEvent) -> None:
            if not isinstance(event, StreamDataReceived):
                return
            self._sink.take(event.data)
            if event.end_stream:
                found.set_result(self._sink.ended())
                self._quic.send_stream_data(event.stream_id, b"", end_stream=True)
                self.transmit()

        def connection_lost(self, exc: Exception | None) -> None:
            super().connection_lost(exc)
            over.set()

    configuration = _configuration(options, is_client=False)
    configuration.load_cert_chain(options.credentials / "tls.pem", options.credentials / "tls.key")
    server = await serve(
        options.host, 0, configuration=configuration, create_protocol=Receiver, retry=False
    )
    announce(server._transport.get_extra_info("sockname")[1])  # noqa: SLF001
    result = await found
    # The last acknowledgement has to leave.
    await asyncio.sleep(0.1)
    server.close()
    return result


async def _send(options: Options) -> dict[str, Any]:
    configuration = _configuration(options, is_client=True)
    configuration.server_name = TLS_NAME
    configuration.load_verify_locations(str(options.credentials / "tls.pem"))
    async with connect(options.host, options.port, configuration=configuration) as client:
        reader, writer = await client.create_stream()
        source = Source(options)
        for message in source:
            writer.write(bytes(message))
            # Its `drain` waits for nothing, so what is not sent yet is bounded here.
            while _unsent(client) > UNSENT_BYTES_MAX:  # noqa: ASYNC110
                await asyncio.sleep(0.001)
        writer.write_eof()
        await reader.read()
        return source.sent()


def _unsent(client: QuicConnectionProtocol) -> int:
    streams = client._quic._streams.values()  # noqa: SLF001
    return sum(len(each.sender._buffer) for each in streams)  # noqa: SLF001


def _configuration(options: Options, *, is_client: bool) -> QuicConfiguration:
    return QuicConfiguration(
        is_client=is_client,
        alpn_protocols=[ALPN],
        cipher_suites=[CipherSuite.AES_256_GCM_SHA384],
        max_data=WINDOW_BYTES,
        max_stream_data=WINDOW_BYTES,
        max_datagram_size=options.mtu or 1200,
        verify_mode=ssl.CERT_NONE,
    )


if __name__ == "__main__":
    run(receive=receive, send=send)
