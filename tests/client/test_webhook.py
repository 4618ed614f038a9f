"""Hearing callbacks: rules CW."""

import io
import json
import logging
import threading
import urllib.error
import urllib.request
from dataclasses import replace
from wsgiref.util import setup_testing_defaults
from wsgiref.validate import validator

import pytest

from kling_client import NetworkError, Once, Receiver
from kling_client.listener import listening


def deliver(receiver, body=b"", path="/", method="POST", query="", length=None):
    """Send one callback; gives the status code. The WSGI protocol itself is checked on the way."""
    environ = {
        "REQUEST_METHOD": method,
        "SCRIPT_NAME": "",
        "PATH_INFO": path,
        "QUERY_STRING": query,
        "CONTENT_TYPE": "application/json",
    }
    environ["wsgi.input"] = io.BytesIO(body)
    environ["CONTENT_LENGTH"] = str(len(body)) if length is None else length
    setup_testing_defaults(environ)
    answers = []
    for piece in (result := validator(receiver)(environ, lambda status, headers, exc=None: answers.append(status))):
        assert piece == b""
    result.close()
    return int(answers[0].split()[0])


@pytest.fixture
def news(kit):
    """A callback's body."""
    return json.dumps(kit.task("completed")).encode()


@pytest.fixture
def effects():
    """What the receiver did."""
    return []


@pytest.fixture
def receiver(client, effects, time):
    """A receiver that confirms with the scripted service."""
    receiver = Receiver(client.get, effects.append, sleep=time.sleep)
    yield receiver
    receiver.close()


@pytest.fixture
def completed(service, kit):
    """The service says that the task is completed."""
    service.on("poll", kit.answer(kit.task("completed")))


def test_news_is_confirmed_and_acted_on_once(receiver, service, effects, news, completed):
    """CW-01, CW-03, CW-08: any number of the same callback, one effect, by what GET said."""
    assert [deliver(receiver, news) for _ in range(5)] == [204] * 5
    receiver.drain()
    assert deliver(receiver, news) == 204
    receiver.drain()

    assert [task.status for task in effects] == ["completed"]
    assert len(service.seen("poll")) <= 5
    assert all(call.url.startswith("https://api.test/v1/tasks/") for call in service.calls)


def test_the_answer_comes_before_the_work(client, effects, news, completed, time):
    """CW-02: a slow effect keeps nobody waiting."""
    gate, began = threading.Event(), threading.Event()

    def slow(task):
        began.set()
        assert gate.wait(10)
        effects.append(task)

    receiver = Receiver(client.get, slow, sleep=time.sleep)
    assert deliver(receiver, news) == 204
    assert began.wait(10)
    assert deliver(receiver, news) == 204
    assert effects == []
    gate.set()
    receiver.close()

    assert len(effects) == 1


def test_early_news_is_kept_until_the_task_is_known(client, service, kit, effects, news, completed, time):
    """CW-04: and confirmed then."""
    ours = set()
    receiver = Receiver(client.get, effects.append, known=ours.__contains__, sleep=time.sleep)

    assert deliver(receiver, news) == 204
    receiver.drain()
    assert (effects, service.calls) == ([], [])
    ours.add(kit.task_id)
    receiver.expect(kit.task_id)
    receiver.close()

    assert len(effects) == 1


def test_a_callback_and_a_poll_cause_one_effect(client, effects, kit, news, completed, time):
    """CW-05: whoever is first; the ledger is shared."""
    once = Once()
    receiver = Receiver(client.get, effects.append, once=once, sleep=time.sleep)
    task = client.get(kit.task_id)
    threads = [threading.Thread(target=once.run, args=(kit.task_id, lambda: effects.append(task))) for _ in range(8)]
    for thread in threads:
        thread.start()
    deliver(receiver, news)
    for thread in threads:
        thread.join()
    receiver.close()

    assert len(effects) == 1


