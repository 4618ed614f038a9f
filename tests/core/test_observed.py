"""What a profile observed of single responses: which it is about, and what it changes."""

from typing import Any

import orjson
import pytest

from kling_mock.config import BadSetting, ServiceSettings
from kling_mock.contract import Contract
from kling_mock.core.observed import Observed, loaded, taken
from kling_mock.core.records import Invalid
from kling_mock.web.http import ApiResponse, Request
from kling_mock.web.observing import as_observed

TASK = {"status": "completed", "task_info": {"can_cancel": False}, "results": [{"url": "a"}, {"url": "b"}]}


def seen(status: int, body: Any, *items: Observed, operation: str = "getTask", request: bytes = b"") -> ApiResponse:
    """A reply after the profile's items."""
    reply = ApiResponse(status, orjson.dumps(body))
    as_observed(items, operation, Request("GET", "/", "", {}, request), reply)
    return reply


def test_members_are_set_and_dropped_by_dotted_names() -> None:
    """`*` stands for each item of a list; a name that leads nowhere changes nothing."""
    item = Observed(set={"task_info.queue": 3, "nowhere.at.all": 1}, drop=["task_info.can_cancel", "results.*.url"])
    assert loaded(seen(200, TASK, item).body) == {"status": "completed", "task_info": {"queue": 3}, "results": [{}, {}]}


@pytest.mark.parametrize(
    ("about", "fits"),
    [
        ({}, True),
        ({"on": ["getTask"]}, True),
        ({"on": ["createVideo"]}, False),
        ({"status": 200}, True),
        ({"status": 404}, False),
        ({"task": ["completed"]}, True),
        ({"task": ["failed"]}, False),
    ],
)
def test_an_item_is_about_what_it_says(about: dict[str, Any], fits: bool) -> None:
    """Operation, status and state of the task."""
    assert (seen(200, TASK, Observed(**about, respond=418)).status == 418) is fits


def test_items_are_about_the_fakes_own_response() -> None:
    """One item does not change which other items apply."""
    first, second = Observed(status=400, respond=404), Observed(status=404, set={"error.code": "gone"})
    assert loaded(seen(400, {"error": {"code": "bad"}}, first, second).body) == {"error": {"code": "bad"}}


def test_headers_are_set_and_taken_away() -> None:
    """By name, whatever its case."""
    reply = seen(200, TASK, Observed(headers={"Content-Type": "text/html", "X-Gone": None}))
    assert reply.headers == [("Content-Type", "text/html")]


@pytest.mark.parametrize(
    ("request_body", "fits"),
    [
        (b'{"image_start": "x", "duration": 16}', True),
        (b'{"image_start": "x", "duration": 16.0}', False),
        (b'{"image_start": "x", "duration": 16, "prompt": "p"}', False),
        (b'{"duration": 16}', False),
        (b"no json", False),
        (b"[]", False),
    ],
)
def test_a_request_is_known_by_its_members(request_body: bytes, fits: bool) -> None:
    """All of them but the first frame's URL, with their types."""
    item = Observed(on=["createVideo"], body={"duration": 16}, take={"duration": 15})
    assert (taken([item], "createVideo", request_body) == b'{"duration":15}') is fits
    assert taken([item], "getTask", request_body) == request_body


def test_bodies_that_are_no_object() -> None:
    """Known by their text."""
    item = Observed(text="[]", respond=422)
    assert seen(400, {}, item, request=b"[]").status == 422
    assert seen(400, {}, item, request=b"{}").status == 400


def test_a_member_that_is_missing() -> None:
    """A request without a first frame is told from one with any."""
    item = Observed(body={"duration": 3}, missing=["image_start"], respond=422)
    assert seen(400, {}, item, request=b'{"duration": 3}').status == 422
    assert seen(400, {}, item, request=b'{"duration": 3, "image_start": "x"}').status == 400


def test_items_of_a_list_are_set_as_a_whole() -> None:
    """As many as there were."""
    body = loaded(seen(200, TASK, Observed(set={"results.*": {"link": 1}})).body)
    assert body["results"] == [{"link": 1}, {"link": 1}]


@pytest.mark.parametrize(
    "text",
    [
        "observed: 5",
        "observed: [5]",
        "observed: [{nonsense: 1}]",
        "observed: [{respond: 7}]",
        "observed: [{delay: -1}]",
    ],
)
def test_a_bad_item_stops_the_start(text: str, tmp_path: Any) -> None:
    """With one line that names the profile."""
    file = tmp_path / "p.yaml"
    file.write_text(text)
    with pytest.raises(BadSetting, match=r"--profile .*observed"):
        ServiceSettings(Contract(), str(file))
    with pytest.raises(Invalid):
        Observed(nonsense=1)


@pytest.mark.parametrize(
    ("kind", "before", "after"),
    [
        ("string", 21.6, "21.6"),
        ("string", 3, "3"),
        ("string", True, True),
        ("string", None, None),
        ("string", "3", "3"),
        ("number", "21.6", 21.6),
        ("number", "3", 3),
        ("number", "true", "true"),
        ("number", "NaN", "NaN"),
        ("number", "three", "three"),
        ("number", 3, 3),
        ("number", [3], [3]),
    ],
)
def test_a_member_keeps_its_value_in_another_type(kind: Any, before: Any, after: Any) -> None:
    """A number as a text or the other way round; what is neither stays as it is, and a member that is not there stays away."""
    item = Observed(retype={"usage.credits": kind, "usage.none": kind})
    changed = loaded(seen(200, {"usage": {"credits": before}}, item).body)
    assert (changed, type(changed["usage"]["credits"])) == ({"usage": {"credits": after}}, type(after))


@pytest.mark.parametrize(
    ("member", "inside", "outside"),
    [("respond", [200, 599], [199, 600]), ("delay", [0, 3600], [-0.001, 3600.001])],
)
def test_numbers_up_to_their_limits(member: str, inside: list[float], outside: list[float]) -> None:
    """The last that is taken, and the first that is not."""
    for value in inside:
        assert Observed(**{member: value})
    for value in outside:
        with pytest.raises(Invalid):
            Observed(**{member: value})
