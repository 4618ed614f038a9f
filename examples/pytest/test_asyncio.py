"""asyncio: the application's own server is on the test's event loop, so the clock is moved with `aadvance`."""

import asyncio

import requests

from kling_mock.testing import KlingMock, ManualClock

CREATE = {"model": "kling-v3-turbo-image-to-video", "image_start": "https://image.test/1280x720.jpg"}


async def takes_callbacks(kling_mock: KlingMock, kling_clock: ManualClock) -> None:
    """Create a task, let time pass, and see the callback arrive on this loop."""
    arrived: list[bytes] = []

    async def receive(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        arrived.append((await reader.readline()).strip())
        writer.write(b"HTTP/1.1 204 No Content\r\nConnection: close\r\n\r\n")
        await writer.drain()
        writer.close()

    server = await asyncio.start_server(receive, "127.0.0.1", 0)
    kling_mock.relay("https://hooks.example.com", f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}")
    await asyncio.to_thread(
        requests.post,
        f"{kling_mock.url}/v1/videos/generations",
        json={**CREATE, "callback_url": "https://hooks.example.com/done"},
        headers={"Authorization": f"Bearer {kling_mock.api_key}"},
        timeout=30,
    )
    await kling_clock.aadvance("10m")
    server.close()
    assert arrived == [b"POST /done HTTP/1.1"]
    assert kling_mock.deliveries()[0].outcomes == ["2xx"]


def test_callbacks_on_the_same_loop(kling_mock: KlingMock, kling_clock: ManualClock) -> None:
    """With pytest-asyncio or anyio the test itself would be `async`."""
    asyncio.run(takes_callbacks(kling_mock, kling_clock))
