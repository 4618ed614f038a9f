"""Anything at all, thrown at every route: documented answers only, and nothing half-created."""

from collections.abc import Callable, Iterator
from typing import Any
from urllib.parse import quote

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

import kling_openapi

MODEL = kling_openapi.service()["components"]["schemas"]["Model"]["const"]
FIELDS = list(kling_openapi.service()["components"]["schemas"]["CreateVideo"]["properties"])
QUICK = settings(max_examples=120, deadline=None, suppress_health_check=[HealthCheck.too_slow])

json_values = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**70), 2**70) | st.floats() | st.text(max_size=30),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=10), inner, max_size=4),
    max_leaves=12,
)
near_values = st.one_of(
    st.sampled_from(
        [MODEL, "720p", "1080p", 5, 3, 15, 5.0, "https://image.test/640x480.png", "https://8.8.8.8/", "", [], {}]
    ),
    st.text(max_size=40),
    json_values,
)
"""Mostly what a field might hold, so that more than the first check is reached."""
urls = st.builds(
    lambda scheme, host, rest: f"{scheme}{host}{rest}",
    st.sampled_from(["https://", "http://", "HTTPS://", "//", "ftp://", "https:/", ""]),
    st.one_of(
        st.sampled_from(
            [
                "image.test",
                "8.8.8.8",
                "127.0.0.1",
                "[::1]",
                "[",
                "]",
                "[::g]",
                "a@b",
                "8.8.8.8:99999",
                "8.8.8.8:",
                "1.2.3",
                "..",
                "%",
            ]
        ),
        st.text(max_size=12),
    ),
    st.one_of(
        st.sampled_from(["", "/", "/640x480.png", "/9x9.jpg?bytes=-1", "/640x480.jpg?as=\x00", "?", "#"]),
        st.text(max_size=20),
    ),
)
"""URLs that are nearly right; hosts that would have to be looked up or fetched are left to text, which hardly makes one."""
bodies = st.fixed_dictionaries(
    {
        "model": st.just(MODEL) | near_values,
        "image_start": st.just("https://image.test/640x480.png") | urls | near_values,
    },
    optional={
        **{name: near_values for name in FIELDS if name not in ("model", "image_start", "callback_url")},
        "callback_url": urls | near_values,
        "extra": json_values,
    },
)
header_values = st.text(st.characters(min_codepoint=32, max_codepoint=255, exclude_characters="\x7f"), max_size=60)
headers = st.dictionaries(
    st.sampled_from(
        [
            "Authorization",
            "Content-Type",
            "Idempotency-Key",
            "X-Mock-Scenario",
            "X-Mock-Token",
            "Range",
            "If-Range",
            "If-None-Match",
            "Accept",
            "Host",
            "Content-Encoding",
            "Cookie",
            "X-Anything",
        ]
    ),
    header_values
    | st.sampled_from(["Bearer sk-test", "application/json", "failed code=service_error", "bytes=0-", "a" * 16]),
    max_size=4,
)
methods = st.sampled_from(["GET", "POST", "PUT", "PATCH", "DELETE", "HEAD", "OPTIONS", "TRACE", "PROPFIND", "X"])
segments = st.text(st.characters(exclude_categories=["Cs"]), max_size=20).map(lambda text: quote(text, safe=""))
queries = st.one_of(
    st.just(""),
    st.text(st.characters(min_codepoint=33, max_codepoint=126), max_size=40),
    st.dictionaries(
        st.sampled_from(["task_id", "until", "since", "limit", "page", "status", "expires", "signature"]),
        segments,
        max_size=4,
    ).map(lambda pairs: "&".join(f"{name}={value}" for name, value in pairs.items())),
)


def templates() -> list[str]:
    """Every path of both documents, and where files lie."""
    paths = [*kling_openapi.service()["paths"], *kling_openapi.read(kling_openapi.CONTROL)["paths"]]
    return [*paths, "/files/{account}/{task_id}.mp4", "/uploads/{account}/{file_id}/{name}"]


