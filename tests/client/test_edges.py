"""Moments that seldom come: a wait that just fits or just does not, a file that is gone between two looks."""

import os

import pytest

from kling_client import RateLimited
from kling_client.lock import Lock


def test_a_429_is_waited_for_only_as_long_as_the_deadline_leaves(client, service, kit, time):
    """What was waited already counts: the first wait fits into the 600 s, the second would pass them."""
    service.on(
        "create", kit.refused(429, Retry_After="500"), kit.refused(429, Retry_After="200"), kit.answer(kit.task())
    )

    with pytest.raises(RateLimited):
        client.create(kit.image)

    assert len(service.seen("create")) == 2
    assert 500 <= sum(time.naps) < 600


def test_a_lock_that_is_released_while_it_is_looked_at_is_taken(tmp_path, time, monkeypatch):
    """Its file was there, and is gone when it is read."""
    lock = Lock(tmp_path / "out.mp4.kling.lock", time.clock, time.sleep)
    link, refusals = os.link, [FileExistsError()]

    def linked(*names):
        if refusals:
            raise refusals.pop()
        link(*names)

    monkeypatch.setattr(os, "link", linked)

    with lock.held():
        assert lock.path.exists()

    assert not refusals
    assert not lock.path.exists()
