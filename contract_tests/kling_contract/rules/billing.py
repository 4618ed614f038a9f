"""Judges of money (SB): what is reserved, what is kept, and what must cost nothing.

Credits are read from outside only, so a judge compares two readings of one account between which nothing else can have
moved them; readings that other tasks may have disturbed are passed over.
"""

from collections.abc import Iterable, Iterator
from itertools import pairwise

from kling_common.members import is_number, number_in, object_in
from kling_contract.history.labels import Expect
from kling_contract.reading.ledger import Window, life, readings, reserved, windows
from kling_contract.reading.view import INCONCLUSIVE, MISSING, Call, TaskRecord, View, once
from kling_contract.rules.judging import Check, Shown, check, judge, quoted
from kling_contract.rules.lifecycle import IDENTITY, changed
from kling_contract.rules.refusals import lists_around
from kling_contract.rules.rulebook import Rule

CENT = 1e-6
TWICE = 2
"""From so many times the shortest on, a longer video costs more whatever the minimum."""
REFUSALS = frozenset({400, 401, 402, 403, 404, 409, 413, 415, 429})


def _spent(window: Window, wanted: float, *shown: Shown) -> Check:
    same = abs(window.spent - wanted) <= CENT
    return check(same, f"{wanted:g} credits", f"{window.spent:g} credits", window.before, *shown, window.after)


def _priced(view: View, rule: Rule) -> Iterator[tuple[TaskRecord, float, str, float]]:
    """Tasks of the document's own model with a known price: credits, quality and seconds."""
    for task in view.tasks.values():
        credits_ = reserved(task)
        if credits_ is None or task.create is None or not isinstance(task.create.sent, dict):
            continue
        if view.contract.other(task.create.sent) is not None:
            continue
        quality = task.create.sent.get(rule.params["tier"], view.contract.quality_default)
        seconds = task.create.sent.get(rule.params["length"], view.contract.duration_default)
        named = isinstance(quality, str) and quality in view.contract.qualities
        if named and is_number(seconds) and seconds > 0:
            yield task, credits_, quality, seconds


def _by_quality(view: View, rule: Rule) -> dict[str, list[tuple[float, float, TaskRecord]]]:
    """Of each quality, seconds, credits and task, the shortest first."""
    found: dict[str, list[tuple[float, float, TaskRecord]]] = {}
    for task, credits_, quality, seconds in _priced(view, rule):
        found.setdefault(quality, []).append((seconds, credits_, task))
    return {quality: sorted(rows, key=lambda row: row[0]) for quality, rows in found.items()}


@judge("SB-01")
def price_follows_duration(view: View, rule: Rule) -> Iterator[Check]:
    """Looks at reservations: none lower than a shorter one's, the longest dearer than the shortest, more pixels never cheaper."""
    priced = _by_quality(view, rule)
    for rows in priced.values():
        for (_seconds, less, short), (seconds, more, longer) in pairwise(rows):
            expected = f"{less:g} credits or more for {seconds:g} s"
            yield check(more >= less - CENT, expected, f"{more:g}", short.create, longer.create)
        (least, cheap, first), (most, dear, last) = rows[0], rows[-1]
        if most >= TWICE * least:
            expected = f"more than {cheap:g} credits for {most:g} s"
            yield check(dear > cheap + CENT, expected, f"{dear:g}", first.create, last.create)
    ranked = sorted(priced, key=lambda name: view.contract.qualities[name])
    for low, high in pairwise(ranked):
        dearer = {seconds: (credits_, task) for seconds, credits_, task in priced[high]}
        for length, credits_, task in priced[low]:
            if length in dearer:
                more, other = dearer[length]
                expected = f"{credits_:g} credits or more for {length:g} s of {high}, as {low} costs"
                yield check(more >= credits_ - CENT, expected, f"{more:g}", task.create, other.create)


@judge("SB-18")
def one_price_a_second(view: View, rule: Rule) -> Iterator[Check]:
    """Looks at reservations: each is its seconds at the longest one's price, or the one minimum that is above it."""
    priced = _by_quality(view, rule)
    above: list[tuple[float, TaskRecord]] = []
    for rows in priced.values():
        most, dear, last = rows[-1]
        whole = all(credits_.is_integer() for _, credits_, _ in rows)
        for seconds, credits_, task in rows:
            wanted = dear / most * seconds
            slack = max(CENT, 0.001 * wanted, 1.0 if whole else 0.0)
            if credits_ > wanted + slack:
                above.append((credits_, task))
            elif seconds != most:
                expected = f"{wanted:g} credits for {seconds:g} s"
                yield check(credits_ >= wanted - slack, expected, f"{credits_:g}", last.create, task.create)
    for credits_, task in above:
        least, first = min(above, key=lambda row: row[0])
        expected = f"the price of its seconds, or the minimum of {least:g}"
        yield check(credits_ <= least + CENT, expected, f"{credits_:g}", first.create, task.create)


