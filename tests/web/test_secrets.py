"""Secrets: a canary in every place where one can stand, and none of it in anything that the fake keeps; links nobody can forge."""

import base64
from collections.abc import Callable
from io import BytesIO
from typing import Any

import orjson
import pytest

from kling_mock.core.links import BadLink, _seal, check
from kling_mock.store.journal import Journal
from kling_mock.store.lines import lines

CANARY = "cAnary7f3b9d1eZx81q"
KEY = f"sk-live-{CANARY}"
HEADERS = {
    "Cookie": f"a={CANARY}; b=2",
    "Proxy-Authorization": f"KEY {CANARY}",
    "X-Api-Key": CANARY,
    "X-Auth-Token": CANARY,
    "X-Goog-Api-Key": CANARY,
    "X-Amz-Security-Token": CANARY,
    "Ocp-Apim-Subscription-Key": CANARY,
    "X-Mock-Token": CANARY,
    "Referer": f"https://app.example/?access_token={CANARY}",
    "X-Note": f"Bearer {CANARY}",
}
CALLBACK = f"https://8.8.8.8/hook/{CANARY}{CANARY[:4]}?token={CANARY}&n=1"
BODY = {
    "model": "kling-v3-turbo-image-to-video",
    "image_start": "https://image.test/640x480.png",
    "api_key": CANARY,
    "prompt": f"my key is {KEY}",
    "note": "".join(f"%{ord(character):02x}" for character in KEY),
}


def artefacts(rig: Any) -> dict[str, bytes]:
    """Everything that the fake shows of what happened and that people keep."""
    journal = rig.control("GET", "/journal?limit=1000")
    told = [one.text() for entry in journal["entries"] for one in lines(entry)]
    har = rig.call("GET", "/__mock/journal.har", key=None).data
    return {"journal": orjson.dumps(journal), "HAR": har, "lines": "\n".join(told).encode()}


@pytest.fixture
def told(make: Callable[..., Any]) -> Any:
    """A fake that was called with the canary everywhere."""
    rig = make()
    response = rig.call(
        "POST", "/v1/videos/generations", key=KEY, headers=HEADERS, json={**BODY, "callback_url": CALLBACK}
    )
    assert response.status_code == 200
    escaped = orjson.dumps(BODY).replace(KEY.encode(), b"".join(b"\\u%04x" % byte for byte in KEY.encode()))
    rig.call("POST", "/v1/videos/generations", key=KEY, data=escaped, headers={"Content-Type": "application/json"})
    rig.call("GET", f"/v1/tasks/{response.json['id']}?api_key={CANARY}&key={CANARY}", key=KEY)
    rig.call("GET", f"/v1/nothing?u=https://u:{CANARY}@x.example/", key=KEY)
    rig.call("GET", "/v1/credits", key=None, headers={"Authorization": f"{CANARY} x"})
    rig.call("GET", "/v1/credits", key=None, headers={"Authorization": f"KEY {CANARY}"})
    rig.call("POST", "/v1/tasks/batch", key=KEY, data=f"client_secret={CANARY}")
    form = {"file": (BytesIO(b"x"), "a.txt"), "api_key": CANARY}
    rig.call("POST", "/api/v1/files/upload/stream", key=KEY, data=form)
    rig.advance(3600)
    return rig


def test_the_canary_is_nowhere(told: Any) -> None:
    """Not as it is, not in base64; and the journal shows that there was something."""
    encoded = base64.b64encode(CANARY.encode())[:-4]
    for name, kept in artefacts(told).items():
        assert CANARY.encode() not in kept, name
        assert encoded not in kept, name
    assert artefacts(told)["journal"].count(b"key-") > 20


def test_equality_is_kept(told: Any) -> None:
    """The URL of the attempt is the URL of the create, and the key is the account's everywhere."""
    entries = told.control("GET", "/journal?limit=1000")["entries"]
    create = entries[0]
    attempts = [entry for entry in entries if entry["kind"] == "attempt"]
    own = f"key-{create['account'][:8]}"

    assert create["request"]["body"]["callback_url"] == attempts[0]["request"]["url"]
    assert attempts[0]["request"]["url"].endswith("&n=1")
    assert create["request"]["headers"]["authorization"] == f"Bearer {own}"
    assert create["request"]["body"]["prompt"] == f"my key is {own}"


def test_live_deliveries_show_the_real_url(told: Any) -> None:
    """Behind the rules of the control protocol: whoever debugs a receiver needs it."""
    (first, *_) = told.control("GET", "/deliveries")["deliveries"]

    assert first["url"] == CALLBACK


def test_the_mask_is_needed(told: Any, monkeypatch: pytest.MonkeyPatch, make: Callable[..., Any]) -> None:
    """Without it on the way in, the canary is in the journal."""
    monkeypatch.setattr(Journal, "_mask_secrets", lambda self, entry: None)
    rig = make()
    rig.call("GET", f"/v1/credits?key={CANARY}", key=KEY)

    assert CANARY.encode() in artefacts(rig)["journal"]


def link_of(rig: Any) -> str:
    """The link to a new video, without its origin."""
    task_id = rig.task("instant")
    rig.advance(100)
    return str(rig.shown(task_id)["results"][0]).partition("/files/")[2]


def test_links_are_forged_by_nobody(make: Callable[..., Any]) -> None:
    """The secret is drawn for each fake, unless a seed asks for the same run again."""
    first, second = link_of(make(start=1e9)), link_of(make(start=1e9))
    seeded, again = link_of(make(start=1e9, seed=0)), link_of(make(start=1e9, seed=0))

    assert first.partition("signature=")[0] == second.partition("signature=")[0]
    assert first != second
    assert seeded == again != first


@pytest.mark.parametrize("time", ["nan", "inf", "-inf", "1e999", "never"])
def test_links_have_a_finite_time(time: str) -> None:
    """Even one that carries the right signature."""
    with pytest.raises(ValueError, match=r"no time|could not convert"):
        check("/files/a/b.mp4", time, _seal(b"secret", "/files/a/b.mp4", time), b"secret")
    with pytest.raises(BadLink):
        check("/files/a/b.mp4", "5.0", "wrong", b"secret")


def test_the_journal_weighs_all_that_it_keeps() -> None:
    """A thousand requests with large headers and URLs stay below its bound, and so does each entry."""
    journal = Journal(total=4 << 20)
    headers = {f"x-{number}": "v" * 100_000 for number in range(4)}
    for _ in range(1000):
        journal.add(0.0, "a", "exchange", method="GET", url="/" + "u" * 100_000, request_headers=headers, status=200)

    kept = journal.entries()
    assert sum(entry.weight for entry in kept) <= 4 << 20
    assert all(entry.weight < 40_000 for entry in kept)
    assert len(kept) > 100
