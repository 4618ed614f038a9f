"""The commands that control a running fake, such as `kling-mock advance 24h`."""

import json
from collections.abc import Callable
from http import HTTPStatus
from pathlib import Path
from typing import Any, TypeVar

import click

from kling_common.columns import columns

_REASONABLE = 900.0


class Remote:
    """A running fake, over its control protocol."""

    def __init__(self, url: str, api_key: str | None, token: str | None, ca: Path | None = None) -> None:
        self._url = origin_of(url)
        self._ca = ca
        self._headers = {"authorization": f"Bearer {api_key}"} if api_key else {}
        if token:
            self._headers["x-mock-token"] = token

    def call(self, method: str, path: str, body: Any = None, **query: Any) -> Any:
        """Return the decoded response of one control call.

        Raises:
            click.ClickException: the fake cannot be reached, or refuses the call; one line, exit code 2.
        """
        from kling_common.calls import Distrusted, Unreachable, call

        asked = {name: value for name, value in query.items() if value is not None}
        try:
            answer = call(
                method,
                f"{self._url}/__mock{path}",
                json=body,
                query=asked,
                headers=self._headers,
                timeout=_REASONABLE,
                ca=self._trusted(),
            )
            value = answer.json()
        except ValueError as error:
            raise _Failed(f"{self._url} does not speak the control protocol") from error
        except Distrusted as error:
            raise _Failed(
                f"{self._url} shows a certificate that is not trusted; name its authority with --ca"
            ) from error
        except Unreachable as error:
            raise _Failed(
                f"no fake responds at {self._url}; start one with `kling-mock serve`, or name one with --url"
            ) from error
        if answer.status == HTTPStatus.REQUEST_TIMEOUT:
            raise click.exceptions.Exit(_say(value["error"]["message"], 1))
        if not answer.ok:
            raise _Failed(value.get("error", {}).get("message", answer.text))
        return value

    def _trusted(self) -> Path | None:
        """Return the authorities whose certificates are accepted: those named, this user's own, or None for the system's."""
        if self._ca is not None or not self._url.startswith("https:"):
            return self._ca
        from kling_common.authority import Authority

        bundle = Authority().bundle_file
        return bundle if bundle.exists() else None


def origin_of(url: str) -> str:
    """Return the fake's origin in whatever spelling a user has it: with `/v1` or `/__mock`, or without a scheme.

    Without one it is http on the loopback and https on any other machine.
    """
    url = url.strip().rstrip("/")
    for path in ("/__mock", "/v1"):
        url = url.removesuffix(path)
    if "://" in url:
        return url
    host = url.rpartition(":")[0] if url.rpartition(":")[2].isdecimal() else url
    loopback = host in ("localhost", "[::1]", "") or host.startswith("127.")
    return f"{'http' if loopback else 'https'}://{'127.0.0.1' if not host else ''}{url}"


class _Failed(click.ClickException):
    """The call could not be made, or was refused."""

    exit_code = 2


def _say(message: str, code: int) -> int:
    click.echo(message, err=True)
    return code


_REMOTE_OPTIONS = (
    click.option(
        "--url", envvar="KLING_MOCK_URL", default="http://127.0.0.1:4010", show_default=True, help="The running fake."
    ),
    click.option(
        "--api-key", envvar="KLING_MOCK_API_KEY", help="Act on this key's account; without it, on all accounts."
    ),
    click.option("--admin-token", envvar="KLING_MOCK_ADMIN_TOKEN", help="Needed when the fake is on another machine."),
    click.option(
        "--ca", envvar="KLING_MOCK_CA", type=click.Path(path_type=Path), help="Authority of a fake that speaks HTTPS."
    ),
    click.option("--json", "as_json", is_flag=True, help="Print the raw response."),
)

Verb = TypeVar("Verb", bound=Callable[..., tuple[Any, Any]])


_VERBS: list[click.Command] = []


