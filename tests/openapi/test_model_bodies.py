"""Bodies drawn from each model's file are right and have a price; one step beside them they are wrong, at the right field."""

from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import kling_openapi
from kling_openapi.drawing import bodies
from kling_openapi.near_misses import near_misses

FAMILY = kling_openapi.family()
NAMES = pytest.mark.parametrize("name", FAMILY.models)
DRAWN = settings(
    max_examples=max(200, settings.default.max_examples // 2),
    deadline=None,
    derandomize=True,
    database=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.filter_too_much],
)


@NAMES
def test_drawn_bodies_are_taken_and_near_misses_refused(name: str) -> None:
    """Two hundred bodies fit and are priced; of each, one near miss is refused with the field that was made wrong."""
    model = FAMILY.models[name]
    right = bodies(model)
    seen: set[str] = set()

    @DRAWN
    @given(st.data())
    def drawn(data: st.DataObject) -> None:
        body = data.draw(right)
        assert model.problems(body) == []
        quote = model.quote(body)
        assert quote.reserved >= float(model.price.minimum)
        assert quote.charged > 0
        missed = data.draw(st.sampled_from(list(near_misses(model, body))))
        problems = model.problems(missed.body)
        assert problems, missed
        assert problems[0].param == missed.param, (missed, problems)
        seen.add(missed.keyword)

    drawn()
    assert len(seen) >= 3


@NAMES
def test_every_near_miss_of_the_examples(name: str) -> None:
    """All of them, not a sample: each is refused at its field."""
    model = FAMILY.models[name]
    wrong: list[Any] = []
    for body in model.examples:
        for missed in near_misses(model, body):
            problems = model.problems(missed.body)
            if not problems or problems[0].param != missed.param:
                wrong.append((missed, problems[:2]))

    assert wrong == []


@NAMES
def test_every_field_has_near_misses(name: str) -> None:
    """No field that the model names is left out of the derivation, model and free text apart."""
    model = FAMILY.models[name]
    reached = {
        missed.param.partition(".")[0].partition("[")[0]
        for body in model.examples
        for missed in near_misses(model, body)
    }

    assert reached | {"model"} == set(model.fields)
