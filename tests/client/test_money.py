"""A create costs money: rules CM."""

import json
import re
from pathlib import Path

import pytest
import requests
from urllib3.exceptions import MaxRetryError, NewConnectionError, ProtocolError

from kling_client import (
    AuthError,
    BalanceError,
    Busy,
    ConfigError,
    CreateOutcomeUnknown,
    NetworkError,
    NotFound,
    PermissionDenied,
    RateLimited,
    RedirectRefused,
    RequestInvalid,
    TaskFailed,
    ValidationError,
)
from kling_client.state import Slot

CUT = requests.exceptions.ConnectionError(ProtocolError("Connection aborted.", ConnectionResetError(104, "reset")))
SILENCE = requests.exceptions.ReadTimeout("read timed out")


def test_happy_path_is_one_create(client, service, kit, tmp_path):
    """One create, one video, no record left behind (CM-01, CD-01)."""
    out = tmp_path / "out.mp4"

    video = client.generate(kit.image, out, prompt="wind", duration=3)

    assert len(service.seen("create")) == 1
    assert out.read_bytes() == kit.video_bytes
    assert video.paths == (out,)
    assert video.task.id == kit.task_id
    assert [path.name for path in tmp_path.iterdir()] == ["out.mp4"]


@pytest.mark.parametrize("loss", [CUT, SILENCE, 500, 502, 503, 504])
def test_a_lost_create_is_not_repeated(client, service, kit, tmp_path, loss):
    """By default a lost reply or a 5xx ends in "unknown", with the key to resume by (CM-02, CM-03, CM-07)."""
    service.on("create", kit.refused(loss) if isinstance(loss, int) else loss)

    with pytest.raises(CreateOutcomeUnknown) as caught:
        client.generate(kit.image, tmp_path / "out.mp4")

    assert len(service.seen("create")) == 1
    assert caught.value.idempotency_key in str(caught.value)
    assert caught.value.outcome == "unknown"


@pytest.mark.parametrize("content", [b"<html>ok</html>", b"[]", b"{}", b'{"id": 5}', b'{"id": ""}', b"\xff\xfe"])
def test_an_accepted_create_that_cannot_be_read_is_unknown(client, service, kit, content):
    """200 without a task is no proof that nothing was created."""
    service.on("create", kit.reply(200, {"Content-Type": "application/json"}, content))

    with pytest.raises(CreateOutcomeUnknown):
        client.create(kit.image)


def test_opting_in_repeats_once_with_the_same_key(make_client, service, kit):
    """The second create carries the same key and the same bytes; a third is never sent."""
    service.on("create", CUT, kit.refused(503))

    with pytest.raises(CreateOutcomeUnknown):
        make_client(repeat_lost_create=True).create(kit.image)

    first, second = service.seen("create")
    assert first.headers["Idempotency-Key"] == second.headers["Idempotency-Key"]
    assert first.body == second.body


def test_opting_in_can_save_a_lost_create(make_client, service, kit):
    """A repeated create that is answered is as good as the first."""
    service.on("create", CUT, kit.answer(kit.task(), idempotency_replayed="true"))

    assert make_client(repeat_lost_create=True).create(kit.image).id == kit.task_id


def test_a_refusal_after_a_loss_is_still_unknown(make_client, service, kit):
    """What refused the second create says nothing about the first."""
    service.on("create", CUT, kit.refused(401, "unauthorized"))

    with pytest.raises(CreateOutcomeUnknown):
        make_client(repeat_lost_create=True).create(kit.image)


def test_a_create_that_never_left_is_a_network_error(client, service, kit, tmp_path):
    """Refused connections cost nothing, so nothing is owed."""
    reason = NewConnectionError(None, "[Errno 111] Connection refused")
    service.on("create", requests.exceptions.ConnectionError(MaxRetryError(None, "/v1", reason)))
    out = tmp_path / "out.mp4"

    with pytest.raises(NetworkError) as caught:
        client.generate(kit.image, out)

    assert not caught.value.sent
    assert Slot(out).read() is None


def test_429_is_repeated_after_retry_after_with_the_same_key(client, service, kit):
    """CM-04: never earlier than Retry-After says."""
    service.on("create", kit.refused(429, Retry_After="7"), kit.refused(429, Retry_After="9"), kit.answer(kit.task()))

    client.create(kit.image)

    creates = service.seen("create")
    gaps = kit.gaps(creates)
    assert gaps[0] >= 7
    assert gaps[1] >= 9
    assert len({create.headers["Idempotency-Key"] for create in creates}) == 1