def _verb(function: Verb) -> Verb:
    """Make a command that gets a `Remote` and prints what *function* returns: the text, or the response with --json."""

    def command(
        url: str, api_key: str | None, admin_token: str | None, ca: Path | None, as_json: bool, **given: Any
    ) -> None:
        value, text = function(Remote(url, api_key, admin_token, ca), **given)
        click.echo(json.dumps(value, indent=2) if as_json else text)

    command.__doc__ = function.__doc__
    command.__click_params__ = getattr(function, "__click_params__", [])  # type: ignore[attr-defined]
    made: Any = command
    for add in _REMOTE_OPTIONS:
        made = add(made)
    _VERBS.append(click.command(function.__name__)(made))
    return function


def _table(title: str, rows: list[list[str]]) -> str:
    return columns(rows) or f"no {title}"


def _time(at: float | None) -> str:
    if at is None:
        return "-"
    from kling_common.bodies import iso

    return iso(at).replace("T", " ").removesuffix("Z")


def add_verbs(group: click.Group) -> None:
    """Give *group* the control verbs."""
    for verb in _VERBS:
        group.add_command(verb)


@_verb
@click.argument("span")
def advance(remote: Remote, span: str) -> tuple[Any, Any]:
    """Move the clock forward by SPAN (24h, 1h30m, 90s; a bare number is seconds): everything due on the way happens, in order."""
    from kling_mock.core.notation import seconds

    try:
        length = seconds(span)
    except ValueError as error:
        raise click.BadParameter(str(error), param_hint="SPAN") from error
    answer = remote.call("POST", "/clock/advance", {"seconds": length})
    rows = [[_time(one["at"]), one["kind"], one["task_id"], _what(one)] for one in answer["fired"]]
    fired = [_table("events", rows)] if rows else []
    moved = f"advanced {length:g} s" + (f"; for hours write {span}h" if span.isdecimal() else "")
    return answer, "\n".join([*fired, f"now {_time(answer['now'])} ({moved})"])


@_verb
def freeze(remote: Remote) -> tuple[Any, Any]:
    """Stop the clock; from now on only `advance` moves it."""
    answer = remote.call("PUT", "/clock", {"mode": "manual"})
    return answer, f"frozen at {_time(answer['now'])}"


@_verb
def resume(remote: Remote) -> tuple[Any, Any]:
    """Let the clock run again, from where it is."""
    answer = remote.call("PUT", "/clock", {"mode": "real"})
    return answer, f"running from {_time(answer['now'])}"


@_verb
def reset(remote: Remote) -> tuple[Any, Any]:
    """Forget tasks, deliveries, journal and queue; restore balances and the clock. Relays stay."""
    return remote.call("POST", "/reset"), "reset"


def _what(one: dict[str, Any]) -> str:
    if one["kind"] == "attempt":
        return f"attempt {one['attempt']}: {one['outcome']}"
    return str(one.get("status", ""))


@_verb
def tasks(remote: Remote) -> tuple[Any, Any]:
    """List the tasks, each with the link to its video and when the link dies."""
    answer = remote.call("GET", "/tasks")
    return answer, _tasks(answer["tasks"])


@_verb
@click.option("--task", "task_id", help="Only this task's.")
def deliveries(remote: Remote, task_id: str | None) -> tuple[Any, Any]:
    """List the callbacks owed, with each attempt."""
    answer = remote.call("GET", "/deliveries", task_id=task_id)
    lines = []
    for owed in answer["deliveries"]:
        lines.append(f"{owed['id']}  {owed['state']}  {owed['url']}")
        lines += [_attempt(attempt) for attempt in owed["attempts"]]
        if owed["next_due"] is not None:
            lines.append(f"     next due {_time(owed['next_due'])}")
    return answer, "\n".join(lines) or "no deliveries"