def test_a_lie_has_no_effect(receiver, service, kit, effects, news):
    """CW-06: GET decides; later, when it is true, it counts."""
    service.on("poll", kit.answer(kit.task("processing")), kit.answer(kit.task("failed")))

    deliver(receiver, news)
    receiver.drain()
    assert effects == []
    deliver(receiver, news)
    receiver.drain()

    assert [task.status for task in effects] == ["failed"]


def test_an_unknown_task_has_no_effect(receiver, service, kit, effects, news):
    """CW-07: answered, and forgotten."""
    service.on("poll", kit.refused(404, "task_not_found"))

    assert deliver(receiver, news) == 204
    receiver.drain()

    assert effects == []
    assert len(service.calls) == 1


@pytest.mark.parametrize(
    "body", [b"", b"{", b"[]", b"null", b'"x"', b"{}", b'{"id": 1}', b'{"id": ""}', b"\xff", b"[" * 100_000]
)
def test_nonsense_is_refused(receiver, service, effects, body):
    """CW-09: 400, and nothing happens."""
    assert deliver(receiver, body) == 400
    receiver.drain()

    assert (effects, service.calls) == ([], [])


def test_a_huge_body_is_refused(receiver, effects):
    """CW-09: 413 above a mebibyte, by its length alone."""
    body = io.BytesIO(b" " * ((1 << 20) + 1))

    assert deliver(receiver, body.getvalue()) == 413
    assert deliver(receiver, b"{}", length="") == 411
    assert deliver(receiver, json.dumps({"id": "x", "pad": "y" * ((1 << 20) - 24)}).encode()) == 204
    assert effects == []


@pytest.mark.parametrize("method", ["GET", "PUT", "DELETE", "HEAD", "OPTIONS"])
def test_only_post_is_taken(receiver, method):
    """CW-10."""
    assert deliver(receiver, method=method) == 405


def test_a_secret_path_keeps_strangers_out(client, effects, news, completed, time):
    """CW-08: path and query, exactly."""
    receiver = Receiver(client.get, effects.append, path="/hook/s3cret?t=1", sleep=time.sleep)

    assert deliver(receiver, news, path="/") == 404
    assert deliver(receiver, news, path="/hook/s3cret") == 404
    assert deliver(receiver, news, path="/hook/s3cret", query="t=1") == 204
    receiver.close()

    assert len(effects) == 1


def test_a_receiver_that_cannot_keep_news_says_so(client, service, effects, news, time):
    """CW-12: 500, so that the sender tries again; nothing happened."""

    def full(_body):
        raise OSError(28, "No space left on device")

    receiver = Receiver(client.get, effects.append, store=full, sleep=time.sleep)

    assert deliver(receiver, news) == 500
    assert (effects, service.calls) == ([], [])


def test_a_full_backlog_says_so(client, kit, completed, time):
    """CW-12: 503 when too much waits."""
    gate, began = threading.Event(), threading.Event()

    def slow(_task):
        began.set()
        assert gate.wait(10)

    receiver = Receiver(client.get, slow, backlog=1, sleep=time.sleep)
    bodies = [json.dumps(kit.task("completed", id=f"task-unified-1-{number:08}")).encode() for number in range(3)]
    receiver._read = lambda task_id: client.get(kit.task_id)
    assert deliver(receiver, bodies[0]) == 204
    assert began.wait(10)

    assert [deliver(receiver, body) for body in bodies[1:]] == [204, 503]
    gate.set()
    receiver.close()


def test_trouble_with_the_confirmation_is_waited_out(client, service, kit, effects, news, time, caplog):
    """The sender has heard 204 and will not come again."""
    service.on("poll", kit.refused(503), kit.refused(429, Retry_After="30"), kit.answer(kit.task("completed")))
    receiver = Receiver(client.get, effects.append, sleep=time.sleep)

    with caplog.at_level(logging.WARNING):
        deliver(receiver, news)
        receiver.close()

    assert len(effects) == 1
    assert 30 in time.naps


