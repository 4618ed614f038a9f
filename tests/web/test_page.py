"""The page at `/__mock/`: what it shows, what its forms do, and how it behaves when things are odd."""

import re
from collections.abc import Callable
from hashlib import sha256
from html import unescape
from pathlib import Path
from typing import Any

import orjson
import pytest
from werkzeug.test import TestResponse

import kling_mock.web.page
from kling_mock.store.journal import Entry
from kling_mock.web.page import form, words
from kling_mock.web.page.events import Watch
from kling_mock.web.page.facts import Facts, Filter
from kling_openapi.bundle import bundle

Rig = Any  # the fixtures' class, which pytest alone imports
HOOK = "https://8.8.8.8/hook"
IMAGE = "https://image.test/640x480.png"
STATIC = Path(kling_mock.web.page.__file__).parent / "static"
BROWSER = {"Accept": "text/html,application/xhtml+xml,*/*;q=0.8"}


def shown(rig: Rig, path: str, **more: Any) -> TestResponse:
    """A page as a browser asks for it."""
    return rig.app.test_client().get(path, headers=BROWSER, **more)


def text(response: TestResponse) -> str:
    """What a reader sees, roughly: the markup taken out."""
    return " ".join(unescape(re.sub(r"<[^>]+>", " ", response.text)).split())


def press(rig: Rig, path: str, **fields: str) -> TestResponse:
    """A form sent by htmx."""
    return rig.app.test_client().post(path, data=fields, headers={"HX-Request": "true"})


def test_the_page_lists_tasks_accounts_and_the_journal(rig: Rig) -> None:
    """A task that runs, its account and the request that made it stand on one page."""
    task = rig.task()
    rig.advance(6)

    page = text(shown(rig, "/__mock/"))

    assert task in page
    assert "processing" in page
    assert rig.account().name in page
    assert "POST /v1/videos/generations 200" in page


def test_an_empty_fake_says_what_to_do(rig: Rig) -> None:
    """Without tasks, keys or entries each section says so."""
    page = text(shown(rig, "/__mock/"))
    assert "No tasks yet. Make one with the form" in page
    assert "No key has called yet" in page


def test_a_task_tells_its_story(rig: Rig) -> None:
    """Stages, reads in a row, attempts with their outcomes, what is due, and the link's end stand in order of time."""
    rig.receiver.script.extend([500, "timeout"])
    task = rig.task(callback_url=HOOK)
    rig.query(task)
    rig.query(task)
    rig.advance(12.5)

    page = text(shown(rig, f"/__mock/page/tasks/{task}"))

    assert "kling-v3-turbo-image-to-video" in page
    assert "720 px on its short side, 5 s" in page
    story = page[page.index("Story") :]
    lines = [
        "created pending",
        "2 reads pending 0 %",
        "processing",
        "completed 36 credits used",
        "callback attempt 1 status 500",
        "callback attempt 2 in 0 s due",
        "link expires",
    ]
    places = [story.index(line) for line in lines]
    assert places == sorted(places)


def test_a_video_is_played_from_the_pages_own_host(make: Callable[..., Rig]) -> None:
    """The player takes the link's path, wherever links lead for others; nothing is loaded before it is played."""
    rig = make(public_url="https://videos.example")
    task = rig.task()
    rig.advance(20)

    page = shown(rig, f"/__mock/page/tasks/{task}").text

    source = re.search(r'<video[^>]* preload="none" src="(/files/[^"]+)"', page)
    assert source
    assert rig.call("GET", unescape(source[1]), key=None).status_code == 200


def test_a_failed_and_a_cancelled_task_say_why(rig: Rig) -> None:
    """The code stands in the list and in the story."""
    failed = rig.task("failed code=service_error")
    cancelled = rig.task()
    rig.advance(200)
    stuck = rig.task("stuck")
    assert press(rig, f"/__mock/page/tasks/{stuck}/cancel").status_code == 200

    page = text(shown(rig, "/__mock/"))

    assert "service_error" in page
    assert "request_cancelled" in page
    assert "service_error" in text(shown(rig, f"/__mock/page/tasks/{failed}/story"))
    assert "request_cancelled" in text(shown(rig, f"/__mock/page/tasks/{stuck}/story"))
    assert "completed 36 credits used" in text(shown(rig, f"/__mock/page/tasks/{cancelled}/story"))


