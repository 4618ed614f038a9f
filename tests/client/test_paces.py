"""What clients do when nobody says anything else: how long they wait, how often they try, how much they take. Each limit at its edge."""

from dataclasses import asdict

import pytest

from kling_client import (
    BadSetting,
    DownloadError,
    DownloadPolicy,
    GaveUp,
    LinkExpired,
    NetworkError,
    NotAVideo,
    NotFound,
    PollPolicy,
    RateLimited,
    Receiver,
    RedirectRefused,
    RequestInvalid,
    ServerError,
    Timeouts,
    ValidationError,
)
from kling_client.webhook import MAX_BODY_BYTES

EVEN = {"spread": 0.0}
"""A policy without dice."""
MEBI = 1 << 20


@pytest.fixture
def link(kit):
    """A link of the file host."""
    return f"{kit.files}/a.mp4?sig=1"


@pytest.fixture
def out(tmp_path):
    """The file to save."""
    return tmp_path / "out.mp4"


def redirect(kit, to):
    """An answer that leads elsewhere."""
    return kit.reply(302, {"Location": to}, b"")


def test_the_policies_are_as_documented():
    """Nobody has to set a number: these are what they are where nobody does."""
    assert asdict(PollPolicy()) == {
        "min_poll": 5.0, "first": 1.6, "growth": 1.15, "ceiling": 3.0, "error_ceiling": 12.0, "spread": 0.25,
        "deadline": 600.0, "not_found_patience": 3, "redirect_patience": 3,
    }  # fmt: skip
    assert asdict(DownloadPolicy()) == {
        "max_bytes": 256 * MEBI, "attempts": 5, "first_wait": 1.0, "deadline": 600.0, "redirects": 3,
    }  # fmt: skip
    assert asdict(Timeouts()) == {"connect": 10.0, "read": 20.0, "total": 60.0}


@pytest.mark.parametrize(
    ("seconds", "within"),
    [
        (None, (10.0, 20.0, 60.0)),
        (100.0, (10.0, 20.0, 60.0)),
        (15.0, (10.0, 15.0, 15.0)),
        (5.0, (5.0, 5.0, 5.0)),
        (0.0, (0.001, 0.001, 0.001)),
        (-1.0, (0.001, 0.001, 0.001)),
    ],
)
def test_a_call_takes_no_longer_than_what_is_left(seconds, within):
    """And always a moment, so that what has no time left fails as any other call."""
    assert tuple(asdict(Timeouts().within(seconds)).values()) == within


@pytest.mark.parametrize(
    ("numbers", "fits"),
    [
        ({"first": 3.0}, True),
        ({"first": 3.01}, False),
        ({"ceiling": 12.0}, True),
        ({"ceiling": 12.01}, False),
        ({"first": 1.0, "growth": 1.0, "ceiling": 1.0, "error_ceiling": 1.0, "spread": 0.0}, True),
        ({"growth": 0.99}, False),
        ({"spread": -0.01}, False),
        ({"error_ceiling": 1e6}, True),
        ({"error_ceiling": 1e6 + 1}, False),
        ({"not_found_patience": 0, "redirect_patience": 0}, True),
        ({"min_poll": 0.0}, False),
        ({"deadline": 0.0}, False),
    ],
)
def test_which_numbers_make_a_policy(numbers, fits):
    """Waits never shrink, and none has no length."""
    if fits:
        assert PollPolicy(**numbers)
    else:
        with pytest.raises(BadSetting):
            PollPolicy(**numbers)


def test_each_wait_is_a_little_longer_than_the_last(make_client, service, kit):
    """From eight seconds to three times the floor."""
    service.on("poll", *[kit.answer(kit.task("processing"))] * 6, kit.answer(kit.task("completed")))
    client = make_client(manners=EVEN)

    client.wait(client.create(kit.image))

    assert kit.gaps(service.calls) == pytest.approx([8, 9.2, 10.58, 12.167, 13.99205, 15, 15])


def test_errors_in_a_row_double_the_wait(make_client, service, kit):
    """Up to twelve times the floor; afterwards it is the longest ordinary one, and the next error begins from there."""
    failing, fine = kit.refused(503), kit.answer(kit.task("processing"))
    service.on("poll", failing, failing, failing, fine, failing, kit.answer(kit.task("completed")))
    client = make_client(manners=EVEN)

    client.wait(client.create(kit.image))

    assert kit.gaps(service.calls) == pytest.approx([8, 18.4, 60, 60, 15, 30])


