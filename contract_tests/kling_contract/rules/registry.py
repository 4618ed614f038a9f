"""Every judge in one place: importing this module enters them all."""

from collections.abc import Iterable, Mapping
from types import MappingProxyType

from kling_contract.history.events import AnyEvent
from kling_contract.reading.contract import Contract
from kling_contract.reading.view import View
from kling_contract.rules import (
    auth,
    billing,
    callbacks,
    client_money,
    client_pacing,
    client_polling,
    client_request,
    client_result,
    client_webhook,
    files,
    frames,
    lifecycle,
    links,
    lists,
    models,
    refusals,
    validation,
    wire,
)
from kling_contract.rules.judging import JUDGES, Finding, Judge, Judgement
from kling_contract.rules.repetition import confirmed, pairs_in
from kling_contract.rules.rulebook import Rule

MODULES = (wire, validation, frames, refusals, models, lifecycle, callbacks, links, auth, billing, lists, files)
CLIENT_MODULES = (client_request, client_money, client_polling, client_pacing, client_result, client_webhook)

judges: Mapping[str, Judge] = MappingProxyType(JUDGES)
"""Rule id to judge, of every rule that has one."""


def run_judge(rule: Rule, view: View) -> Judgement:
    """What the rule's judge finds in *view*; an error of a judge is reported in the judgement, never raised."""
    try:
        checks = list(judges[rule.id](view, rule))
    except Exception as error:  # whatever a server sent, the other rules are still judged
        return Judgement(rule, 0, (), (), f"{type(error).__name__}: {error}")
    if not checks:
        return Judgement(rule, 0, (), ())
    explained = tuple(dict.fromkeys(f"{one.implied_by}: {one.seen}" for one in checks if one.implied_by))
    checks = [one for one in checks if not one.implied_by]
    seen = dict.fromkeys(seq for found in checks for seq in found.events)
    findings = dict.fromkeys(
        Finding(rule.id, found.expected, found.seen, found.events) for found in checks if not found.holds
    )
    broken = [one.doubt for one in checks if not one.holds]
    doubt = broken[0] if broken and all(broken) else ""
    return Judgement(rule, len(checks), tuple(seen), tuple(findings), implied=explained, unconfirmed=doubt)


def judge_all(events: Iterable[AnyEvent], contract: Contract, book: Iterable[Rule]) -> list[Judgement]:
    """The judgement of each rule of *book* that has a judge, on one history."""
    view = View(events, contract)
    pairs = pairs_in(view.events)
    return [confirmed(run_judge(rule, view), view.events, pairs) for rule in book if rule.id in judges]
