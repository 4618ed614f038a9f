"""What uploads are made of, without a server: names that can be shown, and bytes on disk."""

import io
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from PIL import Image

from kling_mock.core import upload_tokens
from kling_mock.core.names import shown_name
from kling_mock.media.signatures import media_type
from kling_mock.store.disk import Disk
from kling_mock.store.interface import NoRoom


def picture(kind: str) -> bytes:
    """A small file of this format."""
    buffer = io.BytesIO()
    Image.new("RGB", (8, 8)).save(buffer, kind)
    return buffer.getvalue()


@given(name=st.text(max_size=300))
@example("../../etc/passwd")
@example("..\\..\\boot.ini")
@example("/")
@example("..")
@example("a\0b.png")
@example("x" * 400 + ".jpeg")
@example("写" * 200 + ".png")
@example("\u202egnp.exe")
@settings(max_examples=150, deadline=None)
def test_names_are_harmless(name: str) -> None:
    """
    No separator, no control character, no dots at the ends, at most so many bytes; a second time it changes nothing.
    """
    shown = shown_name(name, 255)
    assert len(shown.encode()) <= 255
    assert shown.isprintable()
    assert not set(shown) & set('/\\<>:"|?*')
    assert shown == shown.strip(" .")
    assert shown_name(shown, 255) == shown


def test_a_long_name_keeps_its_suffix() -> None:
    """
    So that people and programs still see what it is.
    """
    assert shown_name("x" * 400 + ".jpeg", 20) == "x" * 15 + ".jpeg"
    assert shown_name("写" * 10 + ".png", 20) == "写" * 5 + ".png"


def test_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """
    A blob is on disk as long as somebody holds it; without a place to write it is NoRoom, and nothing counts as held.
    """
    disk = Disk(10)
    blob = disk.keep(io.BytesIO(b"12345"))
    assert (blob.read(), blob.path.read_bytes(), disk.held) == (b"12345", b"12345", 5)
    with pytest.raises(NoRoom, match="10 bytes"):
        disk.keep(io.BytesIO(b"123456"))
    place = blob.path
    del blob
    assert (place.exists(), disk.held) == (False, 0)
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "nowhere"))
    nowhere = Disk(10)
    with pytest.raises(NoRoom, match="No such file"):
        nowhere.keep(io.BytesIO(b"1"))
    assert nowhere.held == 0


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        *((picture(kind), f"image/{kind}") for kind in ("jpeg", "png", "gif", "webp", "bmp", "tiff")),
        (b"\0\0\0\x18ftypisom\0\0\0\0isommp42", "video/mp4"),
        (b"\0\0\0\x14ftypqt  ", "video/quicktime"),
        (b"\x1aE\xdf\xa3...", "video/webm"),
        (b"RIFF....WAVEfmt ", "audio/wav"),
        (b"%PDF-1.7", "application/pdf"),
        (b"<!DOCTYPE html><script>", "text/html"),
        (b'<?xml version="1.0"?>\n<svg xmlns="x">', "image/svg+xml"),
        (b"BM, said he", "application/octet-stream"),
        (b"\0", "application/octet-stream"),
    ],
)
def test_types_come_from_the_content(data: bytes, expected: str) -> None:
    """
    A file is what its first bytes say.
    """
    assert media_type(data) == expected


def test_what_killed_fakes_left_is_removed(tmp_path, monkeypatch):
    """By the next one that keeps an upload; folders of fakes that run, and of others, stay."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    running = Disk(100)
    kept = running.keep(io.BytesIO(b"kept"))
    code = (
        "import io, os; from kling_mock.store.disk import Disk; disk = Disk(9); blob = disk.keep(io.BytesIO(b'x'));"
        "print(blob.path.parent, flush=True); os.kill(os.getpid(), 9)"
    )
    killed = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, env={**os.environ, "TMPDIR": str(tmp_path)}
    )
    left, other = Path(killed.stdout.strip()), tmp_path / "kling-mock-notes"
    other.mkdir()
    assert left.is_dir()

    Disk(100).keep(io.BytesIO(b"abc"))

    assert not left.exists()
    assert kept.read() == b"kept"
    assert other.is_dir()


@pytest.mark.parametrize("moment", ["", "soon", "-1", "1.5", " 1", "\u0661\u0662", "\u00b2", "1" * 16, "1e3"])
def test_a_token_with_a_strange_moment_is_none(moment: str) -> None:
    """However it is sealed; digits of other scripts are none either."""
    assert upload_tokens.read(f"mt_abc.{moment}.{'0' * 32}", "mt_", b"secret") is None


def test_a_token_names_its_account_and_its_end() -> None:
    """With this prefix and this secret, and no other."""
    token = upload_tokens.issue("mt_", "abc", 999_999_999_999_999, b"secret")

    assert upload_tokens.read(token, "mt_", b"secret") == ("abc", 999_999_999_999_999)
    assert upload_tokens.read(token, "mt_", b"other") is None
    assert upload_tokens.read(token, "tm_", b"secret") is None
    assert upload_tokens.read(token.replace(".9", ".8"), "mt_", b"secret") is None
    assert upload_tokens.read(token.replace("abc", "abd"), "mt_", b"secret") is None
