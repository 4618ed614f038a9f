"""What every driver sends, call by call: a driver that silently stops sending something, or sends it at another moment, is found here."""

from collections.abc import Iterator
from dataclasses import replace

import blocks
import driven
import pytest

from kling_contract.driving.drivers.media import bent
from kling_contract.mutants.called import Called, application
from kling_openapi import family


@pytest.fixture(scope="module")
def fake() -> Iterator[Called]:
    """A fake that is called: what is sent is the same, and costs less."""
    with application() as correct:
        yield correct


@pytest.mark.parametrize("name", driven.names())
def test_what_is_sent_is_as_it_was_read(name: str, fake: Called) -> None:
    """
    As `driven.txt` has it. Where a driver changed on purpose, `scripts/findings` writes it anew: read the difference.
    """
    assert driven.block(name, fake).splitlines() == blocks.kept(driven.FILE)[name].splitlines()


def test_nothing_else_is_kept() -> None:
    """
    Each block of the file is one that is held.
    """
    assert set(blocks.kept(driven.FILE)) == set(driven.names())


def test_one_step_beyond_each_limit_whatever_it_is() -> None:
    """
    Of a video, whose sides are even or odd as the limits are: two pixels, and one byte.
    """
    model = family().models["kling-v3-motion-control"]
    (medium,) = [one for example in model.examples[:1] for one in model.media(example) if one.limits.kind == "video"]
    limits = replace(medium.limits, max_bytes=3_000_001, min_width_px=501, max_width_px=1003)

    found = [*bent(medium._replace(limits=limits))]

    assert {(501, 720), (499, 720), (1003, 720), (1005, 720)} <= {(one.width, one.height) for one in found}
    assert 3_000_002 in {one.size for one in found}


@pytest.mark.parametrize("formats", [("mov",), ("avi", "mkv"), ()])
def test_a_limit_is_tried_in_a_format_that_is_taken(formats: tuple[str, ...]) -> None:
    """
    Else each of them would be refused for its format; where a model names none, any will do.
    """
    model = family().models["kling-v3-motion-control"]
    (medium,) = [one for example in model.examples[:1] for one in model.media(example) if one.limits.kind == "video"]

    found = [*bent(medium._replace(limits=replace(medium.limits, formats=formats, max_bytes=3_000_000)))]

    (too_large,) = [one for one in found if one.size > 3_000_000]
    assert too_large.format in (formats or ("mp4",))