def test_429_for_ever_ends(client, service, kit):
    """The attempts are bounded, and it is reported as a rate limit."""
    service.on("create", kit.refused(429, "rate_limit_exceeded", Retry_After="1"))

    with pytest.raises(RateLimited):
        client.create(kit.image)

    assert len(service.seen("create")) == 5


def test_429_beyond_the_deadline_is_not_waited_for(client, service, kit, time):
    """A wait that cannot end in time is not begun."""
    service.on("create", kit.refused(429, Retry_After="100000"))

    with pytest.raises(RateLimited):
        client.create(kit.image)

    assert time.naps == []


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (400, ValidationError),
        (401, AuthError),
        (402, BalanceError),
        (403, PermissionDenied),
        (404, NotFound),
        (409, ValidationError),
        (413, ValidationError),
        (302, RedirectRefused),
        (307, RedirectRefused),
    ],
)
def test_a_refused_create_is_never_sent_again(make_client, service, kit, tmp_path, status, kind):
    """CM-05, CM-11, CQ-05: one request, the right class, and nothing owed."""
    service.on(
        "create", kit.refused(status, "some_code", "because", Location="https://evil.test/v1/videos/generations")
    )
    out = tmp_path / "out.mp4"

    with pytest.raises(kind, match="because" if status >= 400 else "redirect") as caught:
        make_client(repeat_lost_create=True).generate(kit.image, out)

    assert len(service.calls) == 1
    assert caught.value.outcome == "refused"
    assert not Slot(out).path.exists()


@pytest.mark.parametrize(
    ("code", "shown"),
    [
        ("unauthorized", "HTTP 401 unauthorized: bad key"),
        (1102, "HTTP 401 1102: bad key"),
        (401, "HTTP 401: bad key"),
        (None, "HTTP 401: bad key"),
    ],
)
def test_both_dialects_are_read(client, service, kit, code, shown):
    """String codes, integer codes and none; a code that only says the status again is not shown twice."""
    service.on("create", kit.refused(401, code, "bad key", x_request_id="req-1"))

    with pytest.raises(AuthError) as caught:
        client.create(kit.image)

    assert (caught.value.code, caught.value.type, caught.value.request_id) == (code, "some_error", "req-1")
    assert str(caught.value).startswith(shown)


def test_a_failed_task_is_not_created_again(client, service, kit, tmp_path):
    """CM-06, CD-10: code and message are passed on, and the record is gone."""
    service.on("poll", kit.answer(kit.task("failed")))
    out = tmp_path / "out.mp4"

    with pytest.raises(TaskFailed, match=r"content_policy_violation.*refused by review") as caught:
        client.generate(kit.image, out)

    assert len(service.seen("create")) == 1
    assert not caught.value.retryable
    assert list(tmp_path.iterdir()) == []


def test_the_id_is_on_disk_before_the_first_poll(client, service, kit, tmp_path):
    """CM-08: whatever happens after the create's answer, the record names the task, and no key."""
    out = tmp_path / "out.mp4"
    records = []

    def look(_call):
        path = Slot(out).path
        records.append((path.read_text(), path.stat().st_mode & 0o777))
        return kit.answer(kit.task("completed"))

    service.on("poll", look)
    client.generate(kit.image, out)

    (text, mode), *_ = records
    assert json.loads(text)["task_id"] == kit.task_id
    assert kit.key not in text
    assert mode == 0o600


def test_a_killed_run_is_resumed(client, service, kit, tmp_path):
    """CM-08: the second run polls the first one's task and creates nothing."""
    out = tmp_path / "out.mp4"
    service.on("poll", KeyboardInterrupt())
    with pytest.raises(KeyboardInterrupt):
        client.generate(kit.image, out, duration=3)
    service.on("poll", kit.answer(kit.task("completed")))

    client.generate(kit.image, out, duration=3)

    assert len(service.seen("create")) == 1
    assert out.read_bytes() == kit.video_bytes