@judge("SB-19")
def billing_rule_agrees(view: View, _: Rule) -> Iterator[Check]:
    """Looks at every task that says how it is billed."""
    wanted = view.contract.billing_rule
    for task, sighting in view.sightings:
        said = object_in(sighting.body, "usage").get("billing_rule", MISSING)
        other = task.create is not None and view.contract.other(task.create.sent) is not None
        if wanted and said is not MISSING and not other:
            yield check(said == wanted, f"billing_rule {wanted}", quoted(said), sighting)


@judge("SB-02")
def reservation_is_taken(view: View, _: Rule) -> Iterator[Check]:
    """Looks at stretches with creates whose tasks had not failed by the second reading, and none older under way."""
    for window in windows(view):
        amounts = [reserved(task) for task in window.made]
        unrefunded = all(not _failed_by(task, window) for task in window.made)
        if window.made and window.clean and not window.open and unrefunded and None not in amounts:
            wanted = sum(amount for amount in amounts if amount is not None)
            yield _spent(window, wanted, *(task.create for task in window.made))


def _failed_by(task: TaskRecord, window: Window) -> bool:
    """Whether the task may have given its credits back by the end of the window: it failed, and was not alive after."""
    if task.end is None or task.end.status == "completed":
        return False
    alive = [sighting for sighting in task.sightings if not sighting.terminal]
    return not any(sighting.event.mono >= window.after.ended for sighting in alive)


def credits_used(task: TaskRecord) -> float | None:
    """Credits that the task says it cost; None where it does not say."""
    return number_in(task.final.body, "usage", "credits_used") if task.final else None


def _cost(view: View, status: str) -> Iterator[tuple[TaskRecord, float, Window | None]]:
    """Tasks that ended as *status*, their reservation, and the stretch in which they lived alone."""
    for task in view.tasks.values():
        amount = reserved(task)
        if task.end is not None and task.end.status == status and amount is not None:
            yield task, amount, life(view, task)


@judge("SB-03")
def completed_costs_reservation(view: View, _: Rule) -> Iterator[Check]:
    """Looks at completed tasks: what they say was used, and what the account lost."""
    for task, amount, window in _cost(view, "completed"):
        if task.create is not None and _settled_on_actual(view, task.create):
            continue  # SM-04
        used = credits_used(task)
        if used is not None:
            yield check(abs(used - amount) <= CENT, f"credits_used {amount:g}", f"{used:g}", task.create, task.final)
        if window is not None:
            yield _spent(window, amount, task.create, task.end)


def _settled_on_actual(view: View, create: Call) -> bool:
    """Whether the price of its model follows what the task turned out to be."""
    model = view.contract.other(create.sent)
    return model is not None and model.price.actual


@judge("SB-04")
def failed_costs_nothing(view: View, _: Rule) -> Iterator[Check]:
    """Looks at failed tasks: what they say was used, and what the account lost."""
    for task, _amount, window in _cost(view, "failed"):
        used = credits_used(task)
        if used is not None:
            yield check(used == 0, "credits_used 0", f"{used:g}", task.final)
        if window is not None:
            yield _spent(window, 0, task.create, task.end)


@judge("SB-05")
def refusal_costs_nothing(view: View, _: Rule) -> Iterator[Check]:
    """Looks at quiet stretches with refused creates."""
    for window in windows(view):
        refused = [call for call in window.calls if call.name == "createVideo" and call.status in REFUSALS]
        if refused and window.quiet and not any(_took(call) for call in window.calls):
            yield _spent(window, 0, *refused[:5])


def _took(call: Call) -> bool:
    """Whether a create may have taken credits by rights."""
    return call.name == "createVideo" and call.status not in REFUSALS


@judge("SB-06")
def balance_must_cover(view: View, _: Rule) -> Iterator[Check]:
    """Looks at creates that the driver knew to be dearer than the balance; bursts are SB-09's."""
    for call in view.creates:
        if call.probe.expect is Expect.NO_BALANCE and not call.probe.group and call.status not in (0, 429):
            yield check(call.status == 402, 402, call.status, call)
    yield from lists_around(view, 402)