def test_a_task_that_vanished_is_said_to_be_gone(rig: Rig) -> None:
    """A page, and the part of it that is watched, of a task that was reset while it was open."""
    task = rig.task()
    rig.control("POST", "/reset")
    for path in (f"/__mock/page/tasks/{task}", f"/__mock/page/tasks/{task}/story"):
        response = shown(rig, path)
        assert response.status_code == 404
        assert f"There is no task {task} any more" in text(response)
    assert press(rig, f"/__mock/page/tasks/{task}/cancel").status_code == 404


def test_the_clock_bar_freezes_moves_and_runs(make: Callable[..., Rig]) -> None:
    """Each button is the control call of its name, and says what it did."""
    rig = make(clock="real")
    assert "Clock frozen" in press(rig, "/__mock/page/clock", do="freeze").text
    assert rig.control("GET", "/clock")["mode"] == "manual"
    before = rig.now()
    assert "Advanced 1 d: 0 events" in press(rig, "/__mock/page/clock/86400").text
    assert rig.now() == before + 86400
    assert "x60" in press(rig, "/__mock/page/clock", do="speed", rate="60").text
    assert rig.control("GET", "/clock")["rate"] == 60
    assert "Clock running" in press(rig, "/__mock/page/clock", do="resume").text


def test_two_tabs_that_steer_one_clock_hear_of_each_other(make: Callable[..., Rig]) -> None:
    """A tab that advances a clock which another one has let run is refused in words, and the page goes on."""
    rig = make(clock="real")
    refused = press(rig, "/__mock/page/clock/10")
    assert refused.status_code == 409
    assert "the clock is real" in text(refused)
    assert shown(rig, "/__mock/").status_code == 200


def test_a_form_makes_a_task_through_the_api(rig: Rig) -> None:
    """The form's create is validated, billed and journalled as any other."""
    fields = {"key": "sk-page", "image_start": IMAGE, "duration": "3", "quality": "720p", "prompt": "", "model": MODEL}

    response = press(rig, "/__mock/page/task", **fields)

    assert "Created task-unified-" in response.text
    assert response.headers["HX-Trigger"] == "changed"
    (task,) = rig.account("sk-page").tasks.values()
    assert task.seconds == 3
    assert rig.control("GET", "/journal")["entries"][-1]["task_id"] == task.id


MODEL = "kling-v3-turbo-image-to-video"


@pytest.mark.parametrize(
    ("fields", "status", "said"),
    [
        ({"duration": "99"}, 400, "99 is greater than the maximum"),
        ({"duration": "long"}, 400, "long"),
        ({"key": "nope"}, 401, "no valid API key"),
        ({"image_start": ""}, 400, "image_start"),
    ],
)
def test_a_refused_create_says_why(rig: Rig, fields: dict[str, str], status: int, said: str) -> None:
    """The error's own sentence, in place."""
    given = {"key": "sk-test", "image_start": IMAGE, "model": MODEL, **fields}
    response = press(rig, "/__mock/page/task", **given)
    assert response.status_code == status
    assert said in text(response)


def test_forms_work_without_scripts(rig: Rig) -> None:
    """Without htmx an action gives the whole page back, with its line and with what was typed."""
    given = {"key": "sk-test", "image_start": IMAGE, "model": MODEL, "duration": "99", "prompt": "waves & wind"}
    response = rig.app.test_client().post("/__mock/page/task", data=given, headers=BROWSER)
    assert response.status_code == 400
    assert "99 is greater than the maximum" in text(response)
    assert "waves &amp; wind</textarea>" in response.text


def test_a_scenario_waits_for_the_next_create(rig: Rig) -> None:
    """The picker queues, the page shows what waits, a bad parameter is refused in words."""
    assert press(rig, "/__mock/page/scenario", name="failed", params="code=service_error", times="2").status_code == 200
    assert "failed code=service_error × 2" in text(shown(rig, "/__mock/page/queue"))  # noqa: RUF001
    rig.create()
    assert "× 1" in text(shown(rig, "/__mock/page/queue"))  # noqa: RUF001
    assert press(rig, "/__mock/page/scenario", name="failed", params="code", times="1").status_code == 400
    assert press(rig, "/__mock/page/scenario", name="no-such", params="", times="1").status_code == 400


