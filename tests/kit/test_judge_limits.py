"""Judges of servers at their limits: what stands at a bound, and what stands just inside of it."""

from dataclasses import replace
from typing import Any

import orjson
import pytest
from tape import BASE, BODY, CONTRACT, CREATE, GOOD_IMAGE, KEY, OTHER, Tape

from kling_contract.history.events import ClockMove, Exchange, from_json, to_json
from kling_contract.rules.judging import Judgement
from kling_contract.rules.registry import judge_all
from kling_contract.rules.rulebook import rules
from kling_contract.rules.verdicts import run_facts


def judged(rule_id: str, tape: Tape) -> Judgement:
    """What one judge says of what is on the tape."""
    (found,) = judge_all(tape.events, CONTRACT, [rules(CONTRACT)[rule_id]])
    assert not found.broken
    return found


@pytest.mark.parametrize(("spare", "looked"), [(0, 1), (1, 0), (2000, 0)])
def test_only_the_longest_callback_url_shows_that_it_is_taken(spare: int, looked: int) -> None:
    """SV-19: a shorter one that is accepted says nothing of the limit."""
    tape, start = Tape(), "https://h.example.com/"
    tape.create({"callback_url": start + "x" * (CONTRACT.callback_url_max - len(start) - spare)})

    assert judged("SV-19", tape).looked == looked


@pytest.mark.parametrize(
    ("changes", "wrong"),
    [
        ({"results": []}, False),
        ({"model": 7}, True),
        ({"results": 7}, True),
        ({"usage": 7}, True),
        ({"created": "x"}, True),
    ],
)
def test_a_task_whose_links_are_dead_may_list_none_and_is_held_to_the_rest(
    changes: dict[str, Any], wrong: bool
) -> None:
    """SS-01: from the moment at which they are dead."""
    tape = Tape()
    task = tape.create()
    tape.advance(60)
    tape.complete(task)
    tape.advance(CONTRACT.link_lifetime)
    tape.read({**task, **changes})

    assert bool(judged("SS-01", tape).findings) is wrong


FREE = (400, 401, 402, 403, 404, 409, 413, 415, 429)


@pytest.mark.parametrize("status", [*FREE, 200, 302, 408, 410, 414, 422, 500, 503, 504])
def test_which_refusals_must_cost_nothing(status: int) -> None:
    """SB-05: those that say that nothing was made; of any other the kit cannot know."""
    tape = Tape()
    tape.balance()
    tape.call("POST", "/v1/videos/generations", {}, status=status, answer={})
    tape.credits[KEY] -= 20
    tape.balance()

    assert bool(judged("SB-05", tape).findings) is (status in FREE)


@pytest.mark.parametrize(
    ("refusal", "given"),
    [({}, False), ({"status": "error"}, False), ({"status": 404}, False), ({"status": "completed"}, True),
     ({"status": "pending"}, True), ({"progress": 0}, True), ({"error": {"usage": {}}}, True)],
)  # fmt: skip
def test_what_a_refusal_may_say_of_a_task(refusal: dict[str, Any], given: bool) -> None:
    """SA-12: a member `status` that is no state of a task gives nothing away."""
    tape = Tape()
    task = tape.create()
    tape.call("GET", f"/v1/tasks/{task['id']}", status=404, answer=refusal, key=OTHER, rules=("SA-12",))

    found = judged("SA-12", tape)
    assert (found.looked > 0, bool(found.findings)) == (True, given)


@pytest.mark.parametrize(
    ("rate", "early", "wrong"), [(1.0, 0.04, False), (1.0, 0.06, True), (20.0, 0.9, False), (20.0, 1.1, True)]
)
def test_how_early_a_retry_may_look_on_a_clock_that_runs(rate: float, early: float, wrong: bool) -> None:
    """SC-08: a twentieth of a real second, which is more on a clock that runs faster."""
    tape = Tape()
    hook = "https://h.example.com/done"
    tape.recorder.add(
        ClockMove(mode="scaled", rate=rate, before=tape.now, after=tape.now, at=tape.now, mono=tape.tick())
    )
    task = tape.fail(tape.create({"callback_url": hook}))
    tape.called(task, hook, 500)
    tape.now += CONTRACT.retry_delays[0] - early
    tape.called(task, hook, 200)

    found = judged("SC-08", tape)
    assert (found.looked, bool(found.findings)) == (1, wrong)


def test_a_history_says_what_was_run_also_when_it_comes_from_a_file() -> None:
    """Target, mode and seed of its note."""
    again = [from_json(orjson.loads(orjson.dumps(to_json(event)))) for event in Tape().events]

    assert (
        run_facts(again)
        == run_facts(Tape().events)
        == {"target": BASE, "mode": "fake", "seed": 1, "features": ["clock"]}
    )


