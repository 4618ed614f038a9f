"""Reading a task: rules CP."""

import random
import statistics
from datetime import UTC, datetime
from email.utils import format_datetime

import pytest
import requests
from hypothesis import given
from hypothesis import strategies as st
from urllib3.exceptions import ProtocolError

from kling_client import AuthError, Client, GaveUp, NotFound, PermissionDenied, PollPolicy, RedirectRefused, TaskFailed
from kling_client.polling import Pace
from kling_client.retry_after import retry_after

CUT = requests.exceptions.ConnectionError(ProtocolError("Connection aborted.", ConnectionResetError(104, "reset")))
SILENCE = requests.exceptions.ReadTimeout("read timed out")


def http_date(seconds: float) -> str:
    """Unix seconds as an HTTP date."""
    return format_datetime(datetime.fromtimestamp(seconds, UTC), usegmt=True)


def test_waits_keep_the_floor_and_never_shrink(client, service, kit):
    """CP-01, CP-02, over a long task."""
    service.on(
        "poll", *[kit.answer(kit.task("processing", progress=p)) for p in range(30)], kit.answer(kit.task("completed"))
    )

    client.wait(client.create(kit.image))

    gaps = kit.gaps(service.calls)
    assert statistics.median(gaps) >= 5
    assert gaps == sorted(gaps)
    assert gaps[-1] <= 5 * 3 * 1.25


def test_many_tasks_do_not_poll_in_step():
    """CP-18: waits are drawn anew for each task."""
    firsts = {Pace(PollPolicy(), random.Random(seed)).ordinary() for seed in range(50)}

    assert len(firsts) == 50
    assert max(firsts) - min(firsts) > 1


@pytest.mark.parametrize("status", [429, 503])
def test_retry_after_in_seconds_is_honoured(client, service, kit, status):
    """CP-03: nothing is sent before it is over."""
    service.on("poll", kit.refused(status, Retry_After="120"), kit.answer(kit.task("completed")))

    client.wait(client.create(kit.image))

    assert kit.gaps(service.seen("poll"))[0] >= 120


@pytest.mark.parametrize("skew", [-86400, 0, 86400])
def test_retry_after_as_a_date_is_honoured_whatever_this_clock_says(make_client, service, kit, skew):
    """CP-04: measured against the answer's own Date."""
    sent = 1_757_000_000
    limited = kit.refused(429, Date=http_date(sent), Retry_After=http_date(sent + 90))
    service.on("poll", limited, kit.answer(kit.task("completed")))
    client = make_client(wall=lambda: sent + skew)

    client.wait(client.create(kit.image))

    assert 90 <= kit.gaps(service.seen("poll"))[0] <= 96


def test_retry_after_beyond_the_deadline_gives_up_at_once(client, service, kit, time):
    """A wait that cannot end in a read is of no use."""
    service.on("poll", kit.refused(429, Retry_After="86400"))
    before = time.now

    with pytest.raises(GaveUp, match=f"kling resume {kit.task_id}"):
        client.wait(client.create(kit.image))

    assert time.now - before < 60


@given(value=st.text(max_size=40), date=st.text(max_size=40))
def test_any_retry_after_is_read_without_a_crash(value, date):
    """Seconds or nothing, never negative."""
    seconds = retry_after({"Retry-After": value, "Date": date}, lambda: 0.0)

    assert seconds is None or seconds >= 0


@given(ahead=st.integers(0, 100_000), fraction=st.floats(0, 0.999))
def test_dates_are_never_undercut(ahead, fraction):
    """A Date header is cut to whole seconds, so the wait by it ends no earlier than the date."""
    now = 1_757_000_000 + fraction
    headers = {"Retry-After": http_date(int(now) + ahead), "Date": http_date(int(now))}

    assert now + retry_after(headers, lambda: now) >= int(now) + ahead
    assert retry_after({"Retry-After": headers["Retry-After"]}, lambda: now) == pytest.approx(
        max(0, int(now) + ahead - now)
    )


TROUBLE = [500, 502, 503, 504, 408, CUT, SILENCE, "html", "list", "other task"]


