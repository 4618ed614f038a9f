"""Clients that wait, on the event loop: any number of them cost no thread, and one that hangs up leaves nothing behind."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any, Final

from kling_mock.web.waiting import Wait

GONE: Final = object()
"""Returned in place of an outcome where the client has hung up."""

_BEAT, _SLOW_BEAT = 0.01, 0.1


class Waiters:
    """Wakes those who wait when something has changed. *blocking*: looking at a store takes time, so it is done less often."""

    def __init__(self, blocking: bool) -> None:
        self._beat = _SLOW_BEAT if blocking else _BEAT
        self._blocking = blocking
        self._asleep: dict[asyncio.Event, Wait] = {}
        self._ticking: asyncio.Task[None] | None = None

    async def until(self, wait: Wait, look: Callable[[], Awaitable[Any]], hung_up: Awaitable[Any]) -> Any:
        """Return what *look* returns once it is not None, None when the time is over, GONE when *hung_up* ends first."""
        woken, gone = asyncio.Event(), asyncio.ensure_future(hung_up)
        gone.add_done_callback(lambda _: woken.set())
        try:
            while not gone.done():
                met = await look()
                if met is not None or wait.left() <= 0:
                    return met
                await self._sleep(woken, wait)
        finally:
            gone.cancel()
        return GONE

    async def _sleep(self, woken: asyncio.Event, wait: Wait) -> None:
        """Return when the facts have changed, the client is gone, or it is time to look again."""
        timer = asyncio.get_running_loop().call_later(wait.pause(), woken.set)
        self._asleep[woken] = wait
        if self._ticking is None:
            self._ticking = asyncio.create_task(self._tick())
        try:
            await woken.wait()
            woken.clear()
        finally:
            timer.cancel()
            self._asleep.pop(woken, None)

    async def _tick(self) -> None:
        """One loop for all of them, as long as there are any."""
        loop = asyncio.get_running_loop()
        try:
            while self._asleep:
                await asyncio.sleep(self._beat)
                for woken, wait in list(self._asleep.items()):
                    changed = await loop.run_in_executor(None, wait.changed) if self._blocking else wait.changed()
                    if changed:
                        woken.set()
        finally:
            self._ticking = None
