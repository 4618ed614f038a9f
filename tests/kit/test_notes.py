"""Notes of a history that somebody edited: what judges read in them is checked first, and a wrong one is named by its number."""

from typing import Any

import pytest

from kling_contract.history.events import HistoryError, Note
from kling_contract.history.labels import Topic
from kling_contract.rules.notes import check_notes

WRONG: list[tuple[Topic, dict[str, Any], str]] = [
    (Topic.CASE, {"story": ["x"]}, "story"),
    (Topic.RUN, {"features": "callbacks"}, "features"),
    (Topic.RUN, {"target": 5}, "target"),
    (Topic.NOISE, {"seconds": -1.0}, "seconds"),
    (Topic.NOISE, {"seconds": "0.1"}, "seconds"),
    (Topic.TOLD, {"exit": "0"}, "exit"),
    (Topic.ELSEWHERE, {"untrusted": "x", "connections": "many"}, "connections"),
    (Topic.SERVED, {"size": [], "sha256": ""}, "size"),
    (Topic.CANCELLED, {"task_id": 1}, "task_id"),
    (Topic.RESENT, {"task_id": None}, "task_id"),
    (Topic.SETTLED, {"task_id": {}}, "task_id"),
]


@pytest.mark.parametrize(("topic", "data", "member"), WRONG)
def test_a_wrong_note_is_named(topic: Topic, data: dict[str, Any], member: str) -> None:
    """The message says which event it is and which member."""
    with pytest.raises(HistoryError, match=rf"^a\.jsonl: event 7: note {topic}\.{member}: "):
        check_notes([Note(seq=7, at=0.0, topic=topic, data=data)], "a.jsonl")


def test_a_note_of_another_topic_may_hold_anything_that_json_can() -> None:
    """Other kits may keep notes of their own; only what no JSON can hold is refused."""
    check_notes([Note(seq=1, at=0.0, topic="weather", data={"rain": [1, None]})], "a.jsonl")
    with pytest.raises(HistoryError, match=r"^a\.jsonl: event 2: note weather: "):
        check_notes([Note(seq=2, at=0.0, topic="weather", data={"rain": object()})], "a.jsonl")