@pytest.mark.parametrize("trouble", TROUBLE)
def test_trouble_is_waited_out_with_growing_waits(client, service, kit, trouble):
    """CP-05, CP-06, CP-14, CP-15: reads are safe, so they go on, more slowly."""
    steps = {
        "html": kit.reply(502, {"Content-Type": "text/html"}, b"<html>Bad Gateway</html>"),
        "list": kit.answer([]),
        "other task": kit.answer(kit.task("completed", id="task-unified-1-other000")),
    }
    step = kit.refused(trouble) if isinstance(trouble, int) else steps.get(trouble, trouble)
    service.on("poll", *[step] * 4, kit.answer(kit.task("completed")))

    assert client.wait(client.create(kit.image)).completed

    gaps = kit.gaps(service.calls)
    assert len(gaps) == 5
    assert gaps == sorted(gaps)
    assert gaps[3] > 1.8 * gaps[1]


@pytest.mark.parametrize("status", ["failed", "cancelled", "canceled"])
def test_every_end_is_an_end(client, service, kit, status):
    """CP-07, CP-08: one read, no more; a bare "cancelled" is told as request_cancelled."""
    error = {"code": "request_cancelled", "message": "cancelled by user"} if status == "failed" else None
    service.on("poll", kit.answer(kit.task(status, error=error)))

    with pytest.raises(TaskFailed, match="request_cancelled"):
        client.wait(client.create(kit.image))

    assert len(service.seen("poll")) == 1


def test_a_finished_task_is_not_read_again(client, service, kit):
    """CP-07: neither when the create's answer is final already, nor when one waits twice."""
    service.on("create", kit.answer(kit.task("completed")))

    done = client.wait(client.create(kit.image))
    client.wait(done)

    assert service.seen("poll") == []


@pytest.mark.parametrize("status", ["queued", "COMPLETED", "", None, 7, ["completed"]])
def test_an_unknown_status_is_not_an_end(client, service, kit, status):
    """CP-09: it goes on, and does not report success."""
    odd = {**kit.task("processing"), "status": status}
    service.on("poll", kit.answer(odd), kit.answer(odd), kit.answer(kit.task("completed")))

    assert client.wait(client.create(kit.image)).completed
    assert len(service.seen("poll")) == 3


def test_unknown_and_missing_members_do_no_harm(client, service, kit):
    """CP-10, CP-11: only id and status matter, and even the id may be missing from a query."""
    bare = {"status": "completed", "results": [f"{kit.files}/a.mp4"], "new": {"deep": [1]}}
    service.on("create", kit.answer({"id": kit.task_id, "x": 1}))
    service.on("poll", kit.answer({"status": "processing"}), kit.answer(bare))

    done = client.wait(client.create(kit.image))

    assert (done.id, done.results, done.usage.credits_used) == (kit.task_id, (f"{kit.files}/a.mp4",), None)


@given(
    body=st.dictionaries(
        st.sampled_from(["status", "progress", "task_info", "usage", "results", "error", "created", "model"]),
        st.recursive(
            st.none() | st.booleans() | st.integers() | st.text(max_size=5),
            lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
        ),
    )
)
def test_no_answer_crashes_the_reader(kit, body):
    """CP-11: any JSON in any member."""
    from kling_client.contract import shipped
    from kling_client.tasks import read_task

    task = read_task({**body, "id": kit.task_id}, shipped().statuses, kit.task_id)

    assert task.completed == (body.get("status") == "completed")
    assert all(isinstance(link, str) for link in task.results)


def test_progress_may_do_what_it_likes(client, service, kit):
    """CP-12: still, jumping or falling, it ends nothing."""
    marks = [0, 0, 90, 10, 10, 100, 3]
    service.on(
        "poll",
        *[kit.answer(kit.task("processing", progress=mark)) for mark in marks],
        kit.answer(kit.task("completed")),
    )

    assert client.wait(client.create(kit.image)).completed


def test_a_stuck_task_is_given_up_at_the_deadline(make_client, service, kit, time):
    """CP-13: in time, and it says how to go on."""
    client = make_client(manners={"deadline": 100.0})
    service.on("poll", kit.answer(kit.task("processing")))
    before = time.now

    with pytest.raises(GaveUp, match="may still be running") as caught:
        client.wait(client.create(kit.image))

    assert time.now - before <= 100
    assert (caught.value.task_id, caught.value.outcome) == (kit.task_id, "gave_up")