def test_a_delivery_is_sent_again(rig: Rig) -> None:
    """The button makes one more attempt and says how it ended."""
    task = rig.task(callback_url=HOOK)
    rig.advance(20)
    (delivery,) = rig.control("GET", "/deliveries")["deliveries"]
    assert f"resend-{delivery['id']}" in shown(rig, f"/__mock/page/tasks/{task}").text
    assert "Sent once more: 2xx" in press(rig, f"/__mock/page/deliveries/{delivery['id']}/resend").text
    assert len(rig.receiver.calls) == 2


def test_the_journal_is_filtered(rig: Rig) -> None:
    """By kind, class of status, task, account and text."""
    task = rig.task()
    rig.query(task)
    rig.call("GET", "/v1/nothing")
    rig.create(key="sk-second", duration=99)
    journal = "/__mock/page/journal"

    assert "/v1/nothing" not in text(shown(rig, f"{journal}?task={task}"))
    assert "/v1/nothing" in text(shown(rig, f"{journal}?status=4xx"))
    assert f"GET /v1/tasks/{task}" not in text(shown(rig, f"{journal}?status=4xx"))
    assert "Nothing here" in text(shown(rig, f"{journal}?kind=download"))
    other = text(shown(rig, f"{journal}?account={rig.account('sk-second').name}"))
    assert "duration: 99 is greater" in other
    assert "/v1/nothing" not in other
    assert "Nothing here" in text(shown(rig, f"{journal}?text=no+such+words"))
    assert shown(rig, f"{journal}?before=junk&status=%00&kind=%3Cb%3E").status_code == 200


def test_a_long_journal_is_shown_in_pages(make: Callable[..., Rig]) -> None:
    """Of 10,000 entries a page shows a hundred, newest first, and leads to the older ones."""
    rig = make(journal=10_000)
    for number in range(10_000):
        rig.fake.world.journal.add(float(number), None, "exchange", method="GET", url=f"/v1/n{number}", status=404)

    first = shown(rig, "/__mock/page/journal")
    assert first.text.count("<tr>") == 101
    assert "/v1/n9999" in first.text
    older = re.search(r'href="([^"]+)">Older', first.text)
    assert older
    assert "/v1/n9899" in shown(rig, unescape(older[1])).text
    last = shown(rig, "/__mock/page/journal?before=2")
    assert "/v1/n0" in last.text
    assert "Older" not in last.text


def test_an_entry_is_shown_in_full_and_as_curl(rig: Rig) -> None:
    """Both messages, and a command whose key comes from the shell: the journal has none."""
    rig.create(prompt="it's <here> & $HOME")
    page = shown(rig, "/__mock/page/journal/1")
    assert "sk-test" not in page.text
    assert "&lt;here&gt;" in page.text
    command = unescape(re.search(r'<pre id="curl">(.*?)</pre>', page.text, re.DOTALL)[1])  # type: ignore[index]
    assert '-H "Authorization: Bearer $KLING_API_KEY"' in command
    assert "it'\"'\"'s <here> & $HOME" in command
    assert "http://localhost/v1/videos/generations" in command
    assert shown(rig, "/__mock/page/journal/99").status_code == 404


def test_every_kind_of_entry_has_a_page(rig: Rig) -> None:
    """Clock moves and attempts as well as exchanges."""
    rig.receiver.script.append("refused")
    rig.task(callback_url=HOOK)
    rig.advance(14)
    for entry in rig.control("GET", "/journal")["entries"]:
        page = shown(rig, f"/__mock/page/journal/{entry['seq']}")
        assert page.status_code == 200
        assert entry["kind"] in page.text


def test_what_a_client_sends_is_text_on_the_page(rig: Rig) -> None:
    """A script in a path, a prompt, a scenario or a key is shown, never run."""
    rig.call("GET", "/v1/<script>alert(1)</script>", bent=True)
    rig.create(prompt="<script>alert(2)</script>", bent=True, headers={"X-Mock-Scenario": "<script>alert(3)</script>"})
    for path in ("/__mock/", "/__mock/page/journal", "/__mock/page/journal/1", "/__mock/page/journal/2", "/<script>x"):
        page = shown(rig, path)
        assert "<script>alert" not in page.text
        assert "<script>x" not in page.text
        policy = page.headers["Content-Security-Policy"]
        assert "default-src 'none'; script-src 'self'" in policy
        assert "frame-ancestors 'none'" in policy


