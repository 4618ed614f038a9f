"""The kit's own reading of a model's price: the fake prices by other code, and both come to the same credits."""

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kling_contract.reading import prices
from kling_openapi import family
from kling_openapi.drawing import bodies
from kling_openapi.media import Facts

MODELS = family().models


@pytest.mark.parametrize("name", sorted(MODELS))
def test_both_readings_agree(name: str) -> None:
    """Whatever the body, and whether the length of the video that it names is known or not."""
    model = MODELS[name]
    right = bodies(model)

    @settings(max_examples=20, deadline=None, derandomize=True, database=None)
    @given(st.data())
    def drawn(data: st.DataObject) -> None:
        body = data.draw(right)
        seconds = data.draw(st.none() | st.floats(0.1, 40).map(lambda it: round(it, 3)))
        known = {medium.path: Facts("mp4", None, 720, 720, seconds, None) for medium in model.media(body)}
        quote = model.quote(body, known)
        assert prices.reserved(model, body, known) == float(quote.reserved)
        assert prices.charged(model, body, known) == float(quote.charged)

    drawn()


@pytest.mark.parametrize(
    ("body", "credits"),
    [
        ({"duration": 5, "quality": "720p", "sound": "off"}, 27.0),
        ({"duration": 5, "quality": "1080p", "sound": "off"}, 36.018),
        ({"duration": 3, "quality": "720p", "sound": "off"}, 16.2),
    ],
)
def test_credits_by_hand(body: dict[str, Any], credits: float) -> None:
    """5.4 credits a second, 1080p 1.334 times as much, at least 16.2: worked out by hand from the page's price."""
    model = MODELS["kling-v3-image-to-video"]
    asked = {"model": model.name, "image_start": "https://image.test/1280x720.png", **body}
    assert prices.reserved(model, asked, {}) == credits
