"""The shapes of the service: what each status, each field and each error takes, and what it refuses."""

import copy
import itertools
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

import kling_openapi

SERVICE = kling_openapi.read(kling_openapi.SERVICE)
ABSENT = "<absent>"


def test_legacy_errors_are_errors(component: Callable[..., Any]) -> None:
    """
    The older dialect, whose code is the status, is within the error schema; a body without an envelope is not.
    """
    error, file_error = component(kling_openapi.SERVICE, "Error"), component(kling_openapi.SERVICE, "FileError")
    for response in SERVICE["components"]["responses"].values():
        about = response["x-error"]
        if about.get("envelope") == "file":  # the file host has one dialect
            assert file_error.is_valid({"success": False, "code": about["code"], "msg": "m"})
            continue
        assert error.is_valid({"error": {"code": about["status"], "message": "m", "type": about["legacy_type"]}})
    assert not error.is_valid({"code": "unauthorized", "message": "m", "type": "authentication_error"})
    assert not file_error.is_valid({"error": {"code": 401, "message": "m", "type": "authentication_error"}})


def test_task_errors_say_who_and_whether() -> None:
    """
    Every task error code says who can fix it and whether to try again.
    """
    codes = SERVICE["components"]["schemas"]["TaskErrorCode"]["oneOf"]
    assert all(it["x-fixed-by"] in ("caller", "service") and isinstance(it["x-retryable"], bool) for it in codes)
    assert len({it["const"] for it in codes}) == len(codes)


def task(status: Any, progress: Any, **members: Any) -> dict[str, Any]:
    """A task of *status* and *progress* with exactly the given ones of results, result_data and error."""
    common = copy.deepcopy(SERVICE["components"]["examples"]["PendingTask"]["value"])
    return {**common, "status": status, "progress": progress, **{k: v for k, v in members.items() if v is not ABSENT}}


RESULTS = SERVICE["components"]["examples"]["CompletedTask"]["value"]["results"]
DETAILS = SERVICE["components"]["examples"]["CompletedTask"]["value"]["result_data"]
FAILURE = SERVICE["components"]["examples"]["FailedTask"]["value"]["error"]


@pytest.mark.parametrize("status", ["pending", "processing", "completed", "failed", "cancelled"])
def test_members_follow_status(status: str, component: Callable[..., Any]) -> None:
    """
    Of all combinations of results, result_data, error and progress, each status takes its own and refuses the rest.
    """
    judge = component(kling_openapi.SERVICE, "Task")
    for results, details, error, progress in itertools.product(
        (ABSENT, RESULTS), (ABSENT, DETAILS), (ABSENT, FAILURE), (0, 40, 100)
    ):
        none = results is ABSENT and details is ABSENT
        right = {
            "pending": none and error is ABSENT,
            "processing": none and error is ABSENT,
            "completed": results is RESULTS and error is ABSENT and progress == 100,
            "failed": none and error is FAILURE,
            "cancelled": False,
        }[status]
        body = task(status, progress, results=results, result_data=details, error=error)
        assert judge.is_valid(body) == right, body


@given(
    progress=st.one_of(
        st.integers(-1000, 1000), st.floats(allow_nan=False, allow_infinity=False), st.booleans(), st.none()
    )
)
def test_progress_is_a_whole_percentage(progress: Any, component: Callable[..., Any]) -> None:
    """
    Progress is an integer from 0 to 100; 42.0 is one to JSON Schema, 42.5, true and null are not.
    """
    whole = not isinstance(progress, bool) and progress is not None and progress == int(progress)
    assert component(kling_openapi.SERVICE, "Task").is_valid(task("processing", progress)) == (
        whole and 0 <= progress <= 100
    )


@pytest.mark.parametrize("progress", [101, -1, 42.5, "42"])
def test_progress_refused(progress: Any, component: Callable[..., Any]) -> None:
    """
    Past each bound, between two integers, and the right number in the wrong type.
    """
    assert not component(kling_openapi.SERVICE, "Task").is_valid(task("processing", progress))


@pytest.mark.parametrize("name", SERVICE["components"]["schemas"]["TaskCommon"]["required"])
def test_common_members_are_required(name: str, component: Callable[..., Any]) -> None:
    """
    A task without one of the members that every answer carries is refused, whatever its status.
    """
    for example in SERVICE["components"]["examples"].values():
        body = {key: value for key, value in example["value"].items() if key != name}
        assert not component(kling_openapi.SERVICE, "Task").is_valid(body)


def test_created_task_begins_at_nothing(component: Callable[..., Any]) -> None:
    """
    A create answers pending at 0 with task_info and usage, and nothing else will do.
    """
    judge = component(kling_openapi.SERVICE, "CreatedTask")
    fresh = task("pending", 0)
    assert judge.is_valid(fresh)
    assert not judge.is_valid({**fresh, "progress": 1})
    assert not judge.is_valid({**fresh, "status": "processing"})
    for name in ("task_info", "usage"):
        assert not judge.is_valid({key: value for key, value in fresh.items() if key != name})