@pytest.mark.parametrize("path", ["/nothing", "/v2/videos", "/__mock/nothing", "/__mock/page/nothing", "/files/x"])
def test_a_browser_at_an_unknown_path_finds_five_ways_on(rig: Rig, path: str) -> None:
    """A page with five links; a program gets the error that it always got."""
    page = shown(rig, path)
    assert page.status_code == 404
    assert page.mimetype == "text/html"
    assert page.text.count("<li><a href=") == 5
    assert f'<h1>404: nothing at <span class="url">{path}</span></h1>' in page.text
    assert "<title>404 · kling-mock</title>" in page.text
    assert page.text.count("Invalid URL") == 1
    for link in re.findall(r'<li><a href="([^"]+)"', page.text):
        assert shown(rig, link).status_code == 200, link
    program = rig.app.test_client().get(path)
    assert program.mimetype == "application/json"


@pytest.mark.parametrize("path", ["/", "/__mock"])
def test_the_bare_host_leads_a_browser_to_the_page(rig: Rig, path: str) -> None:
    """Typed without a path, it opens; a program still sees the service's 404."""
    assert shown(rig, path).headers["Location"] == "/__mock/"
    assert rig.app.test_client().get(path).mimetype == "application/json"


def test_the_contract_is_served_and_rendered_with_grades(rig: Rig) -> None:
    """`/openapi.json` is the contract bundled for this fake's own origin; the viewer's copy says of each statement where it comes from."""
    plain, graded = rig.app.test_client().get("/openapi.json"), rig.app.test_client().get("/__mock/docs/openapi.json")
    contract = rig.fake.world.contract
    own = bundle(contract.family, server="/", models=contract.models)
    assert plain.json == orjson.loads(
        orjson.dumps({**own, "servers": [{"url": "http://localhost", "description": "This fake."}]})
    )
    assert {(method, path) for path, item in plain.json["paths"].items() for method in item} >= {
        ("post", "/v1/videos/generations"),
        ("get", "/v1/tasks/{task_id}"),
        ("post", "/api/v1/files/upload/url"),
    }
    duration = graded.json["components"]["schemas"]["Duration"]["description"]
    assert "**Grade D** (doc:3, doc:31" in duration
    assert "**A** assumed" in graded.json["info"]["description"]
    assert graded.json["servers"][0]["url"] == "/"
    assert '<div id="contract">' in shown(rig, "/__mock/docs").text


def test_another_machine_needs_the_token_and_can_type_it(make: Callable[..., Rig]) -> None:
    """Off the loopback the page asks for the admin token; typed, it opens the page through a cookie that scripts cannot read."""
    rig = make(admin_token="open sesame")
    away = {"REMOTE_ADDR": "192.0.2.7"}
    client = rig.app.test_client()
    refused = client.get("/__mock/", headers=BROWSER, environ_overrides=away)
    assert refused.status_code == 403
    assert "--admin-token" in refused.text
    assert client.post("/__mock/page/clock", data={"do": "freeze"}, environ_overrides=away).status_code == 403
    assert client.post("/__mock/page/task", data={"key": "sk-test"}, environ_overrides=away).status_code == 403
    typed = client.post("/__mock/page/login", data={"token": "open sesame"}, environ_overrides=away)
    assert "HttpOnly" in typed.headers["Set-Cookie"]
    assert "SameSite=Strict" in typed.headers["Set-Cookie"]
    assert client.get("/__mock/", headers=BROWSER, environ_overrides=away).status_code == 200
    assert client.post("/__mock/page/clock", data={"do": "freeze"}, environ_overrides=away).status_code == 200
    client.post("/__mock/page/login", data={"token": "wrong"}, environ_overrides=away)
    assert client.get("/__mock/", headers=BROWSER, environ_overrides=away).status_code == 403