@pytest.mark.parametrize(("deadline", "reads"), [(10.0, 0), (10.5, 1), (30.0, 2), (30.5, 3)])
def test_a_wait_that_ends_with_the_deadline_is_not_begun(make_client, service, kit, time, deadline, reads):
    """There would be no time left to read."""
    service.on("poll", kit.answer(kit.task("processing")))
    steady = {"min_poll": 10.0, "first": 1.0, "growth": 1.0, "ceiling": 1.0, "error_ceiling": 1.0}
    client = make_client(manners={**EVEN, **steady, "deadline": deadline})

    with pytest.raises(GaveUp):
        client.wait(client.create(kit.image))

    assert len(service.seen("poll")) == reads
    assert sum(time.naps) == 10 * reads


@pytest.mark.parametrize(("times", "found"), [(0, True), (1, True), (3, True), (4, False)])
@pytest.mark.parametrize("what", ["unknown", "redirected"])
def test_how_often_a_new_task_may_be_unknown_or_elsewhere(client, service, kit, what, times, found):
    """Three times in a row; after a good answer an unknown task is gone, a redirect has its three times again."""
    strange = kit.refused(404, "task_not_found") if what == "unknown" else redirect(kit, f"{kit.base}/elsewhere")
    error = NotFound if what == "unknown" else RedirectRefused
    fine = kit.answer(kit.task("processing"))
    service.on("poll", *[strange] * times, fine, strange, kit.answer(kit.task("completed")))
    made = client.create(kit.image)

    if found and (what == "redirected"):
        assert client.wait(made).completed
    else:
        with pytest.raises(error):
            client.wait(made)
    assert len(service.seen("poll")) == (times + (3 if what == "redirected" else 2) if found else 4)


# Downloads


@pytest.mark.parametrize(("floor", "first"), [(0.25, 0.25), (1.0, 1.0), (1.5, 1.0), (5.0, 1.0)])
def test_a_download_is_tried_again_after_a_second_or_less(make_client, service, kit, time, link, out, floor, first):
    """Less where polling is faster than that; each further wait is twice as long, and there are five attempts."""
    service.on("link", kit.refused(503))

    with pytest.raises(DownloadError):
        make_client(manners={"min_poll": floor}).download(link, out)

    assert time.naps == [first, 2 * first, 4 * first, 8 * first]
    assert len(service.seen("link")) == 5


@pytest.mark.parametrize(
    ("asked", "naps"), [("0", [1, 2, 4, 8]), ("3", [3, 3, 4, 8]), ("8", [8, 8, 8, 8]), ("9", [9, 9, 9, 9])]
)
def test_a_link_that_asks_for_a_pause_gets_it(client, service, kit, time, link, out, asked, naps):
    """Never less than the own wait."""
    service.on("link", kit.refused(429, Retry_After=asked))

    with pytest.raises(DownloadError):
        client.download(link, out)

    assert time.naps == naps


@pytest.mark.parametrize(("deadline", "attempts"), [(1.0, 1), (1.5, 2), (3.0, 2), (7.0, 3), (7.5, 4), (15.5, 5)])
def test_no_download_goes_on_past_its_deadline(make_client, service, kit, link, out, deadline, attempts):
    """A wait that ends with it is not begun."""
    service.on("link", kit.refused(500))

    with pytest.raises(DownloadError):
        make_client(download=DownloadPolicy(deadline=deadline)).download(link, out)

    assert len(service.seen("link")) == attempts


@pytest.mark.parametrize(
    ("status", "attempts", "error"),
    [
        *[(status, 1, LinkExpired) for status in (403, 404, 410)],
        *[(status, 5, DownloadError) for status in (408, 425, 429, 500, 503, 599)],
        *[(status, 1, DownloadError) for status in (201, 204, 304, 400, 401, 402, 405, 409, 418, 428, 451, 499)],
        (416, 5, NotAVideo),
    ],
)
def test_what_the_status_of_a_link_means(client, service, kit, link, out, status, attempts, error):
    """It is gone, it may come back, or it will never serve this."""
    service.on("link", kit.refused(status))

    with pytest.raises(DownloadError) as caught:
        client.download(link, out)

    assert type(caught.value) is error
    assert len(service.seen("link")) == attempts
    assert not out.exists()


@pytest.mark.parametrize("known", [True, False])
@pytest.mark.parametrize(("spare", "taken"), [(1, True), (0, True), (-1, False)])
def test_the_largest_video_that_is_taken(make_client, service, kit, link, out, known, spare, taken):
    """By its length where that is said, else as it comes."""
    reply = kit.video() if known else kit.reply(200, {"Content-Type": "video/mp4"}, kit.video_bytes)
    service.on("link", reply)
    client = make_client(download=DownloadPolicy(max_bytes=len(kit.video_bytes) + spare))

    if taken:
        assert client.download(link, out) == (out,)
    else:
        with pytest.raises(DownloadError, match="larger than"):
            client.download(link, out)
    assert out.exists() is taken