def test_an_effect_that_fails_is_tried_again(client, completed, news, time, caplog):
    """It has not happened yet."""
    tries = []

    def flaky(task):
        tries.append(task)
        if len(tries) < 3:
            raise RuntimeError("disk")

    receiver = Receiver(client.get, flaky, sleep=time.sleep)
    deliver(receiver, news)
    receiver.close()
    deliver(receiver, news)
    receiver.close()

    assert len(tries) == 3


def test_the_ledger_survives_a_restart(tmp_path):
    """In a folder, whatever the key looks like."""
    ran = []
    assert Once(tmp_path).run("../a/b", lambda: ran.append(1))
    assert not Once(tmp_path).run("../a/b", lambda: ran.append(2))

    assert ran == [1]
    assert len(list(tmp_path.iterdir())) == 1


def test_a_callback_ends_the_wait_early_but_keeps_the_floor(make_client, service, kit, tmp_path, news, time):
    """CW-05, CP-01: the read after it comes no closer to the one before than the floor."""
    receiver = Receiver()
    client = make_client(manners={"first": 3.0, "ceiling": 3.0, "spread": 0.0})
    service.on("poll", kit.answer(kit.task("processing")), kit.answer(kit.task("completed")))

    def call_back(seconds):
        time.naps.append(seconds)
        time.now += 1
        if len(service.seen("poll")) == 1 and seconds == 15:
            assert deliver(receiver, news) == 204
        else:
            time.now += seconds - 1

    client.sleep = call_back

    video = client.generate(kit.image, tmp_path / "out.mp4", callback_url="https://hooks.test/", receiver=receiver)

    assert kit.gaps(service.seen("poll")) == [pytest.approx(5)]
    assert receiver.once.has(video.task.id)
    assert deliver(receiver, news) == 204
    assert len(service.seen("poll")) == 2


def test_a_callback_before_the_creates_reply_is_heard(make_client, service, kit, tmp_path, news, time):
    """CW-04: within one run."""
    receiver = Receiver()

    def early(_call):
        assert deliver(receiver, news) == 204
        return kit.answer(kit.task())

    service.on("create", early)
    service.on("poll", kit.answer(kit.task("completed")))

    make_client().generate(kit.image, tmp_path / "out.mp4", callback_url="https://hooks.test/", receiver=receiver)

    assert time.naps == []


def test_without_callbacks_polling_finishes(make_client, service, kit, tmp_path):
    """CW-11."""
    video = make_client().generate(kit.image, tmp_path / "out.mp4", receiver=Receiver())

    assert video.task.completed


def test_the_receiver_listens(receiver, effects, news, completed, kit):
    """Over a real port: threads, methods, a huge body, and a caller who says nothing blocks nobody."""
    with listening(receiver, 0) as port:
        url = f"http://127.0.0.1:{port}/"
        import socket

        with socket.create_connection(("127.0.0.1", port)):
            request = urllib.request.Request(url, news, {"Content-Type": "application/json"})
            with urllib.request.urlopen(request, timeout=60) as answer:
                assert answer.status == 204
        with pytest.raises(urllib.error.HTTPError, match="405") as refused:
            urllib.request.urlopen(url, timeout=60)
        refused.value.close()
        with pytest.raises(urllib.error.HTTPError, match="413") as refused:
            urllib.request.urlopen(urllib.request.Request(url, b" " * (3 << 20)), timeout=60)
        refused.value.close()
        receiver.drain()

    assert len(effects) == 1


def test_a_port_can_be_listened_on_again_at_once(receiver, news, completed):
    """The connections of the run before are still closing."""
    port = 0
    for _ in range(3):
        with listening(receiver, port) as port:
            request = urllib.request.Request(f"http://127.0.0.1:{port}/", news)
            with urllib.request.urlopen(request, timeout=60) as answer:
                assert answer.status == 204


def test_no_url_of_a_callback_is_fetched(receiver, service, kit, effects, completed):
    """CW-13: only the API is asked."""
    lie = kit.task("completed", results=["https://evil.test/x.mp4"], callback="https://evil.test/")

    deliver(receiver, json.dumps(lie).encode())
    receiver.drain()

    assert "evil" not in str(service.calls)
    assert "evil" not in str(effects)


