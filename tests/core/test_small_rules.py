"""Small rules at their limits: microseconds, cents, names that are nearly right, names of files that are too long."""

from math import inf

import pytest

from kling_mock.core.errors import ApiError, FileFailed, FileRefused, documented
from kling_mock.core.links import Link
from kling_mock.core.moments import after, moment, reached
from kling_mock.core.names import shown_name
from kling_mock.core.nearest import did_you_mean, nearest
from kling_mock.core.prices import Prices, whole

START = 1_757_169_743.0


@pytest.mark.parametrize("start", [0.0, START, START + 0.3, START + 0.000_001])
def test_a_moment_is_reached_at_its_microsecond(start: float) -> None:
    """Whatever a sum of floats makes of it, and not one earlier."""
    for seconds in [0.0, 0.000_001, *(tenth / 10 for tenth in range(1, 400)), 86_399.999_999]:
        due = after(start, seconds)
        assert reached(due, start, seconds)
        assert reached(due + 1e-6, start, seconds)
        assert reached(due + 5.0, start, seconds)
        assert not reached(due - 1e-6, start, seconds)
        assert not reached(due - 5.0, start, seconds)
    assert not reached(start + 1e9, start, inf)


@pytest.mark.parametrize(
    ("seconds", "shown"), [(1.234_567_4, 1.234_567), (1.234_567_6, 1.234_568), (-1.5, -1.5), (7, 7), (inf, inf)]
)
def test_moments_are_whole_microseconds(seconds: float, shown: float) -> None:
    """Rounded to the nearest; no end stays none."""
    assert moment(seconds) == after(0.0, seconds) == shown


@pytest.mark.parametrize(
    ("per_second", "minimum", "units", "seconds", "cost"),
    [
        (7.2, 21.6, 10_000, 2, 21.6),
        (7.2, 21.6, 10_000, 3, 21.6),
        (7.2, 21.6, 10_000, 3.001, 21.6072),
        (7.2, 21.6, 10_000, 5, 36),
        (0.5, 0.0, 1, 1, 1),
        (0.5, 0.0, 1, 3, 2),
        (0.5, 0.0, 1, 5, 3),
        (0.49, 0.0, 1, 1, 0),
        (0.1, 0.0, 10, 3, 0.3),
        (0.04, 0.0, 10, 1, 0),
        (0.05, 0.0, 10, 1, 0.1),
        (1.0, 0.5, 1, 0.25, 1),
    ],
)
def test_a_price_is_rounded_half_up_to_a_unit(
    per_second: float, minimum: float, units: int, seconds: float, cost: float
) -> None:
    """At least the minimum; a whole number is shown without a point."""
    found = Prices({"720p": per_second, "1080p": 1000.0}, minimum, units).cost("720p", seconds)

    assert (found, type(found)) == (cost, type(cost))


@pytest.mark.parametrize(
    ("credits_", "shown"),
    [
        (64.8 - 21.6 - 21.6, 21.6),
        (3.0, 3),
        (2.999_999_9, 3),
        (2.000_001, 2.000_001),
        (2.000_000_4, 2),
        (-0.0, 0),
        (-1.5, -1.5),
    ],
)
def test_a_sum_of_credits_has_six_digits(credits_: float, shown: float) -> None:
    """And none behind the point where they are all nought."""
    assert (whole(credits_), type(whole(credits_))) == (shown, type(shown))


@pytest.mark.parametrize(
    ("given", "found"),
    [
        ("abcde", "abcde"),
        ("abcxy", "abcde"),
        ("abxyz", None),
        ("imgae_start", "image_start"),
        ("", None),
        ("x" * 9000, None),
    ],
)
def test_a_name_that_is_nearly_right_is_suggested(given: str, found: str | None) -> None:
    """Where three letters of five are right, and no less."""
    known = ["abcde", "image_start"]

    assert nearest(given, known) == found
    assert did_you_mean(given, known) == ("" if found is None else f"; did you mean {found!r}?")


@pytest.mark.parametrize(
    ("name", "most", "shown"),
    [
        ("a.png", 5, "a.png"),
        ("ab.png", 5, "a.png"),
        ("x" * 40 + "." + "s" * 16, 20, "xxx." + "s" * 16),
        ("x" * 40 + "." + "s" * 17, 20, "x" * 20),
        ("x" * 40, 20, "x" * 20),
        ("é" * 11, 21, "é" * 10),
        ('a<b>c:d"e|f?g*h', 255, "a_b_c_d_e_f_g_h"),
        ("folder/sub\\last.png", 255, "last.png"),
        (" .hidden. ", 255, "hidden"),
        ("a\u202eb\tc", 255, "abc"),
        ("e\u0301", 255, "é"),
        ("...", 255, ""),
    ],
)
def test_a_name_of_a_file_is_cut_before_its_suffix(name: str, most: int, shown: str) -> None:
    """In bytes; a suffix of more than sixteen is none."""
    assert shown_name(name, most) == shown


@pytest.mark.parametrize(("now", "dead"), [(9.0, False), (9.999_999, False), (10.0, True), (11.0, True)])
def test_a_link_is_dead_from_its_last_moment_on(now: float, dead: bool) -> None:
    """That moment included."""
    assert Link("https://files.test/a", 0.0, 10.0).expired(now) is dead


def test_an_error_says_what_it_was_given_and_no_more() -> None:
    """The same of each kind; what names a finer number of the file host is its own."""
    for kind in documented().values():
        error = kind("so it is")
        assert (str(error), error.message, error.param, error.headers) == ("so it is", "so it is", None, {})
        assert error.entry == kind.__name__
    error = ApiError("so it is", param="model", headers={"Retry-After": "3"})
    assert (error.param, error.headers) == ("model", {"Retry-After": "3"})
    assert (FileRefused("no").why, FileRefused("no", why="size", param="file").why, FileFailed("no").why) == (
        "",
        "size",
        "storage",
    )
    assert FileRefused("no", why="size", param="file").param == "file"