@_verb
@click.option("--har", type=click.Path(path_type=Path), help="Write HAR 1.2 to this file.")
@click.option("--since", type=int, default=0, help="From this number on.")
def journal(remote: Remote, har: Path | None, since: int) -> tuple[Any, Any]:
    """Show what happened, or save it as HAR."""
    if har is not None:
        value = remote.call("GET", "/journal.har")
        try:
            har.write_text(json.dumps(value, indent=1), encoding="utf-8")
        except OSError as error:
            raise _Failed(f"--har {har}: {error.strerror}") from error
        return value, f"{len(value['log']['entries'])} entries in {har}"
    answer = remote.call("GET", "/journal", since=since)
    return answer, _table("entries", [row for one in answer["entries"] for row in _entry(one)])


@_verb
def scenarios(remote: Remote) -> tuple[Any, Any]:
    """List the scenarios, one line each."""
    answer = remote.call("GET", "/scenarios")
    rows = []
    for one in answer["scenarios"]:
        params = " ".join(f"{name}={value}" for name, value in one["params"].items())
        rows.append([one["name"], f"{one['summary']}{f'  [{params}]' if params else ''}"])
    return answer, _table("scenarios", rows)


def _tasks(found: list[dict[str, Any]]) -> str:
    """Return a row for each task, the links to its video below it."""
    rows = [
        [one["id"], one["status"], f"{one['progress']} %", one.get("code") or "", f"scenario: {_scenario(one)}"]
        for one in found
    ]
    text = _table("tasks", rows).split("\n")
    for place, one in reversed(list(enumerate(found, 1))):
        text[place:place] = [f"  video until {_time(link['expires_at'])}: {link['url']}" for link in one["links"]]
    return "\n".join(text)


def _attempt(attempt: dict[str, Any]) -> str:
    status = f" {attempt['status']}" if attempt["status"] else ""
    detail = f"  ({attempt['detail']})" if attempt.get("detail") else ""
    times = f"due {_time(attempt['due'])}  ended {_time(attempt['ended'])}"
    return f"  {attempt['attempt']:>2}  {times}  {attempt['outcome']}{status}{detail}"


def _entry(entry: dict[str, Any]) -> list[list[str]]:
    """Return the rows of one journal entry: number, time, and what the server's own terminal says of it."""
    from kling_mock.store.lines import lines

    return [[str(entry["seq"]), _time(line.at), *line.columns()] for line in lines(entry)]


def _scenario(one: dict[str, Any]) -> str:
    """A scenario and its params, as they are written."""
    params = [f"{name}={value}" for name, value in one.get("params", {}).items()]
    return " ".join([one.get("scenario") or "", *params])


@_verb
@click.argument("task_id", metavar="ID")
def cancel(remote: Remote, task_id: str) -> tuple[Any, Any]:
    """End a task as cancelled."""
    answer = remote.call("POST", f"/tasks/{task_id}/cancel")
    return answer, " ".join([task_id, answer["status"], answer.get("code") or ""]).rstrip()


@_verb
@click.argument("delivery_id", metavar="ID")
def resend(remote: Remote, delivery_id: str) -> tuple[Any, Any]:
    """Make one more attempt of a delivery, now."""
    answer = remote.call("POST", f"/deliveries/{delivery_id}/resend")
    return answer, f"{delivery_id} {answer['attempts'][-1]['outcome']}"


@_verb
@click.argument("task_id", metavar="ID")
@click.option("--until", default="terminal", show_default=True, metavar="terminal|delivered|attempts:N")
@click.option("--timeout", type=float, default=10.0, show_default=True, help="Real seconds.")
def wait(remote: Remote, task_id: str, until: str, timeout: float) -> tuple[Any, Any]:
    """Return as soon as a task has ended, its callback is delivered, or N attempts were made; exit code 1 if it cannot be."""
    answer = remote.call("GET", "/wait", task_id=task_id, until=until, timeout=timeout)
    if not answer["met"]:
        raise click.exceptions.Exit(_say(f"{task_id} is {answer['state']}; {until} can never be", 1))
    return answer, f"{task_id} {answer['state']}"
