"""What outlives a run: the record of a task that is owed, and the lock of a run at work."""

import json
import os
import subprocess
import sys
import threading
from pathlib import Path

import pytest
import requests
from urllib3.exceptions import MaxRetryError, NewConnectionError

from kling_client import (
    AuthError,
    Busy,
    ConfigError,
    CreateOutcomeUnknown,
    GaveUp,
    KlingError,
    NetworkError,
    RequestInvalid,
    TaskFailed,
)
from kling_client.lock import LEASE, Lock, born, host
from kling_client.state import Slot

LOST = requests.exceptions.ReadTimeout("read timed out")
REFUSED = requests.exceptions.ConnectionError(
    MaxRetryError(None, "/v1", NewConnectionError(None, "[Errno 111] Connection refused"))
)


@pytest.fixture
def out(tmp_path):
    """The output file."""
    return tmp_path / "out.mp4"


@pytest.fixture
def lost(client, service, kit, out):
    """A create whose reply was lost; gives its key."""
    service.on("create", LOST)
    with pytest.raises(CreateOutcomeUnknown) as caught:
        client.generate(kit.image, out)
    return caught.value.idempotency_key


@pytest.mark.parametrize("failure", [REFUSED, 401, 402, 400, 429, 302])
def test_a_lost_create_is_remembered_however_its_repetition_ends(client, service, kit, out, lost, failure):
    """What surely was not accepted says nothing of what perhaps was: no run creates under a new key (CM-02)."""
    service.on("create", kit.refused(failure) if isinstance(failure, int) else failure)

    with pytest.raises(CreateOutcomeUnknown) as caught:
        client.generate(kit.image, out, idempotency_key=lost)
    assert caught.value.idempotency_key == lost
    assert Slot(out).read().idempotency_key == lost
    service.on("create", kit.answer(kit.task()))
    with pytest.raises(CreateOutcomeUnknown):
        client.generate(kit.image, out)
    client.generate(kit.image, out, idempotency_key=lost)

    assert {call.headers["Idempotency-Key"] for call in service.seen("create")} == {lost}


@pytest.mark.parametrize("failure", [REFUSED, 402])
def test_a_new_create_that_is_refused_does_not_forget_the_one_before(client, service, kit, out, lost, failure):
    """Also not with `new`: the record that it would replace comes back."""
    service.on("create", kit.refused(failure) if isinstance(failure, int) else failure)

    with pytest.raises(KlingError):
        client.generate(kit.image, out, duration=4, new=True)

    assert Slot(out).read().idempotency_key == lost


def test_wishes_that_are_refused_here_do_not_forget_the_one_before(client, kit, out, lost):
    """Nor does a request that never leaves."""
    with pytest.raises(RequestInvalid):
        client.generate(kit.image, out, duration=99, new=True)

    assert Slot(out).read().idempotency_key == lost


def test_resuming_one_task_does_not_forget_another(client, service, kit, out):
    """A record is removed by the task that it is about, and by no other."""
    service.on("poll", kit.refused(401))
    with pytest.raises(AuthError):
        client.generate(kit.image, out)
    before = Slot(out).read()

    with pytest.raises(RequestInvalid, match=kit.task_id):
        resume(client, out, "task-unified-1-other000")
    assert Slot(out).read() == before
    service.on("poll", kit.answer(kit.task("completed")))
    resume(client, out, kit.task_id)

    assert Slot(out).read() is None


def test_a_failed_guess_does_not_settle_a_lost_create(client, service, kit, out, lost):
    """The task that the user resumes by hand may be another one than the lost create made."""
    service.on("poll", kit.answer(kit.task("failed")))

    with pytest.raises(TaskFailed):
        resume(client, out, kit.task_id)

    assert Slot(out).read().idempotency_key == lost


def resume(client, out, task_id):
    """Resume a task by its id."""
    from kling_client.generation import Generation

    return Generation(client, out, receiver=None, on_event=None).resume(task_id)


def test_a_record_that_cannot_be_written_does_not_cost_the_video(client, service, kit, out, monkeypatch):
    """The task is paid for: the run goes on, and its id is told."""
    told = []

    def fail(_slot, _record):
        raise ConfigError("cannot write: No space left on device")

    monkeypatch.setattr(Slot, "write", fail)
    client.generate(kit.image, out, on_event=told.append)

    assert out.read_bytes() == kit.video_bytes
    (accepted,) = [event.text for event in told if event.kind == "accepted"]
    assert kit.task_id in accepted
    assert "No space left" in accepted