@pytest.mark.parametrize(("allowed", "hops", "taken"), [(3, 3, True), (3, 4, False), (0, 0, True), (0, 1, False)])
def test_how_many_redirects_a_download_follows(make_client, service, kit, link, out, allowed, hops, taken):
    """So many and no more."""
    service.on("link", *[redirect(kit, f"{kit.files}/b.mp4")] * hops, kit.video())
    client = make_client(download=DownloadPolicy(redirects=allowed))

    if taken:
        assert client.download(link, out) == (out,)
    else:
        with pytest.raises(DownloadError, match="without end"):
            client.download(link, out)
    assert len(service.seen("link")) == min(hops, allowed) + 1


# Callbacks


class Endless:
    """The body of a sender that sends as much as is read, up to *size* bytes."""

    def __init__(self, size):
        self.left, self.taken = size, 0

    def read(self, size):
        """The next bytes."""
        size = min(size, self.left)
        self.left -= size
        self.taken += size
        return bytes(size)


@pytest.mark.parametrize(
    ("declared", "sent", "taken", "status"),
    [
        (MAX_BODY_BYTES, 1 << 40, MEBI, "400"),
        (MAX_BODY_BYTES + 1, 1 << 40, MEBI + 1, "413"),
        (16 * MEBI, 1 << 40, 16 * MEBI, "413"),
        (16 * MEBI + 1, 1 << 40, 16 * MEBI, "413"),
        (1 << 40, 1 << 40, 16 * MEBI, "413"),
        (1 << 40, 100_000, 100_000, "413"),
    ],
)
def test_how_much_of_a_callback_that_is_too_large_is_read(declared, sent, taken, status):
    """So much that the sender sees the answer, and no more."""
    body, said = Endless(sent), []
    environ = {"REQUEST_METHOD": "POST", "PATH_INFO": "/", "CONTENT_LENGTH": str(declared), "wsgi.input": body}

    Receiver()(environ, lambda line, headers: said.append(line[:3]))

    assert (said, body.taken) == ([status], taken)


def confirmed(errors, time, **settings):
    """What a receiver did about one callback while confirming it raised *errors*: reads, waits."""
    left, reads = list(errors), []

    def read(task_id):
        reads.append(task_id)
        raise left.pop(0) if left else ValidationError("no", status=400)

    receiver = Receiver(read, print, sleep=time.sleep, **settings)
    environ = {"REQUEST_METHOD": "POST", "PATH_INFO": "/", "CONTENT_LENGTH": "12", "wsgi.input": Body(b'{"id": "t1"}')}
    receiver(environ, lambda line, headers: None)
    receiver.close()
    return len(reads), time.naps


class Body:
    """A body that is there."""

    def __init__(self, content):
        self.content = content

    def read(self, size):
        """All of it."""
        return self.content[:size]


@pytest.mark.parametrize(
    ("error", "settings", "reads", "naps"),
    [
        (NetworkError("cut"), {}, 5, [1, 2, 4, 8]),
        (ServerError("broken", status=500), {}, 5, [1, 2, 4, 8]),
        (NetworkError("cut"), {"attempts": 1}, 1, []),
        (NetworkError("cut"), {"attempts": 3, "retry_wait": 0.5}, 3, [0.5, 1]),
        (ValueError("an effect that failed"), {}, 5, [1, 2, 4, 8]),
        (ValidationError("no", status=400), {}, 1, []),
        (ValidationError("later", status=400, retry_after=5.0), {"attempts": 2}, 2, [5, 1, 5]),
        (RateLimited("later", status=429), {"attempts": 2}, 2, [0, 1, 0]),
        (RateLimited("later", status=429, retry_after=600.0), {"attempts": 2}, 2, [600, 1, 600]),
        (RateLimited("later", status=429, retry_after=600.5), {}, 1, []),
    ],
)
def test_how_often_a_callback_is_confirmed(time, error, settings, reads, naps):
    """Whatever may pass is tried again, after waits that double; a pause that is asked for is kept, ten minutes at the most."""
    assert confirmed([error] * 9, time, **settings) == (reads, naps)


# Errors


@pytest.mark.parametrize("kind", [RequestInvalid, NetworkError, NotFound])
def test_what_an_error_is_about_is_given_by_name(kind):
    """So that members may be added."""
    with pytest.raises(TypeError):
        kind("no", "image_start")
    assert RequestInvalid("no", param="image_start").facts() == {
        "class": "invalid",
        "message": "no",
        "param": "image_start",
    }
    assert (RequestInvalid("no").param, NetworkError("no").sent) == (None, True)
