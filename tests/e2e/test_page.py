"""The page in Chromium: live without reloading, steered by keyboard alone, readable on a phone, closed to other sites."""

import shutil
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import Any
from urllib.parse import quote, unquote

import pytest
import requests
from playwright.sync_api import Browser, Page, expect, sync_playwright

from kling_mock.serving.process import Running

pytestmark = pytest.mark.e2e

MODEL = "kling-v3-turbo-image-to-video"
KEY = {"authorization": "Bearer sk-browser"}


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """The system's Chromium."""
    chromium = shutil.which("chromium")
    assert chromium, "scripts/setup-system installs Chromium"
    with sync_playwright() as playwright:
        started = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox", "--disable-gpu"])
        yield started
        started.close()


@pytest.fixture
def fake() -> Iterator[Running]:
    """A fake whose clock stands still."""
    with Running(["--clock", "manual", "--start", "2025-09-06T14:42:23Z"]) as running:
        yield running


@pytest.fixture
def page(browser: Browser) -> Iterator[Page]:
    """A fresh tab that fails the test for whatever its console complains of."""
    context = browser.new_context(viewport={"width": 1280, "height": 900})
    tab = context.new_page()
    complaints: list[str] = []
    tab.on("pageerror", lambda error: complaints.append(str(error)))
    tab.on("console", lambda said: complaints.append(said.text) if "Content Security" in said.text else None)
    yield tab
    context.close()
    assert complaints == []


def create(fake: Running, **body: Any) -> str:
    """A task made by a program."""
    body = {"model": MODEL, "image_start": "https://image.test/640x480.png", "duration": 3, **body}
    answer = requests.post(f"{fake.url}/v1/videos/generations", json=body, headers=KEY, timeout=60)
    return str(answer.json()["id"])


def test_a_task_made_elsewhere_appears_and_runs_by_buttons(fake: Running, page: Page) -> None:
    """Without a reload: a program's task comes up, the clock's buttons complete it, a second tab sees the same clock."""
    page.goto(f"{fake.url}/")
    assert page.url.endswith("/__mock/")
    second = page.context.new_page()
    second.goto(f"{fake.url}/__mock/")

    task = create(fake)
    expect(page.get_by_role("link", name=task)).to_be_visible()
    page.get_by_role("button", name="+1 h").click()

    expect(page.get_by_text("Advanced 1 h: 2 events")).to_be_visible()
    expect(page.locator(".pill.completed")).to_be_visible()
    expect(second.locator(".pill.completed")).to_be_visible()
    expect(second.locator(".clock time")).to_have_text("2025-09-06 15:42:23")


def test_the_form_makes_a_task_and_its_video_plays(fake: Running, page: Page) -> None:
    """From an empty fake to a playing video with nothing but the page."""
    page.goto(f"{fake.url}/__mock/")
    page.get_by_label("duration").fill("3")
    page.get_by_role("button", name="Create").click()
    expect(page.get_by_text("Created task-unified-")).to_be_visible()
    page.get_by_role("button", name="+1 h").click()
    expect(page.locator(".pill.completed")).to_be_visible()
    page.locator("a[id^=task-]").click()
    video = page.locator("video")
    video.evaluate("video => { video.muted = true; return video.play(); }")
    assert video.evaluate("video => video.videoWidth") == 1280
    expect(page.get_by_text("link expires")).to_be_visible()


def test_the_keyboard_alone_is_enough(fake: Running, page: Page) -> None:
    """Tab and Enter reach the clock, and the focus stays where it was when the bar is drawn anew."""
    page.goto(f"{fake.url}/__mock/")
    page.keyboard.press("Tab")
    expect(page.get_by_role("link", name="Skip to content")).to_be_focused()
    page.locator("#clock-60").focus()
    page.keyboard.press("Enter")
    expect(page.get_by_text("Advanced 1 min")).to_be_visible()
    expect(page.locator(".clock time")).to_have_text("2025-09-06 14:43:23")
    expect(page.locator("#clock-60")).to_be_focused()
    page.locator("#clock-toggle").focus()
    page.keyboard.press("Enter")
    expect(page.locator("#clock-toggle")).to_have_text("Freeze")
    expect(page.locator("#clock-toggle")).to_be_focused()


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [400, 1280])
def test_every_page_fits_its_screen(fake: Running, browser: Browser, scheme: Any, width: int) -> None:
    """No page scrolls sideways, at a phone's width or a desk's; text and ground differ enough in both schemes."""
    task = create(fake, prompt="w" * 200, callback_url="https://8.8.8.8/" + "h" * 300)
    context = browser.new_context(viewport={"width": width, "height": 800}, color_scheme=scheme)
    tab = context.new_page()
    for path in (
        "/__mock/",
        f"/__mock/page/tasks/{task}",
        "/__mock/page/journal",
        "/__mock/page/journal/1",
        "/nothing",
    ):
        tab.goto(f"{fake.url}{path}")
        assert tab.evaluate("document.documentElement.scrollWidth") <= width, path
        assert tab.evaluate(CONTRAST) >= 7, path
    context.close()


