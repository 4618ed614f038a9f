"""Servers that break rules of lists (ST)."""

from urllib.parse import parse_qsl, urlencode

from kling_contract.mutants.messages import Memory, Request, Response
from kling_contract.mutants.mutant import Switch, broken
from kling_contract.mutants.switches import CONTRACT, ROWS, Task, answers, asks, is_, ok, setting, shows, to


def _without(name: str) -> Switch:
    """Lists are asked for without one member of the query."""

    def change(ask: Request) -> Request:
        kept = [pair for pair in parse_qsl(ask.target.partition("?")[2]) if pair[0] != name]
        return Request(ask.method, f"{ask.path}?{urlencode(kept)}", ask.headers, ask.body)

    return asks(lambda ask: ask.name == "listTasks" and f"{name}=" in ask.target, change)


def _turned(answer: Response) -> Response:
    return answer.becomes({**answer.json, "data": answer.json["data"][::-1]})


def _overlaps(ask: Request, answer: Response, memory: Memory) -> Response:
    """Each page but the first begins with the row before it."""
    if ask.name != "listTasks" or not answer.accepted or "page_size=2" not in ask.target or "page=1&" in ask.target:
        return answer
    whole = memory.send(Request(ask.method, ask.path, ask.headers)).json["data"]
    rows = answer.json["data"]
    places = [number for number, row in enumerate(whole) if rows and row["id"] == rows[0]["id"]]
    return answer.becomes({**answer.json, "data": whole[places[0] - 1 : places[0] + 1]}) if places else answer


def _one_page(answer: Response) -> Response:
    return answer.becomes({**answer.json, "total": len(answer.json["data"])})


def _linked(task: Task, _: object) -> None:
    task["results"] = ["https://files.example.com/video.mp4"]


def _first_dropped(answer: Response) -> Response:
    return answer.becomes({**answer.json, "data": answer.json["data"][1:]})


def _cut(ask: Request) -> Request:
    return ask.becomes({"task_ids": ask.sent["task_ids"][: CONTRACT.batch_max]})


MUTANTS = (
    broken("ST-01", "oldest-first", "lists the oldest task first", answers(ok("listTasks"), _turned)),
    broken("ST-02", "status-ignored", "lists every task whatever the filter by status", _without("status")),
    broken("ST-02", "model-ignored", "lists every task whatever the filter by model", _without("model")),
    broken("ST-02", "processing-alone", "leaves pending tasks out of the filter processing",
           answers(lambda ask, answer: ask.name == "listTasks" and "status=processing" in ask.target and answer.accepted, _first_dropped)),
    broken("ST-03", "pages-overlap", "begins each page with the last row of the one before", Switch(on_response=_overlaps)),
    broken("ST-03", "page-size-ignored", "gives pages of its own size", _without("page_size")),
    broken("ST-03", "total-of-the-page", "counts the rows of the page and calls it total", answers(ok("listTasks"), _one_page)),
    broken("ST-04", "links-in-rows", "puts result links into rows", shows(_linked, at=(ROWS,), when=is_("completed")), masked_by="SS-01"),
    broken("ST-05", "row-behind", "shows another progress in rows than in queries",
           shows(setting(progress=50), at=(ROWS,), when=is_("completed")), masked_by="SL-08"),
    broken("ST-05", "row-not-begun", "says in rows that a task that has begun is pending",
           shows(setting(status="pending"), at=(ROWS,), when=is_("processing")), masked_by="SL-04"),
    broken("ST-05", "results-unsaid", "says in rows that a completed task has no results",
           shows(setting(has_results=False), at=(ROWS,), when=is_("completed"))),
    broken("ST-06", "batch-forgets", "leaves the first task out of a batch", answers(ok("batchTasks"), _first_dropped)),
    broken("ST-07", "batch-of-any-size", "takes a batch of any size",
           asks(lambda ask: to("batchTasks")(ask) and len(ask.sent.get("task_ids", ())) > CONTRACT.batch_max, _cut)),
)  # fmt: skip
