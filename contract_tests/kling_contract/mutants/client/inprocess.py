"""The switchable client without sockets: what the kit tries its drawn stories on."""

import threading
from collections.abc import Callable, Mapping
from typing import Any

from kling_contract.lab.adapters.inprocess import Cut, Environment, Silence
from kling_contract.mutants.client.switchable import Client
from kling_contract.mutants.client.world import Lost, Reply, Setup
from kling_contract.reading.contract import shipped


class _Around:
    """A world made of the environment that a trace gives."""

    def __init__(self, around: Environment) -> None:
        self._around = around
        self.clock, self.wall = around.clock, around.wall

    def send(
        self, method: str, url: str, headers: Mapping[str, str], body: bytes | None, seconds: float, most: int
    ) -> Reply:
        """One request; no story has a body of more than *most* bytes."""
        del most
        try:
            answer = self._around.send(method, url, headers, body, timeout=seconds)
        except (Cut, Silence) as error:
            raise Lost(str(error)) from None
        if not answer.whole:
            raise Lost("cut", partial=answer.body)
        return Reply(answer.status, {name.lower(): value for name, value in answer.headers.items()}, answer.body)

    def sleep(self, seconds: float, news: threading.Event) -> None:
        """Let time pass, unless there is news already."""
        if not news.is_set():
            self._around.sleep(seconds)

    def say(self, line: str) -> None:
        """Print it."""
        print(line)  # noqa: T201 - what the adapter listens to


def with_switch(name: str = "") -> Callable[[Environment], dict[str, Any]]:
    """The client with that switch thrown, as `--in-process` takes it; without one it is correct."""
    from kling_contract.mutants.clients import limits_of

    limits = limits_of(shipped())

    def run(around: Environment) -> dict[str, Any]:
        """One request, callbacks included."""
        setup = Setup(
            base_url=around.base_url, key=around.api_key, request=around.request, out=around.out, deadline=around.deadline,
            pause=around.min_poll, timeout=20.0, limits=limits, callback_url=around.callback_url, mutant=name,
        )  # fmt: skip
        client = Client(setup, _Around(around))
        around.listen(lambda method, _headers, body: client.heard(method, body))
        return client.run()

    return run


correct = with_switch()
"""For `--in-process kling_contract.mutants.client.inprocess:correct`."""


def __getattr__(name: str) -> Any:
    """A switch by its name, dashes written as underscores."""
    from kling_contract.mutants.clients import MUTANTS

    switch = name.replace("_", "-")
    if any(mutant.switch == switch for mutant in MUTANTS):
        return with_switch(switch)
    raise AttributeError(name)