def filled(template: str, values: list[str]) -> str:
    """The path with *values* in its holes."""
    path = template
    for value in values:
        start, end = path.find("{"), path.find("}")
        path = path[:start] + (value or "x") + path[end + 1 :] if start >= 0 else path
    return path


paths = st.one_of(
    st.builds(filled, st.sampled_from(templates()), st.lists(segments, min_size=3, max_size=3)),
    # One slash at the start: of two, Flask's test client makes a host.
    st.builds(lambda parts: "/" + "/".join(parts).lstrip("/"), st.lists(segments, max_size=4)),
    st.builds(
        lambda start, rest: f"{start}/{rest}",
        st.sampled_from(["/v1", "/__mock", "/files", "/v1/tasks", "/api/v1"]),
        segments,
    ),
)


@pytest.fixture(scope="module")
def one(new_rig: Callable[..., Any]) -> Iterator[Any]:
    """One fake for all that is thrown: offline, and with no names to look up."""
    rig = new_rig(images="offline", callbacks="local")
    rig.receiver.bent = True
    yield rig
    for path in ("/journal?limit=10000", "/journal.har", "/tasks", "/deliveries"):
        rig.control("GET", path)  # whatever was thrown can be shown
    rig.close()


def money(rig: Any) -> tuple[int, float]:
    """How many tasks stand, and what is left."""
    account = rig.account()
    return len(account.tasks), account.credits


def thrown(rig: Any, method: str, path: str, **request: Any) -> Any:
    """The answer, which is judged, is no 5xx, and is an envelope wherever an API answers an error."""
    before = money(rig)
    response = rig.call(method, path, key=None, **request)
    assert response.status_code < 500
    if path.startswith(("/v1/", "/__mock/")) and response.status_code >= 400 and method != "HEAD":
        assert response.json["error"]["message"]
    if response.status_code != 200:
        assert money(rig) == before
    return response


KEYED = {"Authorization": "Bearer sk-test"}


@QUICK
@given(body=bodies)
def test_creates_of_any_body(one: Any, body: dict[str, Any]) -> None:
    """JSON that is nearly a create: 200 or 400 or 413, with a task or without, never in between."""
    before, credits_before = money(one)
    response = thrown(one, "POST", "/v1/videos/generations", json=body, headers=KEYED)

    assert response.status_code in (200, 400)
    after, credits_after = money(one)
    assert after - before == (1 if response.status_code == 200 else 0)
    if response.status_code == 200:
        assert credits_before - credits_after == response.json["usage"]["credits_reserved"]
        thrown(one, "GET", f"/v1/tasks/{response.json['id']}", headers=KEYED)


@QUICK
@given(
    data=st.binary(max_size=200) | st.text(max_size=100).map(lambda text: text.encode("utf-8", "surrogatepass")),
    sent=headers,
)
def test_creates_of_any_bytes(one: Any, data: bytes, sent: dict[str, str]) -> None:
    """Bytes and headers of any kind."""
    thrown(
        one, "POST", "/v1/videos/generations", data=data, headers={**KEYED, "Content-Type": "application/json", **sent}
    )


@QUICK
@given(sent=headers)
def test_good_creates_with_any_headers(one: Any, sent: dict[str, str]) -> None:
    """The body is right; the headers are anything."""
    body = {"model": MODEL, "image_start": "https://image.test/640x480.png"}
    scenario = sent.get("X-Mock-Scenario", "")
    bent = bool(scenario)  # a scenario may bend the answer on purpose
    response = one.call("POST", "/v1/videos/generations", key=None, json=body, headers={**KEYED, **sent}, bent=bent)

    assert response.status_code < 500 or bent