def test_events_say_when_something_changed(rig: Rig) -> None:
    """The first look tells the time; later ones only what changed since."""
    watch = Watch(Facts(rig.fake))
    first = watch.news()
    assert "event: clock\ndata: " in first
    assert "event: change" in first
    assert watch.news() == ""
    rig.task()
    assert watch.news() == "event: change\ndata:\n\n"
    rig.advance(1)
    assert "event: clock" in watch.news()
    silent = [watch.news() for _ in range(40)]
    assert ": still here\n\n" in silent


def test_a_clock_beyond_the_calendar_is_shown_in_seconds(make: Callable[..., Rig]) -> None:
    """A fake whose clock stands after the year 9999 has a page too."""
    rig = make(start=400_000_000_000.0)
    rig.task()
    assert "400000000000 s" in text(shown(rig, "/__mock/"))


def test_looking_changes_nothing(rig: Rig) -> None:
    """The page reads no task, opens no link, writes no journal and sees every account alike."""
    task = rig.task()
    rig.advance(20)
    before = rig.control("GET", f"/tasks/{task}"), rig.control("GET", "/journal")
    for path in (
        "/__mock/",
        f"/__mock/page/tasks/{task}",
        "/__mock/page/journal",
        "/__mock/docs",
        "/nothing-at-all/..",
    ):
        shown(rig, path)
    after = rig.control("GET", f"/tasks/{task}"), rig.control("GET", "/journal")
    assert after[0] == before[0]
    assert [one["kind"] for one in after[1]["entries"] if one not in before[1]["entries"]] in ([], ["exchange"])


def test_packaged_scripts_are_those_that_were_taken() -> None:
    """Each vendored file has the checksum written down when it was taken, a version and a licence beside it."""
    vendor = STATIC / "vendor"
    listed = dict(reversed(line.split()) for line in (vendor / "SHA256SUMS.txt").read_text().splitlines())
    scripts = {f"./{file.name}" for file in vendor.iterdir() if file.suffix in (".js", ".css")}
    assert set(listed) == scripts
    for name, digest in listed.items():
        assert sha256((vendor / name).read_bytes()).hexdigest() == digest
    for line in (vendor / "VERSIONS.txt").read_text().splitlines():
        assert (vendor / f"{line.split()[0].removesuffix('.org')}.LICENSE.txt").exists()


def test_assets_are_served_and_nothing_around_them(rig: Rig) -> None:
    """Style and scripts have their types; a path that climbs out finds nothing."""
    client = rig.app.test_client()
    for name, kind in (("page.css", "text/css"), ("vendor/htmx.min.js", "text/javascript")):
        with client.get(f"/__mock/assets/{name}") as response:
            assert response.mimetype == kind
            assert response.data
    assert client.get("/__mock/assets/../routes.py").status_code >= 400
    assert client.get("/__mock/assets/%2e%2e/routes.py").status_code >= 400


def test_the_form_follows_the_contract(rig: Rig) -> None:
    """A field for each property of the create that is taken, with its bounds and choices."""
    made = {field.name: field for field in form.fields(rig.fake.world.contract.document)}
    duration = rig.fake.world.contract.document["components"]["schemas"]["Duration"]
    assert "aspect_ratio" not in made
    assert (made["duration"].low, made["duration"].high) == (duration["minimum"], duration["maximum"])
    assert made["quality"].choices == ("720p", "1080p")
    assert made["image_start"].required
    assert form.body(list(made.values()), {"duration": " 7 ", "prompt": ""}) == {"duration": 7}


@pytest.mark.parametrize(
    ("seconds", "shown"), [(0, "0 s"), (59.9, "59 s"), (60, "1 min"), (3661, "1 h 1 min"), (90_000, "1 d 1 h")]
)
def test_spans_are_written_in_two_units(seconds: float, shown: str) -> None:
    """What is left of a link, in words."""
    assert words.span(seconds) == shown


def test_a_curl_command_of_a_body_that_is_not_text() -> None:
    """Bytes that are no text do not break the page."""
    entry = Entry(1, 0.0, None, "exchange", method="PUT", url="/x", request_headers={}, request_body=b"\xff\x00")
    assert words.curl(entry, "http://h").startswith("curl -sS -X PUT http://h/x")


def test_a_filter_without_limits_takes_everything() -> None:
    """Nothing chosen hides nothing."""
    assert Filter().takes(Entry(1, 0.0, None, "clock"))