@judge("SB-07")
def reading_is_free(view: View, _: Rule) -> Iterator[Check]:
    """Looks at quiet stretches with nothing but GETs."""
    for window in windows(view):
        reads = [call for call in window.calls if call.event.method == "GET"]
        if reads and len(reads) == len(window.calls) and window.quiet and not window.attempts:
            yield _spent(window, 0, *reads[:5])


@judge("SB-08")
def twins_are_two(view: View, _: Rule) -> Iterator[Check]:
    """Looks at accepted creates with one body and no idempotency key: two ids, and two charges where those are known."""
    first: dict[tuple[str, str], Call] = {}
    for call in view.creates:
        known = call.posted and isinstance(call.got, dict)
        if call.accepted and call.sent_header("idempotency-key") is None and known:
            earlier = first.setdefault((call.event.who, call.event.request.body.sha256), call)
            if earlier is not call:
                task = call.got.get("id")
                yield check(task != earlier.got.get("id"), "two tasks", f"{task} twice", earlier, call)
    for window in windows(view):
        twins = [call for call in window.calls if _took(call) and call.sent_header("idempotency-key") is None]
        bodies = {call.event.request.body.sha256 for call in twins}
        amounts = [reserved(task) for task in window.made]
        seen = all(call.posted for call in twins)
        known = seen and window.clean and not window.open and len(twins) == len(amounts) and None not in amounts
        if len(twins) > 1 and len(bodies) == 1 and known and not any(_failed_by(s, window) for s in window.made):
            yield _spent(window, sum(amount for amount in amounts if amount is not None), *twins)


def _bursts(calls: Iterable[Call]) -> Iterable[list[Call]]:
    """Those of *calls* that the driver sent at once, together."""
    found: dict[str, list[Call]] = {}
    for call in calls:
        if call.probe.group:
            found.setdefault(call.probe.group, []).append(call)
    return found.values()


@judge("SB-09")
def burst_stops_at_balance(view: View, _: Rule) -> Iterator[Check]:
    """Looks at bursts of creates at once with balance for some of them."""
    for burst in _bursts(call for call in view.creates if call.probe.expected is not None):
        if all(call.status not in (0, 429) for call in burst):
            accepted = sum(call.accepted for call in burst)
            expected = burst[0].probe.expected
            refused = all(call.accepted or call.status == 402 for call in burst)
            seen = f"{accepted} accepted of {len(burst)}: {', '.join(str(call.status) for call in burst)}"
            yield check(accepted == expected and refused, f"{expected} accepted, 402 for the rest", seen, *burst)


@judge("SB-10")
def retries_are_free(view: View, _: Rule) -> Iterator[Check]:
    """Looks at quiet stretches in which callbacks were tried again."""
    for window in windows(view):
        if window.quiet and window.attempts and not any(_took(call) for call in window.calls):
            yield _spent(window, 0, *window.attempts)


@judge("SB-11")
def never_negative(view: View, _: Rule) -> Iterator[Check]:
    """Looks at every reading of credits."""
    for reading in readings(view):
        yield check(reading.remaining >= 0, "0 or more", f"{reading.remaining:g}", reading)


@once
def _repeated(view: View) -> Iterator[tuple[Call, Call]]:
    """Each create that carries an idempotency key already used, and the first accepted one with that key."""
    first: dict[tuple[str, str], Call] = {}
    for call in view.creates:
        key = call.sent_header("idempotency-key")
        unknown = call.status in (0, 401, 429) or call.faulty or not call.posted or not call.shown
        if key is None or unknown or call.probe.group:
            continue
        earlier = first.setdefault((call.event.who, key), call) if call.accepted else first.get((call.event.who, key))
        if earlier is not None and earlier is not call:
            yield earlier, call


def _same_body(earlier: Call, call: Call) -> bool:
    return call.sent is not MISSING and bool(call.sent == earlier.sent)


def _id(call: Call) -> object:
    return call.body.get("id") if call.accepted else None


def _is_replay(earlier: Call, call: Call) -> bool:
    return _id(call) is not None and _id(call) == _id(earlier)


@judge("SB-12")
def replay_is_the_task(view: View, _: Rule) -> Iterator[Check]:
    """Looks at creates repeated with their key and body, one after the other."""
    for earlier, call in _repeated(view):
        if _same_body(earlier, call):
            yield check(_id(call) == _id(earlier), f"{_id(earlier)} again", f"{call.status} {_id(call)}", earlier, call)
        if _same_body(earlier, call) and _is_replay(earlier, call):
            names = [name for name in IDENTITY if name in earlier.got and name in call.got]
            seen = changed(names, earlier.got, call.got)
            yield check(not seen, "the same " + ", ".join(names), seen, earlier, call)