CONTRAST = """() => {
  const light = (color) => {
    const [r, g, b] = color.match(/[\\d.]+/g).map((part) => part / 255).map((c) => c <= 0.04045 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4);
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  const style = getComputedStyle(document.body);
  const [high, low] = [light(style.color), light(style.backgroundColor)].sort((a, b) => b - a);
  return (high + 0.05) / (low + 0.05);
}"""


def test_the_contract_is_rendered_from_the_package(fake: Running, page: Page) -> None:
    """The viewer draws the operations and their grades, and asks no other host for anything."""
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    page.goto(f"{fake.url}/__mock/docs")
    expect(page.get_by_text("Create a task.")).to_be_visible(timeout=30_000)
    expect(page.get_by_text("Grades of evidence:")).to_be_visible()
    assert all(url.startswith((fake.url, "data:")) for url in asked)


def test_a_journal_entry_is_copied_as_curl(fake: Running, page: Page) -> None:
    """The button leaves the command on the clipboard."""
    create(fake)
    page.context.grant_permissions(["clipboard-read", "clipboard-write"])
    page.goto(f"{fake.url}/__mock/page/journal/1")
    page.get_by_role("button", name="Copy").click()
    expect(page.get_by_role("button", name="Copied")).to_be_visible()
    copied = page.evaluate("navigator.clipboard.readText()")
    assert copied.startswith("curl -sS -X POST")
    assert "$KLING_API_KEY" in copied


def test_a_task_that_vanishes_while_it_is_watched(fake: Running, page: Page) -> None:
    """An open task whose fake is reset says that it is gone; the page goes on."""
    task = create(fake)
    page.goto(f"{fake.url}/__mock/page/tasks/{task}")
    expect(page.get_by_role("heading", name="Story")).to_be_visible()
    requests.post(f"{fake.url}/__mock/reset", timeout=60)
    expect(page.get_by_text(f"There is no task {task} any more")).to_be_visible()


def test_closed_pages_are_let_go(fake: Running, browser: Browser) -> None:
    """A hundred pages opened and left do not keep the fake from stopping at once, or from answering."""
    for _ in range(100):
        with requests.get(f"{fake.url}/__mock/page/events", stream=True, timeout=60) as events:
            assert next(events.iter_lines()) == b"event: clock"
    assert requests.get(f"{fake.url}/__mock/health", timeout=60).ok


class Elsewhere(BaseHTTPRequestHandler):
    """Another site: a page whose form resets the fake that its query names."""

    def do_GET(self) -> None:
        """The page."""
        target = unquote(self.path.partition("?")[2])
        body = f'<form method="post" action="{target}/__mock/page/reset"><button>Free videos</button></form>'.encode()
        self.send_response(200)
        self.send_header("content-type", "text/html")
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - its name in http.server
        """Say nothing."""


def test_another_site_cannot_steer_the_fake(fake: Running, page: Page) -> None:
    """A form of another origin that would reset it is refused, and the task is still there."""
    task = create(fake)
    with ThreadingHTTPServer(("127.0.0.1", 0), Elsewhere) as site:
        Thread(target=site.serve_forever, daemon=True).start()
        page.goto(f"http://127.0.0.1:{site.server_port}/?{quote(fake.url)}")
        page.get_by_role("button", name="Free videos").click()
        expect(page.get_by_text("This page is closed to you")).to_be_visible()
        site.shutdown()
    assert [one["id"] for one in requests.get(f"{fake.url}/__mock/tasks", timeout=60).json()["tasks"]] == [task]
