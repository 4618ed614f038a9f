"""The kit's receiver over real sockets: what it answers, and what it writes into the history."""

import http.client
import json
import ssl
import threading
from collections.abc import Iterator
from urllib.parse import urlsplit

import pytest

from kling_contract.driving.receiver import HOST, Act, Receiver, Route, write_authority
from kling_contract.history.events import Callback, Moment, Recorder

BODY = json.dumps({"id": "task-unified-1-abcdefgh", "status": "completed"}).encode()


@pytest.fixture
def recorder() -> Recorder:
    """A history."""
    return Recorder()


@pytest.fixture
def receiver(recorder: Recorder) -> Iterator[Receiver]:
    """A receiver in plain HTTP."""
    with Receiver(recorder) as listening:
        yield listening


def post(receiver: Receiver, path: str, context: ssl.SSLContext | None = None) -> tuple[int, dict[str, str]]:
    """POST to the receiver as a relay does: the host that was registered, the port that it really has."""
    where = urlsplit(receiver.origin)
    kind = http.client.HTTPSConnection if where.scheme == "https" else http.client.HTTPConnection
    more = {"context": context} if context else {}
    connection = kind("127.0.0.1", receiver.port, timeout=5, **more)  # type: ignore[arg-type]
    try:
        connection.request("POST", path, BODY, {"Host": HOST, "Content-Type": "application/json"})
        answer = connection.getresponse()
        answer.read()
        return answer.status, {name.lower(): value for name, value in answer.getheaders()}
    finally:
        connection.close()


def attempts(recorder: Recorder) -> list[Callback]:
    """The attempts in the history."""
    return [event for event in recorder.events if isinstance(event, Callback)]


def test_an_attempt_is_recorded_as_it_was_sent(receiver: Receiver, recorder: Recorder) -> None:
    """Method, registered URL with its query, headers and body; the account's clock says when."""
    route = receiver.add(Route("/a", clock=lambda: Moment(105.0, 100.0), case="mine"))

    assert post(receiver, "/a?x=1&y=%2F")[0] == 200
    assert route.wait(1, 2)

    (seen,) = attempts(recorder)
    assert (seen.method, seen.url) == ("POST", f"https://{HOST}/a?x=1&y=%2F")
    assert (seen.at, seen.since, seen.ended_at, seen.case) == (105.0, 100.0, 105.0, "mine")
    assert seen.request.body.content == BODY
    assert seen.answer is not None
    assert seen.answer.status == 200


def test_the_script_gives_one_act_an_attempt(receiver: Receiver, recorder: Recorder) -> None:
    """In order, and the last one for all that follow; a redirect leads where it was told."""
    route = receiver.add(Route("/b", [Act(500), Act(302, location="https://hooks.example.com/there"), Act(204)]))

    answers = [post(receiver, "/b") for _ in range(4)]

    assert [status for status, _ in answers] == [500, 302, 204, 204]
    assert answers[1][1]["location"] == "https://hooks.example.com/there"
    assert route.wait(4, 2)
    assert [seen.ended for seen in attempts(recorder)] == ["answered"] * 4


def test_a_cut_and_an_interim_answer_are_no_answer(receiver: Receiver, recorder: Recorder) -> None:
    """The sender sees a broken connection, the history an attempt without an answer."""
    route = receiver.add(Route("/c", [Act(end="cut"), Act(end="1xx")]))
    with pytest.raises((http.client.HTTPException, OSError)):
        post(receiver, "/c")
    assert post(receiver, "/c")[0] == 103  # this library takes an interim answer for the last one

    assert route.wait(2, 2)
    assert [(seen.ended, seen.answer) for seen in attempts(recorder)] == [("cut", None), ("cut", None)]


def test_a_sender_that_does_not_wait_is_gone(receiver: Receiver, recorder: Recorder) -> None:
    """It hung up before the answer; the attempt took as long as the receiver did."""
    route = receiver.add(Route("/d", [Act(delay=0.15)]))
    connection = http.client.HTTPConnection("127.0.0.1", receiver.port, timeout=5)
    connection.request("POST", "/d", BODY)
    connection.close()

    assert route.wait(1, 2)
    (seen,) = attempts(recorder)
    assert seen.ended == "gone"
    assert seen.ended_mono - seen.mono >= 0.15


def test_what_nobody_registered_is_recorded_too(receiver: Receiver, recorder: Recorder) -> None:
    """A callback that comes unasked must be seen."""
    assert post(receiver, "/stray")[0] == 404
    for _ in range(10_000):
        if attempts(recorder):
            break
        threading.Event().wait(0.001)
    assert attempts(recorder)[0].url.endswith("/stray")


def test_the_hook_runs_before_the_first_answer(receiver: Receiver) -> None:
    """So that credits can be read while a callback is being received."""
    seen: list[bytes] = []
    receiver.add(Route("/e", hook=seen.append))
    post(receiver, "/e")
    post(receiver, "/e")
    assert seen == [BODY]


def test_https_with_an_authority_of_its_own(recorder: Recorder, tmp_path) -> None:
    """A sender that trusts the authority is served; one that does not is not."""
    with Receiver(recorder, names=["127.0.0.1", HOST], base=f"https://{HOST}/tunnel") as receiver:
        receiver.add(Route("/f"))
        trusted = ssl.create_default_context(cafile=str(write_authority(receiver, tmp_path / "ca.pem")))
        assert post(receiver, "/tunnel/f?q=1", trusted)[0] == 200
        with pytest.raises(ssl.SSLError):
            post(receiver, "/tunnel/f", ssl.create_default_context())
    assert attempts(recorder)[0].url == f"https://{HOST}/tunnel/f?q=1"