def test_the_record_is_on_the_disk_before_the_create_is_sent(client, service, kit, out, monkeypatch):
    """File and folder are synced first."""
    synced = []
    monkeypatch.setattr(os, "fsync", lambda handle: synced.append(str(Path(f"/proc/self/fd/{handle}").readlink())))

    def create(_call):
        synced.append("create")
        return kit.answer(kit.task())

    service.on("create", create)
    client.generate(kit.image, out)

    before = synced[: synced.index("create")]
    assert any(".kling.json" in name for name in before)
    assert before[-1] == str(out.parent)


def test_a_record_made_by_another_run_stops_the_create(client, service, kit, out, monkeypatch):
    """Should two runs hold the lock, one record is made, and one create sent."""
    record = {"version": 2, "phase": "creating", "request": {}, "idempotency_key": "k", "base_url": "u", "body": {}}

    def upload(_call):
        (out.parent / "out.mp4.kling.json").write_text(json.dumps(record))
        return kit.answer({"success": True, "data": {"file_url": f"{kit.files}/frame.png"}})

    service.on("upload", upload)
    image = out.parent / "frame.png"
    from PIL import Image

    Image.new("RGB", (400, 400)).save(image)
    with pytest.raises(Busy):
        client.generate(image, out)

    assert not service.seen("create")


RECORD = {
    "version": 2,
    "phase": "creating",
    "request": {"image": "https://image.test/1280x720.jpg"},
    "idempotency_key": "kling-0123456789abcdef",
    "base_url": "https://api.test",
    "body": {},
    "task_id": None,
}


@pytest.mark.parametrize(
    "change",
    [
        {"phase": "accepted"},
        {"phase": "accepted", "task_id": ""},
        {"phase": "accepted", "task_id": ["x"]},
        {"task_id": "task-1"},
        {"phase": "done"},
        {"idempotency_key": ""},
        {"idempotency_key": 5},
        {"body": []},
        {"request": None},
        {"version": 3},
        {"base_url": None},
    ],
)
def test_a_record_that_makes_no_sense_stops_the_run(client, service, kit, out, change):
    """An accepted task without an id, an id of another kind: nothing is sent."""
    Slot(out).path.write_text(json.dumps({**RECORD, **change}))

    with pytest.raises(ConfigError, match="not a state file"):
        client.generate(kit.image, out)

    assert service.calls == []


@pytest.mark.parametrize("gone", ["task_id", None])
def test_a_lost_create_without_the_member_is_one_with_null(client, service, kit, out, gone):
    """No id is no id, however it is spelled; members of later versions are ignored."""
    record = {name: value for name, value in {**RECORD, "later": 1}.items() if name != gone}
    Slot(out).path.write_text(json.dumps(record))

    with pytest.raises(CreateOutcomeUnknown, match="kling-0123456789abcdef"):
        client.generate(kit.image, out)

    assert service.calls == []


def test_a_record_of_the_first_version_is_resumed_by_its_id_only(client, service, kit, out):
    """Its digest is compared with nothing."""
    first = {**RECORD, "version": 1, "digest": "0123456789abcdef", "phase": "accepted", "task_id": kit.task_id}
    del first["request"]
    Slot(out).path.write_text(json.dumps(first))

    with pytest.raises(RequestInvalid, match=kit.task_id):
        client.generate(kit.image, out)
    resume(client, out, kit.task_id)

    assert out.read_bytes() == kit.video_bytes
    assert not service.seen("create")


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("https://api.test", "HTTPS://API.TEST:443/"),
        ("https://api.test", "https://api.test/v1/"),
        ("https://api.test/eu", "https://api.test/eu//"),
        ("http://127.0.0.1:80", "http://0x7f.1"),
        ("https://xn--bcher-kva.test", "https://bücher.test"),
    ],
)
def test_an_address_has_one_spelling(service, kit, one, other):
    """State files are compared by it."""
    from kling_client import Client

    assert Client(kit.key, one).base_url == Client(kit.key, other).base_url


