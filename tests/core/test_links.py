"""Links: the same facts the same link, dead on time, no letter of it to be changed."""

from urllib.parse import parse_qs, urlsplit

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from kling_mock.core.links import BadLink, Link, check, issue

ORIGIN = "http://127.0.0.1:4010"
TASK = "task-unified-1757169743-7cvnl5zw"
SECRET = b"a secret"

moments = st.floats(0.0, 4e9)
lifetimes = st.floats(0.0, 1e6)
texts = st.text(max_size=40)


def parts(link: Link) -> tuple[str, str, str]:
    """Path, expiry and signature of *link*."""
    split = urlsplit(link.url)
    query = parse_qs(split.query)
    return split.path, query["expires"][0], query["signature"][0]


def link_of(issued: float = 1_757_169_808.0, lifetime: float = 60.0) -> Link:
    """A link to the video of the usual task."""
    return issue(ORIGIN, "5f2b9c3d", TASK, issued, lifetime, SECRET)


@given(issued=moments, lifetime=lifetimes)
def test_a_link_dies_exactly_at_its_end(issued: float, lifetime: float) -> None:
    """Alive a moment before, dead at it; and what is read back from the URL is that very moment."""
    link = link_of(issued, lifetime)

    assert link.expired(link.expires_at)
    assert not link.expired(link.expires_at - 0.001)
    assert link.expires_at == round(issued + lifetime, 6)
    assert check(*parts(link), SECRET) == link.expires_at


@given(issued=moments, lifetime=lifetimes)
def test_the_same_facts_give_the_same_link(issued: float, lifetime: float) -> None:
    """Reading a task again shows the link that was shown before."""
    assert link_of(issued, lifetime) == link_of(issued, lifetime)


@given(expires=texts, signature=texts)
def test_a_tampered_time_or_signature_is_refused(expires: str, signature: str) -> None:
    """Whatever stands in its place, lone surrogates and other alphabets included."""
    path, true_expires, true_signature = parts(link_of())
    assume((expires, signature) != (true_expires, true_signature))

    for shown in ((expires, true_signature), (true_expires, signature), (expires, signature)):
        if shown != (true_expires, true_signature):
            with pytest.raises(BadLink):
                check(path, *shown, SECRET)


def test_lone_surrogates_are_refused_like_the_rest() -> None:
    """Bytes that are no text reach the check as surrogates."""
    path, expires, signature = parts(link_of())

    for shown in (("\udcff", signature), (expires, "\udcff")):
        with pytest.raises(BadLink):
            check(path, *shown, SECRET)


@pytest.mark.parametrize("path", [f"/files/other/{TASK}.mp4", "/files/5f2b9c3d/other.mp4", "", "/"])
def test_a_signature_opens_one_path_only(path: str) -> None:
    """Neither another account's video nor another task's."""
    _, expires, signature = parts(link_of())

    with pytest.raises(BadLink):
        check(path, expires, signature, SECRET)


def test_another_secret_makes_another_seal() -> None:
    """A fake with another seed does not open this one's links."""
    with pytest.raises(BadLink):
        check(*parts(link_of()), b"another secret")


def test_every_letter_of_the_signature_counts() -> None:
    """Change any one of them, and it does not fit."""
    path, expires, signature = parts(link_of())

    for place, letter in enumerate(signature):
        other = "0" if letter != "0" else "1"
        with pytest.raises(BadLink):
            check(path, expires, signature[:place] + other + signature[place + 1 :], SECRET)
