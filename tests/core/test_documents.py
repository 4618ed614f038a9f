"""YAML that people write is read; YAML that is small and costs much, or means two things, is one clear line."""

import pytest

from kling_common import documents
from kling_common.documents import BadYaml, load, parse

BOMB = "a: &a [x,x,x,x,x,x,x,x,x]\n" + "".join(
    f"{new}: &{new} [{','.join(['*' + old] * 9)}]\n" for old, new in zip("abcdefghi", "bcdefghij", strict=True)
)


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        (BOMB, "anchors and aliases are not accepted"),
        ("a: &a\n  b: *a", "anchors and aliases are not accepted"),
        ("&a [*a]", "anchors and aliases are not accepted"),
        ("x: &x {a: 1}\ny:\n  <<: *x", "anchors and aliases are not accepted"),
        ("a: !!int " + ":".join(["59"] * 10_000), "is not an integer"),
        ("a: !!int " + "9" * 100_000, "is not an integer"),
        ("a: !!float " + ":".join(["59"] * 10_000), "is not a number"),
        ("[" * 10_000, "nested more than 40 deep"),
        ("a:\n" + "".join(f"{' ' * depth}- \n" for depth in range(1, 60)), "nested more than 40 deep"),
        ("a: 1\na: 2", "the key 'a' appears twice"),
        ("a: 1\n---\nb: 2", "a second document"),
        ("a: " + "x" * documents.LARGEST, "larger than"),
        ("a: \ud800", "contains invalid characters"),
        ("a: [", "not YAML"),
    ],
)
def test_what_is_refused(text: str, complaint: str) -> None:
    """At once, with the line."""
    with pytest.raises(BadYaml, match=complaint) as caught:
        load(text)

    assert str(caught.value).startswith("line ")
    assert len(str(caught.value)) < 300


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("", None), ("a: 5", {"a": 5}), ("-7", -7), ("+7", 7), ("0x1F", 31), ("0o17", 15), ("010", 10), ("1.5", 1.5),
        ("-.5", -0.5), ("1e3", 1000.0), ("1.5e-3", 0.0015), (".inf", float("inf")), ("-.inf", float("-inf")), ("5.", 5.0),
        ("12:30:45", "12:30:45"), ("2026-01-01", "2026-01-01"), ("on", "on"), ("no", "no"), ("true", True), ("~", None),
        ("9" * 30, "9" * 30), ("1_000", "1_000"), ("5s", "5s"), ("40s..80s", "40s..80s"), ('"5"', "5"), ("1.2.3", "1.2.3"),
        ("!!float 5", 5.0), ("[1, a, {b: c}]", [1, "a", {"b": "c"}]), ("&a x", "x"),
    ],
)  # fmt: skip
def test_what_is_read(text: str, value: object) -> None:
    """As YAML 1.2 has it; times, dates and long numbers are words."""
    assert load(text) == value
    assert type(load(text)) is type(value)


@pytest.mark.parametrize("name", ["_refuse", "_refuse_depth"])
def test_each_guard_is_needed(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without it a document passes that must not."""
    deep = "[" * 41 + "]" * 41
    monkeypatch.setattr(documents, name, lambda _: None)

    passed = []
    for text in ("a: &a [1]\nb: *a", deep):
        try:
            passed.append(parse(text))
        except BadYaml:
            continue
    assert len(passed) == 1
