"""Judges of clients at their limits: every code of a kind, and what stands just outside it."""

import pytest
from scene import Scene, judged


@pytest.mark.parametrize(
    ("status", "accused"), [(400, True), (401, True), (402, True), (403, True), (404, True), (429, False), (500, False)]
)
def test_a_refused_create_is_not_repeated_whatever_refused_it(status: int, accused: bool) -> None:
    """CM-05: not after what will be refused again; after 429 and 5xx other rules say what may be done."""
    scene = Scene("CM-05").create(status).create(status).told(4)

    assert bool(judged("CM-05", scene.recorder.events).findings) is accused
