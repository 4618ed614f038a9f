"""What Hypothesis would work out anew in each run is there already, and is what it would have worked out."""

from types import SimpleNamespace

import pytest
from hypothesis.internal import charmap
from hypothesis.internal.conjecture import providers

from kling_contract.driving.drivers.drawn import no_traces


def test_the_table_of_characters_is_read_and_right(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without it, every character would be encoded, which this test makes impossible."""
    monkeypatch.setattr(charmap, "sys", SimpleNamespace(maxunicode=None))
    with no_traces():
        encodable, odd = charmap.intervals_from_codec.__wrapped__("utf-8")
    around = {edge + step for pair in encodable.intervals for edge in pair for step in (-1, 0, 1)}

    for edge in sorted(around & set(range(0x110000))):
        try:
            encoded = bool(chr(edge).encode())
        except UnicodeEncodeError:
            encoded = False
        assert encoded == (edge in encodable)
    assert (encodable.intervals[0][0], encodable.intervals[-1][1]) == (0, 0x10FFFF)
    assert not odd.intervals


def test_nothing_is_drawn_from_the_source_of_the_kit() -> None:
    """The same seed draws the same, however the kit is installed; afterwards all is as it was."""
    usual = providers._get_local_constants
    with no_traces():
        assert len(providers._get_local_constants()) == 0
        assert providers.HypothesisProvider(None)._local_constants == providers._get_local_constants()
    assert providers._get_local_constants is usual