@QUICK
@given(method=methods, path=paths, query=queries, data=st.binary(max_size=60), sent=headers, keyed=st.booleans())
@example(method="DELETE", path="/api/v1/files/list", query="", data=b"", sent={}, keyed=True)
@example(method="DELETE", path="/api/v1/files/list", query="", data=b"", sent={}, keyed=False)
def test_any_request_to_any_route(
    one: Any, method: str, path: str, query: str, data: bytes, sent: dict[str, str], keyed: bool
) -> None:
    """Methods, paths, query strings, bytes and headers: with a key and without."""
    if path.startswith("/__mock/wait"):
        query = f"{query}&timeout=0"
    thrown(one, method, path, query_string=query, data=data, headers={**(KEYED if keyed else {}), **sent})


@QUICK
@given(
    call=st.sampled_from(
        [
            ("PUT", "/clock"),
            ("POST", "/clock/advance"),
            ("POST", "/scenarios/next"),
            ("PUT", "/account"),
            ("PUT", "/relays"),
            ("POST", "/reset"),
        ]
    ),
    body=json_values
    | st.fixed_dictionaries(
        {},
        optional={
            **dict.fromkeys(
                ("mode", "rate", "seconds", "name", "params", "times", "credits", "models", "rate_limit"), json_values
            ),
            "mode": st.sampled_from(["real", "manual", "scaled"]) | json_values,
            "seconds": st.floats(0, 1e9) | json_values,
            "name": st.sampled_from(["failed", "slow", "chaos"]) | json_values,
            "params": st.dictionaries(st.sampled_from(["code", "at", "queued", "runs"]), near_values, max_size=3),
        },
    ),
)
def test_control_calls_of_any_body(one: Any, call: tuple[str, str], body: Any) -> None:
    """JSON of any kind to every call that takes some; afterwards the fake works as before."""
    method, path = call
    one.call(method, f"/__mock{path}", key="sk-fuzzed", json=body)
    one.control("POST", "/reset", key="sk-fuzzed")
    response = one.create(key="sk-fuzzed")

    assert response.status_code == 200


@QUICK
@given(
    path=st.sampled_from(["/wait", "/journal", "/deliveries", "/tasks", "/journal.har", "/clock"]),
    pairs=st.lists(
        st.tuples(
            st.sampled_from(["task_id", "until", "timeout", "since", "limit", "x"]),
            st.one_of(
                segments,
                st.sampled_from(
                    ["0", "1", "-1", "nan", "inf", "1e999", "9" * 400, "attempts:1", "%00", "%ff", "1_0", "٣"]
                ),
            ),
        ),
        max_size=3,
    ),
)
def test_control_calls_of_any_query(one: Any, path: str, pairs: list[tuple[str, str]]) -> None:
    """Query strings of any kind to every call that takes some."""
    thrown(one, "GET", f"/__mock{path}", query_string="&".join(f"{name}={value}" for name, value in pairs))


@pytest.mark.parametrize(
    "path",
    [
        "/__mock/wait",
        "/__mock/journal",
        "/v1/tasks/task-unified-1-aaaaaaaa",
        "/v1/videos/generations",
        "/files/a/b.mp4",
    ],
)
@pytest.mark.parametrize(
    "query", ["%", "%zz", "a=%", "&&&", "=", "a=b;c=d", "x=" + "y" * 100_000, "&".join("a=1" for _ in range(2000))]
)
def test_odd_query_strings(one: Any, path: str, query: str) -> None:
    """Each of them known to break some parser or other."""
    thrown(one, "GET", path, query_string=query, headers=KEYED)


@pytest.mark.parametrize("depth", [100, 200, 240, 250, 260, 1_000, 10_000, 100_000])
@pytest.mark.parametrize("path", ["/v1/videos/generations", "/__mock/relays", "/__mock/account"])
def test_deep_nesting(one: Any, path: str, depth: int) -> None:
    """A body that would exhaust a recursive reader."""
    method = "POST" if path.startswith("/v1") else "PUT"
    for data in (b"[" * depth + b"]" * depth, b'{"model":' * depth + b"1" + b"}" * depth):
        response = thrown(one, method, path, data=data, headers={**KEYED, "Content-Type": "application/json"})
        assert response.status_code in (400, 413)
    one.control("GET", "/journal?limit=10000")
