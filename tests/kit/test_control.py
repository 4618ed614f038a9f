"""The control protocol, as the kit speaks it."""

from typing import Any
from urllib.parse import parse_qsl

import orjson
import pytest

from kling_contract.driving.control import Control
from kling_contract.driving.sender import RawResponse


class Pages:
    """Sends nothing: gives a journal of so many entries, as many at once as are asked for."""

    def __init__(self, entries: int) -> None:
        self.entries = entries

    def send(self, method: str, url: str, *_: Any) -> RawResponse:
        """A page of the journal."""
        asked = {name: int(value) for name, value in parse_qsl(url.partition("?")[2])}
        numbers = range(asked["since"], min(asked["since"] + asked["limit"], self.entries))
        page = {
            "entries": [{"seq": number} for number in numbers],
            "next": max([asked["since"], *(number + 1 for number in numbers)]),
        }
        return RawResponse(200, body=orjson.dumps(page))


@pytest.mark.parametrize(("entries", "since"), [(0, 0), (1000, 0), (2345, 0), (2345, 2000)])
def test_a_journal_is_read_to_its_end(entries: int, since: int) -> None:
    """A call with a wrong path belongs to no account, and in a long run it is on a later page."""
    control = Control("http://fake", Pages(entries))  # type: ignore[arg-type]

    assert [entry["seq"] for entry in control.journal(since)] == list(range(since, entries))