def test_a_confirmation_that_never_comes_is_given_up(service, effects, news, time, caplog):
    """Bounded, and logged."""

    def down(_task_id):
        raise NetworkError("down")

    receiver = Receiver(down, effects.append, sleep=time.sleep)
    deliver(receiver, news)
    receiver.close()

    assert "given up after 5 attempts" in caplog.text
    assert effects == []


def test_one_slow_task_delays_no_other(client, kit, news, completed, time):
    """Neither in its effect nor in its confirmation: the others have had their turn before it ends."""
    gate, acted = threading.Event(), threading.Event()

    def read(task_id):
        if task_id == "slow-read":
            assert gate.wait(60)
        return replace(client.get(kit.task_id), id=task_id)

    def effect(task):
        if task.id == "slow-effect":
            assert gate.wait(60)
        if task.id == "quick":
            acted.set()

    receiver = Receiver(read, effect, sleep=time.sleep)
    for task_id in ("slow-read", "slow-effect", "quick"):
        assert deliver(receiver, json.dumps({"id": task_id}).encode()) == 204
    assert acted.wait(60)
    gate.set()
    receiver.close()


def test_whatever_an_effect_raises_the_next_task_has_its_turn(client, kit, completed, time, caplog):
    """SystemExit is no Exception; it must not end the thread."""
    effects = []

    def effect(task):
        effects.append(task.id)
        raise SystemExit(1)

    receiver = Receiver(
        lambda task_id: replace(client.get(kit.task_id), id=task_id), effect, sleep=time.sleep, backlog=1
    )
    for number in range(3):
        assert deliver(receiver, json.dumps({"id": f"task-{number}"}).encode()) == 204
        receiver.drain()
    receiver.close()

    assert effects == ["task-0", "task-1", "task-2"]


def test_a_log_that_fails_stops_nothing(client, kit, effects, news, completed, time, monkeypatch):
    """The receiver goes on whatever becomes of its words."""

    def fail(*_args, **_settings):
        raise RuntimeError("the log is full")

    for name in ("warning", "exception", "error"):
        monkeypatch.setattr(f"kling_client.webhook.log.{name}", fail)
    down = [NetworkError("down")]

    def read(task_id):
        if down:
            raise down.pop()
        return client.get(task_id)

    receiver = Receiver(read, effects.append, sleep=time.sleep, backlog=1)
    for _ in range(2):
        assert deliver(receiver, news) == 204
        receiver.drain()
    receiver.close()

    assert len(effects) == 1


def test_a_rate_limit_without_a_time_is_tried_again(client, service, kit, effects, news, time):
    """429 passes; how long it takes need not be said. A pause of hours is not waited for."""
    service.on("poll", kit.refused(429), kit.answer(kit.task("completed")))
    receiver = Receiver(client.get, effects.append, sleep=time.sleep)
    deliver(receiver, news)
    receiver.drain()
    assert len(effects) == 1
    service.on("poll", kit.refused(429, Retry_After="100000"))
    deliver(receiver, json.dumps({"id": "other"}).encode())
    receiver.close()

    assert max(time.naps) < 100


def test_the_waits_between_attempts_double(effects, news, time):
    """From the first one that was set."""

    def down(_task_id):
        raise NetworkError("down")

    receiver = Receiver(down, effects.append, sleep=time.sleep, attempts=5, retry_wait=3.0)
    deliver(receiver, news)
    receiver.close()

    assert time.naps == [3.0, 6.0, 12.0, 24.0]


def test_every_watch_hears_the_news(receiver, kit, news):
    """A second one does not silence the first, nor does its end."""
    with receiver.watch(kit.task_id) as first:
        with receiver.watch(kit.task_id) as second:
            assert deliver(receiver, news) == 204
            assert first.event.is_set()
            assert second.event.is_set()
        first.event.clear()
        assert deliver(receiver, news) == 204
        assert first.event.is_set()
