"""What the fake has in memory: when it has answered one query, after many requests, and after many videos that had to be rendered."""

import sys
from typing import Any
from urllib.parse import urlsplit

import click
from load import CREATE, IMAGE, Call, LoadError, call, connect, load_of, request_body, wrk
from page import footprint_lines
from processes import Watched
from report import MB
from speeds import FREE
from target_options import the_fake
from targets import FAKE

import kling_openapi

AT_START = 60.0
"""MB that a fake may take when it has answered one query; issue 17."""
MORE = 0.2
"""Share of that by which it may grow, besides what it says it keeps."""
JOURNAL_MB = 5.0
"""What a full journal of 1,000 entries takes, with a small body in each."""
CACHES_MB = (64 + 16) * 1.048576
"""What is kept of rendered videos and of drawn pictures; docs/security.md."""
LATER_MB = 40.0
"""Pillow, the encoder with its libraries, and Flask: they come with the first video and stay."""


def footprint(requests: int, renders: int) -> dict[str, Any]:
    """Return bytes at the start, after so many requests, and after so many renderings of 15 s in 1080p.

    Raises:
        LoadError: a call is refused.
    """
    body = request_body(kling_openapi.read(kling_openapi.SERVICE))
    with the_fake(f"{FAKE} --scenario instant", None, None, False) as (base, process):
        call(connect(base), "GET", "/v1/tasks")
        found: dict[str, Any] = {"requests": requests, "renders": renders, "start": process.rss()}
        _ask(base, body, requests)
        found["after_requests"] = process.rss()
        found["seconds"] = _render(base, process, body, renders)
        found["after_renders"] = process.rss()
    return found


def _ask(base: str, body: dict[str, Any], requests: int) -> None:
    """Make so many requests that leave no task: queries, creates that are refused, and creates that repeat one."""
    task_id = call(connect(base), "POST", CREATE, body)["id"]
    repeated = Call("POST", CREATE, load_of("POST", CREATE, body).body, {"Idempotency-Key": "footprint-of-the-fake"})
    for one in (
        load_of("GET", f"/v1/tasks/{task_id}", body),
        load_of("POST", CREATE, {**body, "duration": 99}),
        repeated,
    ):
        made = 0
        while made < requests / 3:
            made += wrk(base, one, 2, FREE)["requests"]


def _render(base: str, process: Watched, body: dict[str, Any], renders: int) -> float:
    """Download so many videos, each of a size of its own; return the processor seconds of one."""
    connection, before = connect(base), process.cpu()
    for number in range(renders):
        image = IMAGE.replace("1280x720", f"{1920 + 2 * number}x1080")
        task_id = call(connection, "POST", CREATE, {**body, "image_start": image, "duration": 15, "quality": "1080p"})[
            "id"
        ]
        link = urlsplit(call(connection, "GET", f"/v1/tasks/{task_id}")["results"][0])
        connection.request("GET", f"{link.path}?{link.query}")
        answer = connection.getresponse()
        if answer.status != 200 or not answer.read():
            raise LoadError(f"GET {link.path}: {answer.status}")
    return (process.cpu() - before) / max(renders, 1)


@click.command()
@click.option("--requests", default=100_000, show_default=True, type=click.IntRange(0), help="Requests to make.")
@click.option("--renders", default=50, show_default=True, type=click.IntRange(0), help="Videos to render.")
def main(requests: int, renders: int) -> None:
    """Print what the fake has in memory; exit 1 where that is too much."""
    try:
        found = footprint(requests, renders)
    except LoadError as error:
        raise click.ClickException(str(error)) from error
    click.echo("\n".join(footprint_lines(found)))
    start = found["start"] / MB
    most = start * (1 + MORE)
    kept = (
        start < AT_START,
        found["after_requests"] / MB < most + JOURNAL_MB,
        found["after_renders"] / MB < most + JOURNAL_MB + CACHES_MB + LATER_MB,
    )
    click.echo(
        "kept"
        if all(kept)
        else f"missed: under {AT_START:.0f} MB at the start, and within {MORE:.0%} of it and what it keeps"
    )
    sys.exit(0 if all(kept) else 1)


if __name__ == "__main__":
    main()
