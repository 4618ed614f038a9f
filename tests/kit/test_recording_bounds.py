"""Recordings that cost more than they should: too many calls, too many bytes, packed or without an end."""

from pathlib import Path
from zipfile import ZIP_DEFLATED, ZipFile

import pytest

from kling_contract.history.events import HistoryError
from kling_contract.judging import recorded
from kling_contract.reading import opening


def too_many(tmp_path: Path) -> Path:
    """A HAR of more calls than are judged."""
    entry = b'{"startedDateTime":"2026-01-01T00:00:00Z","request":{"method":"GET","url":"http://x/"},"response":{}}'
    path = tmp_path / "many.har"
    path.write_bytes(b'{"log":{"entries":[' + b",".join([entry] * (opening.MOST_EVENTS + 1)) + b"]}}")
    return path


def packed(tmp_path: Path, **files: bytes) -> Path:
    """An archive of HAR and other files."""
    path = tmp_path / "packed.har.zip"
    with ZipFile(path, "w", ZIP_DEFLATED) as archive:
        for name, data in files.items():
            archive.writestr(name.replace("_", "."), data)
    return path


def refusal(path: Path) -> str:
    """The one line that a recording is refused with."""
    with pytest.raises(HistoryError) as caught:
        recorded(path)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_too_many_entries_are_refused(tmp_path: Path) -> None:
    """The line says how many there may be, and what to do."""
    path = too_many(tmp_path)

    assert f"at most {opening.MOST_EVENTS} are judged, so cut it into parts" in refusal(path)


def test_too_many_lines_are_refused(tmp_path: Path) -> None:
    """JSON Lines are counted before they are read."""
    path = tmp_path / "many.jsonl"
    path.write_bytes(b'{"kind":"note","topic":"x"}\n' * (opening.MOST_EVENTS + 1))

    assert "are judged, so cut it into parts" in refusal(path)


def test_a_file_that_is_too_large_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A device without an end as well: no more is read than a recording may have."""
    monkeypatch.setattr(opening, "LARGEST", 1000)
    path = tmp_path / "large.har"
    path.write_bytes(b"{" + b" " * 1000)

    assert "larger than 1000 bytes" in refusal(path)
    assert "larger than 1000 bytes" in refusal(Path("/dev/zero"))


def test_an_archive_that_unpacks_to_more_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A small file of zeros in a HAR's place; what stands with a HAR counts together with it."""
    monkeypatch.setattr(opening, "LARGEST", 100_000)
    assert "larger than" in refusal(packed(tmp_path, a_har=b" " * 200_000))

    har = b'{"log":{"entries":[]}}'
    data, attached = opening.opened(packed(tmp_path, a_har=har, b_txt=b"x" * 60_000, c_txt=b"y" * 60_000))
    assert data == har
    assert attached("b.txt") == b"x" * 60_000
    assert attached("c.txt") is None
    assert attached("a.txt") is None


@pytest.mark.parametrize("cut", [4, 30, 60, 100])
def test_a_broken_archive_is_refused(tmp_path: Path, cut: int) -> None:
    """Cut short, or with bytes of its content changed."""
    path = packed(tmp_path, a_har=b'{"log":{"entries":[]}}' * 50)
    whole = path.read_bytes()
    path.write_bytes(whole[:cut])
    assert "not an archive that can be read" in refusal(path)

    path.write_bytes(whole[:40] + bytes(byte ^ 0x55 for byte in whole[40:60]) + whole[60:])
    assert "not an archive that can be read" in refusal(path)