ODD = '{"version": 1, "token": 5, "pid": "1", "host": null, "born": []}'


@pytest.mark.parametrize("text", ["", "{", "null", "[]", '{"version": 1, "pid": 1}', "1", "999999999", "\0" * 8, ODD])
def test_a_damaged_lock_is_left_over(client, kit, out, text, time):
    """It is waited for as long as a holder at work would need to renew it, and then taken."""
    out.with_name("out.mp4.kling.lock").write_text(text)

    client.generate(kit.image, out)

    assert out.read_bytes() == kit.video_bytes
    assert sum(time.naps) >= LEASE


def test_a_lock_that_is_renewed_is_at_work(client, service, kit, out, time):
    """Of a holder that cannot be looked up, in another container: busy, and nothing is sent."""
    lock = out.with_name("out.mp4.kling.lock")
    lock.write_text(json.dumps({"version": 1, "token": "t", "pid": 1, "host": "other", "born": "1"}))
    real = time.sleep

    def sleep(seconds):
        real(seconds)
        os.utime(lock, (time.now, time.now))

    slot = Slot(out, clock=time.clock, sleep=sleep)
    with pytest.raises(Busy), slot.held():
        pass

    assert lock.exists()


def test_the_lock_of_a_process_that_died_is_taken_at_once(client, kit, out, time):
    """Also when another process has its number by now, as number 1 of every container has."""
    holder = Lock(out.with_name("out.mp4.kling.lock"), time.clock, time.sleep)
    with holder.held():
        content = json.loads(holder.path.read_text())
    for change in ({"born": "1"}, {"pid": 999_999_999}):
        holder.path.write_text(json.dumps({**content, **change}))
        naps = len(time.naps)
        with Slot(out, clock=time.clock, sleep=time.sleep).held():
            pass
        assert time.naps[naps:] == []


def test_a_process_that_nobody_has_waited_for_is_dead(out, time):
    """As it stays where the first process of a container waits for none."""
    path = out.with_name("out.mp4.kling.lock")
    with subprocess.Popen([sys.executable, "-c", "import sys; sys.stdin.read()"], stdin=subprocess.PIPE) as ended:
        holder = {"version": 1, "token": "t", "pid": ended.pid, "host": host(), "born": born(ended.pid)}
        path.write_text(json.dumps(holder))
        assert ended.stdin is not None
        ended.stdin.close()
        os.waitid(os.P_PID, ended.pid, os.WEXITED | os.WNOWAIT)
        with Slot(out, clock=time.clock, sleep=time.sleep).held():
            pass

    assert (time.naps, path.exists()) == ([], False)


def test_a_lock_of_a_living_process_is_respected_and_renewed(kit, out, time, monkeypatch):
    """The holder is looked up; its lock shows that it lives; it goes at the end."""
    slot = Slot(out, clock=time.clock, sleep=time.sleep)
    renewed = threading.Event()
    real = os.utime
    monkeypatch.setattr("kling_client.lock.RENEWAL", 0.001)
    monkeypatch.setattr(os, "utime", lambda path: (real(path), renewed.set()))
    with slot.held():
        with pytest.raises(Busy), Slot(out, clock=time.clock, sleep=time.sleep).held():
            pass
        assert renewed.wait(30)
    assert list(out.parent.iterdir()) == []


def test_a_lock_that_another_run_took_meanwhile_is_not_removed(out, time):
    """Only the holder's own."""
    lock = Lock(out.with_name("out.mp4.kling.lock"), time.clock, time.sleep)
    with lock.held():
        lock.path.write_text('{"version": 1, "token": "other", "pid": 1, "host": "", "born": ""}')

    assert lock.path.exists()


def test_giving_up_leaves_a_record_to_resume(client, service, kit, out):
    """The id outlives the deadline."""
    service.on("poll", kit.answer(kit.task("processing")))
    with pytest.raises(GaveUp):
        client.generate(kit.image, out)

    assert Slot(out).read().task_id == kit.task_id


def test_a_create_that_was_never_sent_is_forgotten(client, service, kit, out):
    """The first one of all, which nothing preceded."""
    service.on("create", REFUSED)
    with pytest.raises(NetworkError):
        client.generate(kit.image, out)

    assert Slot(out).read() is None