def test_another_request_for_the_same_file_is_refused_while_one_is_owed(client, service, kit, tmp_path):
    """A paid task is not forgotten by accident, only by `new`."""
    out = tmp_path / "out.mp4"
    service.on("poll", kit.refused(401))
    with pytest.raises(AuthError):
        client.generate(kit.image, out, duration=3)
    service.on("poll", kit.answer(kit.task("completed")))

    with pytest.raises(RequestInvalid, match=kit.task_id):
        client.generate(kit.image, out, duration=4)
    client.generate(kit.image, out, duration=4, new=True)

    assert len(service.seen("create")) == 2


def test_a_lost_create_of_an_earlier_run_is_not_sent_by_accident(client, service, kit, tmp_path):
    """It takes the key, or the user's word, to send it again; then key and body are those of the first."""
    out = tmp_path / "out.mp4"
    service.on("create", SILENCE, kit.answer(kit.task()))
    with pytest.raises(CreateOutcomeUnknown) as lost:
        client.generate(kit.image, out)

    with pytest.raises(CreateOutcomeUnknown, match="an earlier run"):
        client.generate(kit.image, out)
    client.generate(kit.image, out, idempotency_key=lost.value.idempotency_key)

    first, second = service.seen("create")
    assert first.headers["Idempotency-Key"] == second.headers["Idempotency-Key"]
    assert first.body == second.body


def test_two_runs_at_once_make_one_create(client, service, kit, tmp_path):
    """CM-10: the second run finds the first at it, says so, and sends nothing."""
    out = tmp_path / "out.mp4"
    refusals = []

    def second_run(_call):
        with pytest.raises(Busy, match=kit.task_id) as caught:
            client.generate(kit.image, out)
        refusals.append(caught.value)
        return kit.answer(kit.task("completed"))

    service.on("poll", second_run)
    client.generate(kit.image, out)

    assert len(refusals) == 1
    assert len(service.seen("create")) == 1


def test_an_existing_file_is_not_overwritten_by_accident(client, service, kit, tmp_path):
    """Checked before anything costs money."""
    out = tmp_path / "out.mp4"
    out.write_bytes(b"precious")

    with pytest.raises(ConfigError, match="--overwrite"):
        client.generate(kit.image, out)
    assert service.calls == []
    client.generate(kit.image, out, overwrite=True)

    assert out.read_bytes() == kit.video_bytes


@pytest.mark.parametrize("out", ["no/such/folder/out.mp4", "."])
def test_a_hopeless_output_is_found_before_the_create(client, service, kit, out):
    """Nobody pays for a video that cannot be saved."""
    with pytest.raises(ConfigError):
        client.generate(kit.image, Path(out))

    assert service.calls == []


@pytest.mark.parametrize("text", ["", "{}", "[]", '{"version": 2}', '{"version": 1, "phase": "accepted"}', "\0"])
def test_a_broken_record_stops_the_run(client, service, kit, tmp_path, text):
    """A record that cannot be read may stand for a paid task: somebody has to look."""
    (tmp_path / "out.mp4.kling.json").write_text(text)

    with pytest.raises(ConfigError, match="not a state file"):
        client.generate(kit.image, tmp_path / "out.mp4")

    assert service.calls == []


def test_keys_are_new_and_well_formed(client, service, kit):
    """Every request of the user has a key of its own, as the contract's pattern wants it."""
    client.create(kit.image)
    client.create(kit.image)

    keys = [create.headers["Idempotency-Key"] for create in service.seen("create")]
    assert len(set(keys)) == 2
    assert all(re.fullmatch(r"[A-Za-z0-9._-]{16,96}", key) for key in keys)


@pytest.mark.parametrize("key", ["short", "x" * 97, "has a space in it here", "ümlaut-ümlaut-ümlaut"])
def test_a_malformed_key_is_refused_here(client, service, kit, key):
    """The service would refuse it; nothing is sent."""
    with pytest.raises(RequestInvalid):
        client.create(kit.image, idempotency_key=key)

    assert service.calls == []


def test_the_charge_is_returned(client, service, kit, tmp_path):
    """CM-12: reserved and used, as the answers say."""
    usage = {"credits_used": 50, "cost": {"credits": 50, "usd": 0.5}}
    service.on("poll", kit.answer(kit.task("completed", usage=usage)))
    heard = []

    video = client.generate(kit.image, tmp_path / "out.mp4", on_event=heard.append)

    assert (video.task.usage.credits_used, video.task.usage.usd) == (50, 0.5)
    assert any("50 credits reserved" in event.text for event in heard)