def test_news_does_not_cut_a_retry_after_short(make_client, service, kit):
    """CP-03 holds for callbacks too."""
    service.on("poll", kit.refused(429, Retry_After="60"), kit.answer(kit.task("completed")))
    client = make_client()

    client.wait(client.create(kit.image), pause=lambda seconds: True)

    assert kit.gaps(service.seen("poll"))[0] >= 60


def test_a_404_right_after_the_create_is_not_believed(client, service, kit):
    """CP-16: the service may not know it yet."""
    gone = kit.refused(404, "task_not_found")
    service.on("poll", gone, gone, kit.answer(kit.task("completed")))

    assert client.wait(client.create(kit.image)).completed


def test_a_404_for_ever_is_believed(client, service, kit):
    """CP-16, the other way: after some tries."""
    service.on("poll", kit.refused(404, "task_not_found"))

    with pytest.raises(NotFound):
        client.wait(client.create(kit.image))

    assert len(service.seen("poll")) == 4


@pytest.mark.parametrize("seen_before", [True, False])
def test_a_404_of_a_known_task_is_believed_at_once(client, service, kit, seen_before):
    """In mid-task, and for an id that the user typed."""
    first = [kit.answer(kit.task("processing"))] if seen_before else []
    service.on("poll", *first, kit.refused(404, "task_not_found"))

    with pytest.raises(NotFound):
        client.wait(client.create(kit.image) if seen_before else kit.task_id)

    assert len(service.seen("poll")) == len(first) + 1


@pytest.mark.parametrize(("status", "kind"), [(401, AuthError), (403, PermissionDenied)])
def test_a_refusal_in_mid_task_stops(client, service, kit, tmp_path, status, kind):
    """CP-17: no more reads, the right class, the id told and kept."""
    service.on("poll", kit.answer(kit.task("processing")), kit.refused(status))

    with pytest.raises(kind) as caught:
        client.generate(kit.image, tmp_path / "out.mp4")

    assert len(service.seen("poll")) == 2
    assert caught.value.task_id == kit.task_id
    assert (tmp_path / "out.mp4.kling.json").exists()


def test_redirects_of_a_query_are_not_followed(client, service, kit):
    """The key stays home; a passing redirect is waited out, a lasting one is told."""
    away = kit.reply(302, {"Location": "https://evil.test/"}, b"")
    service.on("poll", away, kit.answer(kit.task("completed")))
    assert client.wait(client.create(kit.image)).completed

    service.on("poll", away)
    with pytest.raises(RedirectRefused):
        client.wait(client.create(kit.image))

    assert all(call.url.startswith(kit.base) for call in service.calls)


def test_ids_are_encoded_in_paths(client, service, kit):
    """CQ-12: no id leads to another path, host or query."""
    service.on("poll", lambda call: kit.answer(kit.task("processing", id="task-unified-1/../x?y#z é")))

    client.get("task-unified-1/../x?y#z é")

    assert service.calls[0].url == f"{kit.base}/v1/tasks/task-unified-1%2F..%2Fx%3Fy%23z%20%C3%A9"


def test_call_timeouts_end_with_the_deadline(make_client, kit):
    """CP-14: a call near the deadline gets no more time than is left."""
    seen = []

    class Recording(requests.adapters.BaseAdapter):
        def send(self, request, *args, timeout=None, **settings):
            seen.append(timeout)
            raise requests.exceptions.ReadTimeout

        def close(self):
            pass

    client = make_client(transport=Recording(), manners={"deadline": 9.0, "min_poll": 0.5})

    with pytest.raises(GaveUp):
        client.wait(kit.task_id)

    assert all(connect <= 9 and read <= 9 for connect, read in seen)


def test_a_policy_that_polls_without_pause_is_refused():
    """min_poll and deadline have to be real."""
    for bad in ({"min_poll": 0}, {"min_poll": -1}, {"deadline": 0}, {"growth": 0.5}, {"deadline": float("inf")}):
        with pytest.raises(ValueError, match="must"):
            PollPolicy(**bad)


def test_the_contract_may_name_the_manners():
    """Numbers of `x-polling` replace the defaults."""
    policy = PollPolicy().following({"min_poll_seconds": 8, "give_up_seconds": 60})

    assert (policy.min_poll, policy.deadline) == (8, 60)
    assert isinstance(Client("sk-x", "https://api.test").poll, PollPolicy)
