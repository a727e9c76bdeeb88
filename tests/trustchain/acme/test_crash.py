"""The server killed at named instants, and its database: what was answered is there, and clients go
on."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import httpx
import pytest
from cryptography import x509
from tests.postgresql.fixtures import STORES, place_of, started

from .authority import DIES, HELD, HOLDS
from .client import DEADLINE_S, Client, b64, csr
from .process import Process, running

if TYPE_CHECKING:
    from hypermesh.postgresql.place import Place

pytestmark = pytest.mark.timeout(300)


class Shown:
    """A web server of the client's, with one challenge's file."""

    def __init__(self) -> None:
        self.body = b""

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\nconnection: close\r\n\r\n" + self.body)
        await writer.drain()
        writer.close()


async def member(server: Process) -> Client:
    context = ssl.create_default_context(cafile=server.ca_file)
    transport = httpx.AsyncHTTPTransport(verify=context, retries=0)
    client = await Client(httpx.AsyncClient(transport=transport, timeout=60), server.url).start()
    assert (await client.register()).status_code == 201
    return client


async def challenged(client: Client, shown: Shown) -> tuple[str, str, dict[str, Any]]:
    """An order, its authorization, and the challenge by HTTP, which is shown."""
    made = await client.order("one.example")
    assert made.status_code == 201, made.text
    url = made.json()["authorizations"][0]
    challenges = (await client.post(url)).json()["challenges"]
    challenge = next(each for each in challenges if each["type"] == "http-01")
    shown.body = client.key_authorization(challenge["token"]).encode()
    return made.headers["location"], url, challenge


async def again(server: Process, client: Client) -> None:
    """A server after the killed one, and a connection to it."""
    server.start()
    await client.http.aclose()
    context = ssl.create_default_context(cafile=server.ca_file)
    transport = httpx.AsyncHTTPTransport(verify=context, retries=0)
    client.http = httpx.AsyncClient(transport=transport, timeout=60)
    client.nonce = None


async def certificate(client: Client, order: str) -> x509.Certificate:
    document = await client.until(order, "valid", "invalid")
    answer = await client.post(document["certificate"])
    return x509.load_pem_x509_certificate(answer.content)


async def eventually(holds: Callable[[], bool]) -> None:
    async with asyncio.timeout(DEADLINE_S):
        # What is waited for is in another process.
        while not holds():  # noqa: ASYNC110
            await asyncio.sleep(0.01)


@pytest.fixture(params=STORES)
def place(request: pytest.FixtureRequest) -> Place | None:
    return place_of(request)


def test_killed_while_a_challenge_waits_between_validation_and_finalize_and_after_issue(
    tmp_path: Path, place: Place | None
) -> None:
    async def run() -> None:
        with running(tmp_path, place) as (server, _, held):
            shown = Shown()
            client = await member(server)

            # A challenge is accepted and cannot be met yet: nobody listens at the port.
            order, authorization, challenge = await challenged(client, shown)
            accepted = await client.post(challenge["url"], {})
            assert accepted.json()["status"] == "processing"
            server.kill()
            web = await asyncio.start_server(
                shown.serve, "127.0.0.1", held.port, reuse_address=True
            )
            await again(server, client)
            assert (await client.until(authorization, "valid", "invalid"))["status"] == "valid"

            # Between validation and finalization.
            assert (await client.until(order, "ready"))["status"] == "ready"
            server.kill()
            await again(server, client)
            document = await client.until(order, "ready")

            # The certificate is made, and nobody was told: the authority kills the process.
            (tmp_path / "authority" / DIES).touch()
            request = {"csr": b64(csr(["one.example"]))}
            header = await client.header(document["finalize"])
            with pytest.raises(httpx.TransportError):
                await client.post(document["finalize"], request, nonce=header["nonce"])
            assert server.wait() == -9
            await again(server, client)
            retried = await client.post(document["finalize"], request)
            assert retried.status_code == 200, retried.text
            found = await certificate(client, order)
            made = [each.name for each in (tmp_path / "authority").glob("serial-*")]
            assert made == [f"serial-{found.serial_number:x}"]

            # After it was answered.
            server.kill()
            await again(server, client)
            assert await certificate(client, order) == found
            web.close()
            await client.http.aclose()

    asyncio.run(run())


def test_its_database_killed_at_the_same_instants(tmp_path: Path) -> None:
    async def run() -> None:
        with started() as mortal, running(tmp_path, mortal.place()) as (server, _, held):
            shown = Shown()
            client = await member(server)

            # A challenge is accepted and cannot be met yet: nobody listens at the port.
            order, authorization, challenge = await challenged(client, shown)
            accepted = await client.post(challenge["url"], {})
            assert accepted.json()["status"] == "processing"
            mortal.kill()
            assert (await client.post(authorization)).status_code == 503
            web = await asyncio.start_server(
                shown.serve, "127.0.0.1", held.port, reuse_address=True
            )
            mortal.start()
            assert (await client.until(authorization, "valid", "invalid"))["status"] == "valid"

            # Between validation and finalization.
            document = await client.until(order, "ready")
            mortal.kill()
            request = {"csr": b64(csr(["one.example"]))}
            assert (await client.post(document["finalize"], request)).status_code == 503
            mortal.start()
            assert await client.until(order, "ready") == document

            # The certificate is made, and cannot be recorded: the database is killed first, and
            # back when the client has been told so.
            (tmp_path / "authority" / HOLDS).touch()
            asking = asyncio.create_task(client.post(document["finalize"], request))
            await eventually((tmp_path / "authority" / HELD).exists)
            mortal.kill()
            (tmp_path / "authority" / HOLDS).unlink()
            assert (await asking).status_code == 503
            mortal.start()
            found = await certificate(client, order)
            made = [each.name for each in (tmp_path / "authority").glob("serial-*")]
            assert made == [f"serial-{found.serial_number:x}"]

            # After it was answered, and the server with it.
            mortal.kill()
            server.kill()
            mortal.start()
            await again(server, client)
            assert await certificate(client, order) == found
            web.close()
            await client.http.aclose()

    asyncio.run(run())
