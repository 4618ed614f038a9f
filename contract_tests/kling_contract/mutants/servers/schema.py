"""Servers that break the schemas (SS), in places that no other rule speaks of."""

from kling_contract.mutants.messages import Memory, Request, Response
from kling_contract.mutants.mutant import Switch, broken
from kling_contract.mutants.switches import CALLBACK, CREATE, READ, answers, ok, setting, shows


def _lacks(ask: Request, _: Memory) -> Request | Response:
    missing = ask.path == "/__mock/wait"
    return (
        Response(404, body=b'{"error": {"code": "not_found", "message": "no such call", "type": "x"}}')
        if missing
        else ask
    )


MUTANTS = (
    broken("SS-01", "billing-by-mood", "names a billing rule that does not exist",
           shows(setting(usage__billing_rule="per_mood"), at=(CREATE, READ, CALLBACK))),
    broken("SS-01", "list-without-total", "does not say how many tasks there are",
           answers(ok("listTasks"), lambda answer: answer.becomes({"data": answer.json["data"]}))),
    broken("SS-02", "negative-estimate", "estimates less than no time in callbacks",
           shows(setting(task_info__estimated_time=-1), at=(CALLBACK,))),
    broken("SS-03", "wait-is-missing", "declares wait and does not have it", Switch(on_request=_lacks)),
)  # fmt: skip
