"""Services that answer what nobody asked for: whatever comes back, the money stays within the cap and no create is sent twice."""

from typing import Any

import pytest
from runs import run
from standins.cutting import Cutting
from standins.service import ANSWERS, CREATE, Behaviour, Service

UNKNOWN = ("redirect", "see other", "endless")
"""Answers that leave open whether there is a task."""


@pytest.mark.parametrize("answer", ANSWERS[1:])
@pytest.mark.parametrize("mode", ["refusals", "paid"])
def test_an_answer_that_is_no_task_counts_as_an_accepted_create(answer: str, mode: str) -> None:
    """The service's own books stay within the cap; what may be a task ends the run."""
    with Service(Behaviour(answer=answer, accepts="everything")) as service:
        ran = run(service, mode, 1.3, timeout=0.3)

    assert 0 < service.ledger.usd <= 1.3
    assert mode == "refusals" or len(service.ledger.creates) == 1
    if answer in UNKNOWN:
        assert len(service.ledger.creates) == 1
        assert "outcome of a create is unknown" in ran.stopped


def test_a_service_that_hides_its_balance_and_charges_for_refusals_stays_within_the_cap() -> None:
    """Each refusal counts as charged, and the user is shown why nothing more is sent."""
    with Service(Behaviour(hides_balance=True, refusals_cost=True)) as service:
        ran = run(service, "refusals", 2.0)

    assert 0 < service.ledger.usd <= 2.0
    assert "creates that were refused, because no reading of the balance shows that it is free" in ran.text


@pytest.mark.parametrize("mode", ["refusals", "paid"])
@pytest.mark.parametrize("after", [1, 40, 400])
def test_a_proxy_that_cuts_the_answer_to_a_create(mode: str, after: int) -> None:
    """The create was taken, its answer is gone: the run ends as unknown, and the create is not sent again."""

    def creates(line: str) -> int | None:
        return after if line.startswith(f"POST {CREATE}") else None

    with (
        Service(Behaviour(accepts="everything")) as service,
        Cutting(int(service.url.rpartition(":")[2]), creates) as proxy,
    ):
        service.url = proxy.url
        ran = run(service, mode, 5.0)
    keyed = [row for row in service.ledger.seen if row["method"] == "POST" and row["keyed"]]
    assert len(keyed) == 1
    assert "outcome of a create is unknown" in ran.stopped
    assert service.ledger.usd <= 5.0


def test_a_proxy_that_cuts_every_third_read() -> None:
    """Reads are lost, the money is not; what was seen is judged."""
    count = 0

    def reads(line: str) -> int | None:
        nonlocal count
        count += 1
        return 60 if line.startswith("GET") and count % 3 == 0 else None

    with Service(Behaviour(work=0.2)) as service:
        with Cutting(int(service.url.rpartition(":")[2]), reads) as proxy:
            service.url = proxy.url
            ran = run(service, "paid", 1.0)
        assert proxy.cut > 3
    assert len(service.ledger.rows) == 1
    assert ran.ids("pass")


class Odd(Service):
    """Shows what is no balance, and charges for what it refuses."""

    def __init__(self, shown: object) -> None:
        super().__init__(Behaviour(refusals_cost=True, work=0.05))
        self.shown_as = shown

    def shown_balance(self) -> Any:
        """The same at every reading."""
        return self.shown_as


@pytest.mark.parametrize("shown", [None, "9999", float("nan"), float("inf"), [], {}, True])
def test_what_is_no_balance_clears_nothing(shown: object) -> None:
    """A number as a text, null, NaN: no reading, so what was refused may have been charged."""
    with Odd(shown) as service:
        ran = run(service, "refusals", 1.3)

    assert 0 < service.ledger.usd <= 1.3
    assert "no reading of the balance shows" in ran.text


@pytest.mark.parametrize("shown", [None, -5, 10**30, 1e300])
def test_a_paid_run_goes_through_whatever_the_balance_shows(shown: object) -> None:
    """One task within the cap; a balance that does not move is no reason to send another."""
    with Odd(shown) as service:
        ran = run(service, "paid", 1.0)

    assert len(service.ledger.rows) == len(service.ledger.creates) == 1
    assert ran.ids("pass")