def test_callback_carries_ended_tasks_only(component: Callable[..., Any]) -> None:
    """
    A callback's body is a completed or a failed task.
    """
    judge = component(kling_openapi.SERVICE, "TerminalTask")
    valid = {name: judge.is_valid(it["value"]) for name, it in SERVICE["components"]["examples"].items()}
    ended = {"CompletedTask", "FailedTask", "CancelledTask"}
    assert valid == {name: name in ended for name in valid}


@pytest.mark.parametrize(
    "wrong",
    [
        {"results": []},
        {"results": None},
        {"results": ["files/a.mp4"]},
        {"results": RESULTS[0]},
        {"result_data": [{"duration": 5}]},
    ],
)
def test_completed_needs_a_link(wrong: dict[str, Any], component: Callable[..., Any]) -> None:
    """
    Completed means at least one absolute link, in a list.
    """
    body = {**SERVICE["components"]["examples"]["CompletedTask"]["value"], **wrong}
    assert not component(kling_openapi.SERVICE, "Task").is_valid(body)


@pytest.mark.parametrize(
    "wrong", [{"code": "oops"}, {"code": 400}, {"type": "api_error"}, {"message": ABSENT}, {"code": ABSENT}]
)
def test_failed_says_why(wrong: dict[str, Any], component: Callable[..., Any]) -> None:
    """
    A failed task's error has a known code, a message and its own type.
    """
    error = {key: value for key, value in {**FAILURE, **wrong}.items() if value is not ABSENT}
    assert not component(kling_openapi.SERVICE, "Task").is_valid(task("failed", 40, error=error))


@given(code=st.sampled_from([it["const"] for it in SERVICE["components"]["schemas"]["TaskErrorCode"]["oneOf"]]))
def test_failed_with_each_code(code: str, component: Callable[..., Any]) -> None:
    """
    Every task error code makes a valid failed task.
    """
    assert component(kling_openapi.SERVICE, "Task").is_valid(task("failed", 40, error={**FAILURE, "code": code}))


@given(extra=st.dictionaries(st.text(min_size=1).map("x_".__add__), st.none() | st.integers() | st.text(), min_size=1))
def test_answers_may_grow(extra: dict[str, Any], component: Callable[..., Any]) -> None:
    """
    Members that the contract does not name are no fault of an answer.
    """
    for example in SERVICE["components"]["examples"].values():
        assert component(kling_openapi.SERVICE, "Task").is_valid({**example["value"], **extra})


@pytest.mark.parametrize(
    "wrong",
    [
        {"model": "kling-v3-image-to-video"},
        {"model": ABSENT},
        {"image_start": ABSENT},
        {"image_start": "data:image/png;base64,AAAA"},
        {"image_start": ""},
        {"prompt": None},
        {"quality": "4k"},
        {"quality": "720P"},
        {"quality": None},
        {"duration": "5"},
        {"duration": 5.5},
        {"duration": True},
        {"duration": None},
        {"callback_url": 1},
        {"aspect_ratio": "16:9"},
        {"aspect_ratio": None},
        {"image_end": "https://a.test/b.png"},
        {"image_urls": []},
        {"video_urls": []},
        {"audio_urls": []},
    ],
    ids=str,
)
def test_create_refuses(wrong: dict[str, Any], component: Callable[..., Any]) -> None:
    """
    What the document, a sibling page or a settled default refuses, field by field.
    """
    full = SERVICE["paths"]["/v1/videos/generations"]["post"]["requestBody"]["content"]["application/json"]
    body = {k: v for k, v in {**full["examples"]["full"]["value"], **wrong}.items() if v is not ABSENT}
    assert not component(kling_openapi.SERVICE, "CreateVideo").is_valid(body)


@given(duration=st.integers(-100, 100))
def test_duration_bounds(duration: int, component: Callable[..., Any]) -> None:
    """
    A duration is valid between the contract's own bounds, as an integer and as the same number with a point.
    """
    schema = SERVICE["components"]["schemas"]["Duration"]
    right = schema["minimum"] <= duration <= schema["maximum"]
    assert component(kling_openapi.SERVICE, "Duration").is_valid(duration) == right
    assert component(kling_openapi.SERVICE, "Duration").is_valid(float(duration)) == right


def test_prompt_counts_characters(validator: Callable[..., Any]) -> None:
    """
    The prompt's limit counts characters, whatever their bytes; one more is too many, none is fine.
    """
    limit = SERVICE["components"]["schemas"]["CreateVideo"]["properties"]["prompt"]["maxLength"]
    judge = validator(SERVICE, "components", "schemas", "CreateVideo", "properties", "prompt")
    assert judge.is_valid("")
    for letter in ("a", "é", "語", "🎬"):
        assert judge.is_valid(letter * limit)
        assert not judge.is_valid(letter * (limit + 1))
