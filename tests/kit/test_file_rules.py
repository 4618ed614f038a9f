"""Rules of uploaded files: right servers that do it in another way, recordings of other clients, and servers without files."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import histories
import pytest
from faults import GOOD, body, body_of, filed, inner, status, with_body
from standin import StandIn
from tape import CONTRACT
from test_drivers import driven

from kling_contract.history.events import Exchange
from kling_contract.rules.registry import judge_all
from kling_contract.rules.rulebook import rules
from kling_contract.rules.verdicts import Result

BOOK = [rule for rule in rules(CONTRACT).values() if rule.id.startswith("SF-")]
FILES = [event for event in GOOD if isinstance(event, Exchange) and f"{histories.FILES}/" in event.url]


def named(events: list[Any]) -> dict[str, str]:
    """What is said of *events*, by rule; and that no judge broke."""
    found = judge_all(events, CONTRACT, BOOK)
    assert not [one.broken for one in found if one.broken]
    return {one.rule.id: one.findings[0].seen for one in found if one.findings}


def looked(events: list[Any]) -> set[str]:
    """The rules that found something to look at."""
    return {one.rule.id for one in judge_all(events, CONTRACT, BOOK) if one.looked}


def recorded(event: Exchange) -> Exchange:
    """*event* as another program's recording has it."""
    return replace(event, case="", probe=None)


def refused_by_body(event: Exchange) -> Exchange:
    """A refusal that has 200 for its status, and says in the body what it is."""
    return status(200)(event)


def elsewhere(event: Exchange) -> Exchange:
    """A route that is not there: another error than the file host's."""
    return with_body(status(404)(event), {"detail": "Not Found"})


@pytest.mark.parametrize(
    ("pick", "change"),
    [
        (filed("upload", 400), refused_by_body),
        (filed("upload/url", 400), elsewhere),
        (filed("upload/base64"), lambda e: inner("data", file_name=f"1757-{body_of(e)['data']['file_name']}")(e)),
        (filed("upload/base64"), lambda e: inner("data", upload_path="/users/7/contract/")(e)),
        (filed("upload/base64"), lambda e: inner("data", extra={"a": 1})(e)),
        (filed("quota", 401), refused_by_body),
        (filed("file-2", 404), lambda e: with_body(status(200)(e), {"success": True, "code": 200, "msg": "ok"})),
    ],
)
def test_right_in_another_way(pick: Callable[[Any], bool], change: Callable[[Any], Any]) -> None:
    """
    What the sources leave open is no breach: refusals with 200, routes that are not served, names with a prefix, idempotent deletions.
    """
    assert named([change(event) if pick(event) else event for event in FILES]) == {}


@pytest.mark.parametrize("change", [elsewhere, lambda e: body(code=40003, success=False)(status(400)(e))])
def test_an_upload_that_says_nothing(change: Callable[[Any], Any]) -> None:
    """
    A way of uploading that is not served, and an account that is full, are no refusal of the picture.
    """
    uploads = [event for event in FILES if filed("upload/base64")(event)]

    assert named([change(event) for event in uploads]) == {}


def test_recording_of_another_client() -> None:
    """
    A recording shows what needs no probe; nothing in it is taken for a probe.
    """
    events = [recorded(event) for event in FILES]

    assert named(events) == {}
    assert looked(events) >= {"SF-02", "SF-03", "SF-04", "SF-05", "SF-07", "SF-09", "SF-10", "SF-11", "SF-12"}
    assert not looked(events) & {"SF-01", "SF-06", "SF-08", "SF-13", "SF-14"}


def test_breach_in_a_recording() -> None:
    """
    What a recording shows is named.
    """
    events = [recorded(event) for event in FILES]
    wrong = [body(code="invalid")(event) if filed("upload", 400)(event) else event for event in events]

    assert set(named(wrong)) == {"SF-07"}


def test_files_not_served() -> None:
    """
    A server without the files API is not blamed for it; each rule says why it was not run.
    """
    with StandIn(queue=0.03, run=0.05) as server:
        _, run = driven(server.url, scripts=frozenset({"files"}), features="none")
    verdicts = [verdict for verdict in run.verdicts if verdict.rule.id.startswith("SF-")]

    assert {verdict.result for verdict in verdicts} == {Result.NOT_RUN}
    assert all("serves no files API" in verdict.reason for verdict in verdicts)
