"""Names of files as callers send them: never a path, never too long, the suffix kept where there is one."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kling_mock.core.names import shown_name


@pytest.mark.parametrize(
    ("sent", "most", "shown"),
    [
        ("photo.jpg", 100, "photo.jpg"),
        ("../../etc/passwd", 100, "passwd"),
        ("C:\\pictures\\photo.jpg", 100, "photo.jpg"),
        ("a" * 50 + ".jpg", 20, "a" * 16 + ".jpg"),
        ("a" * 50, 20, "a" * 20),
        ("a." + "b" * 50, 20, "a." + "b" * 18),
        ("." * 9, 20, ""),
        ("写真" * 9 + ".png", 10, "写真.png"),
        ("a\u202egnp.exe", 100, "agnp.exe"),
    ],
)
def test_a_name_is_made_fit(sent: str, most: int, shown: str) -> None:
    """What is left of it."""
    assert shown_name(sent, most) == shown


@given(sent=st.text(max_size=80), most=st.integers(20, 60))
def test_no_name_leads_anywhere(sent: str, most: int) -> None:
    """Whatever was sent: printable, short enough, no separator and no dot at its ends; and made fit again it stays as it is."""
    shown = shown_name(sent, most)

    assert len(shown.encode()) <= most
    assert shown.isprintable()
    assert not set("/\\") & set(shown)
    assert shown == shown.strip(" .")
    assert shown_name(shown, most) == shown