@judge("SB-13")
def replay_is_said(view: View, _: Rule) -> Iterator[Check]:
    """Looks at creates that answered the task of an earlier one with their key, and at the kit's others: no other says so."""
    known: set[tuple[str, str | None]] = set()
    for call in view.creates:
        place = (call.event.who, call.sent_header("idempotency-key"))
        if call.by_kit and call.accepted and not call.probe.group and (place[1] is None or place not in known):
            said = call.header("idempotency-replayed")
            yield check(said is None or said.lower() != "true", "no idempotency-replayed", f"{said}", call)
        known.add(place)
    for earlier, call in _repeated(view):
        if _same_body(earlier, call) and _is_replay(earlier, call):
            said = call.header("idempotency-replayed") or "nothing"
            yield check(said.lower() == "true", "idempotency-replayed: true", said, earlier, call)


@judge("SB-14")
def replay_is_free(view: View, _: Rule) -> Iterator[Check]:
    """Looks at stretches whose only creates answered older tasks again."""
    repeats = {call.event.seq for earlier, call in _repeated(view) if _is_replay(earlier, call)}
    for window in windows(view):
        takes = [call for call in window.calls if _took(call)]
        replays = takes and all(call.event.seq in repeats for call in takes)
        if replays and window.clean and not window.open and not window.made:
            yield _spent(window, 0, *takes)


@judge("SB-15")
def other_body_is_refused(view: View, _: Rule) -> Iterator[Check]:
    """Looks at creates with a key that was used with another body."""
    for earlier, call in _repeated(view):
        if not _same_body(earlier, call):
            yield check(400 <= call.status < 500, "a refusal: the body is another", call.status, earlier, call)


@judge("SB-16")
def one_task_at_one_moment(view: View, _: Rule) -> Iterator[Check]:
    """Looks at bursts of creates with one key and body: those that were accepted answer one task."""
    for burst in _bursts(call for call in view.creates if call.sent_header("idempotency-key") is not None):
        made = {str(_id(call)) for call in burst if _id(call) is not None}
        if made and len(burst) > 1:
            yield check(len(made) == 1, "one task", f"{len(made)} tasks for {len(burst)} creates", *burst)


@judge("SB-21")
def cost_agrees(view: View, _: Rule) -> Iterator[Check]:
    """Looks at completed tasks that say twice what they cost."""
    for _task, sighting in view.sightings:
        used = number_in(sighting.body, "usage", "credits_used")
        said = number_in(sighting.body, "usage", "cost", "credits")
        if sighting.status == "completed" and used is not None and said is not None:
            yield check(abs(said - used) <= CENT, f"cost.credits {used:g}", f"{said:g}", sighting)


@judge("SB-20")
def other_keys_other_tasks(view: View, rule: Rule) -> Iterator[Check]:
    """Looks at creates with keys that the driver chose to be nearly the same: each is accepted, and makes a task of its own."""
    first: dict[tuple[str, str], Call] = {}  # an id may be any JSON, which has a text
    for call in view.creates:
        key = call.sent_header("idempotency-key")
        if key is None or rule.id not in call.probe.rules or call.status in INCONCLUSIVE or call.faulty:
            continue
        said = f"{call.status} {call.error.get('message', '')}"
        yield check(call.accepted, f"a task for a key of {len(key)} characters", said, call)
        earlier = first.setdefault((call.event.who, repr(_id(call))), call)
        if call.accepted and earlier is not call:
            yield check(False, "a task of its own", f"{_id(call)} again, for another key", earlier, call)


@judge("SB-17")
def keys_belong_to_accounts(view: View, _: Rule) -> Iterator[Check]:
    """Looks at creates with a key that another account's accepted create carried."""
    first: dict[str, Call] = {}
    for call in view.creates:
        key = call.sent_header("idempotency-key")
        if key is None or not call.by_kit or call.status in INCONCLUSIVE or call.faulty or call.probe.group:
            continue
        earlier = first.setdefault(key, call)
        if earlier.event.who != call.event.who and _id(earlier) is not None:
            own = call.accepted and _id(call) != _id(earlier)
            seen = f"{call.status}, {_id(call) or call.error.get('message', 'no task')}"
            yield check(own, "a task of its own", seen, earlier, call)