@pytest.mark.parametrize(
    ("param", "changes", "rules_tried", "told"),
    [
        (None, {}, (), True),
        ("duration", {}, (), True),
        ("nonsense", {}, (), True),
        ("image_start", {}, (), False),
        ("callback_url", {"callback_url": "https://h.example.com/done"}, (), False),
        ("callback_url", {}, (), True),
        ("quality", {"quality": "720p"}, (), False),
        ("quality", {}, (), True),
        ("prompt", {}, (), False),
        ("prompt", {"prompt": "a cat"}, (), True),
        ("prompt", {"prompt": "a cat"}, ("SV-06",), False),
        ("prompt", {"prompt": "x" * CONTRACT.prompt_max}, (), False),
        ("prompt", {"prompt": "x" * (CONTRACT.prompt_max - 1)}, (), True),
    ],
)
@pytest.mark.parametrize("seconds", [CONTRACT.duration_min, CONTRACT.duration_max])
def test_which_refusal_is_about_the_duration(
    param: str | None, changes: dict[str, Any], rules_tried: tuple[str, ...], told: bool, seconds: int
) -> None:
    """SV-10: one that names another member says nothing of it, where another rule tries what that member was."""
    tape = Tape()
    label = {"rules": rules_tried} if rules_tried else {}
    tape.refuse({**BODY, "duration": seconds, **changes}, param=param, **label)

    found = judged("SV-10", tape)

    assert (found.looked, bool(found.findings)) == ((1, True) if told else (0, False))


@pytest.mark.parametrize(("param", "told"), [(None, False), ("duration", True), ("quality", False)])
def test_what_a_recorded_refusal_is_about_is_known_by_its_param_alone(param: str | None, told: bool) -> None:
    """SV-10: nobody knows what else was wrong with what a stranger sent."""
    tape = Tape()
    tape.refuse({**BODY, "duration": CONTRACT.duration_max}, param=param)
    events = [replace(event, case="") if isinstance(event, Exchange) else event for event in tape.events]

    (found,) = judge_all(events, CONTRACT, [rules(CONTRACT)["SV-10"]])

    assert (found.looked, bool(found.findings)) == ((1, True) if told else (0, False))


@pytest.mark.parametrize(
    ("seconds", "looked"),
    [
        (CONTRACT.duration_min, 1),
        (CONTRACT.duration_min + 1, 0),
        (CONTRACT.duration_max - 1, 0),
        (CONTRACT.duration_max, 1),
        (float(CONTRACT.duration_max), 0),
    ],
)
def test_only_a_bound_shows_that_it_is_taken(seconds: float, looked: int) -> None:
    """SV-10: what lies between, and what is written with a point, are others'."""
    tape = Tape()
    tape.create({"duration": seconds})

    found = judged("SV-10", tape)

    assert (found.looked, found.findings) == (looked, ())


@pytest.mark.parametrize(("less", "looked", "wrong"), [(1, 0, False), (0, 1, False), (-1, 1, True)])
def test_only_the_longest_prompt_shows_that_it_is_taken(less: int, looked: int, wrong: bool) -> None:
    """SV-06: a shorter one says nothing, a longer one is to be refused."""
    tape = Tape()
    tape.create({"prompt": "x" * (CONTRACT.prompt_max - less)})

    found = judged("SV-06", tape)

    assert (found.looked, bool(found.findings)) == (looked, wrong)


@pytest.mark.parametrize(("less", "wrong"), [(0.0, False), (0.5e-6, False), (2e-6, True), (1.0, True), (-1.0, False)])
def test_a_longer_video_is_never_cheaper(less: float, wrong: bool) -> None:
    """SB-01: by as little as a millionth of a credit, which no sum of floats comes to."""
    tape = Tape()
    short = tape.create({"duration": 5})
    price = short["usage"]["credits_reserved"] - less
    longer = {"duration": 6}
    tape.call("POST", CREATE, {**BODY, **longer}, answer={**short, "id": "task-unified-1757169743-longer00",
              "usage": {**short["usage"], "credits_reserved": price}})  # fmt: skip

    assert bool(judged("SB-01", tape).findings) is wrong


@pytest.mark.parametrize(("changes", "wrong"), [({"code": "odd"}, False), ({"message": 7}, True)])
def test_an_error_code_that_is_odd_is_a_matter_of_its_own_rule_in_a_batch_too(
    changes: dict[str, Any], wrong: bool
) -> None:
    """SS-01: what a softer rule speaks of is no breach here, however deep in the response it stands."""
    tape = Tape()
    task = tape.fail(tape.create())
    odd = {**task, "error": {**task["error"], **changes}}
    for answer in (odd, {"data": [odd]}):
        batch = "data" in answer
        path = "/v1/tasks/batch" if batch else f"/v1/tasks/{task['id']}"
        tape.call("POST" if batch else "GET", path, {"task_ids": [task["id"]]} if batch else None, answer=answer)

    assert [bool(finding) for finding in judged("SS-01", tape).findings] == [True, True] * wrong


@pytest.mark.parametrize(
    ("spare", "taken", "wrong"),
    [(0, True, False), (0, False, True), (1, True, None), (1, False, None), (None, True, True), (None, False, False)],
)
def test_between_the_two_readings_of_a_megabyte_nothing_is_said(
    spare: int | None, taken: bool, wrong: bool | None
) -> None:
    """SV-23: fine up to the smaller reading, too large from one byte above the larger (no *spare* given); in between either is right."""
    limits, tape = CONTRACT.image, Tape()
    size = limits.max_bytes + 1 if spare is None else limits.safe_bytes + spare
    for bytes_ in (size, limits.max_bytes) if spare == 1 else (size,):
        facts = replace(GOOD_IMAGE, size=bytes_)
        if taken:
            tape.read(tape.complete(tape.create(image=facts)))
        else:
            tape.refuse(BODY, param="image_start", image=facts)

    found = judged("SV-23", tape)
    assert (found.looked > 0, bool(found.findings)) == (wrong is not None, bool(wrong))
