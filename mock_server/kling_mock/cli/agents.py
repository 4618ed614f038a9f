"""`kling-mock mcp`: the fake as tools of the Model Context Protocol, over standard input and output, with the official SDK."""

from collections.abc import Callable
from contextlib import ExitStack
from functools import wraps
from typing import TYPE_CHECKING, Any

from kling_common.calls import Unreachable, call
from kling_mock import __version__

if TYPE_CHECKING:
    from mcp.server import MCPServer

_REASONABLE = 900.0
_INSTRUCTIONS = (
    "A fake of an asynchronous video API, for tests: start_fake, then create_task, advance (everything due happens before it returns), "
    "get_task. Every key that begins with sk- is an account of its own. Nothing is billed and nothing leaves this machine."
)


class Tools:
    """What an agent can do. One fake at a time; it ends with the server."""

    def __init__(self) -> None:
        self._held = ExitStack()
        self._url = ""

    def start_fake(self, options: list[str] | None = None) -> dict[str, Any]:
        """Start a fake on a free port, its clock frozen; options are those of `kling-mock serve`. Returns its URL."""
        from kling_mock.serving.process import Running

        self.stop_fake()
        given = options or []
        frozen = [] if "--clock" in given else ["--clock", "manual"]
        self._url = self._held.enter_context(Running([*frozen, *given])).url
        return {"url": self._url, "page": f"{self._url}/__mock/", "api_key": "sk-test"}

    def stop_fake(self) -> str:
        """Stop the fake, if one runs."""
        was, self._url = self._url, ""
        self._held.close()
        return "stopped" if was else "none was running"

    def create_task(
        self,
        fields: dict[str, Any] | None = None,
        model: str = "",
        api_key: str = "sk-test",
        scenario: str = "",
        callback_url: str = "",
    ) -> Any:
        """Create a task as a client would; *scenario*, such as `failed code=service_error`, decides what it goes through.

        *fields*: members of the body, such as {"duration": 5, "quality": "1080p"}; what they leave out of what is required comes
        from the model's own example. *model*: any that the fake serves, by default its first.
        """
        body = {**self._example(model), **({"callback_url": callback_url} if callback_url else {}), **(fields or {})}
        headers = {"authorization": f"Bearer {api_key}", **({"x-mock-scenario": scenario} if scenario else {})}
        return self._call("POST", "/v1/videos/generations", body, headers)

    def get_task(self, task_id: str, api_key: str = "sk-test") -> Any:
        """Read a task as a client would."""
        return self._call("GET", f"/v1/tasks/{task_id}", None, {"authorization": f"Bearer {api_key}"})

    def freeze(self) -> Any:
        """Stop the clock; from now on only advance moves it."""
        return self._call("PUT", "/__mock/clock", {"mode": "manual"})

    def resume(self, rate: float = 1.0) -> Any:
        """Let the clock run, rate times as fast as real time."""
        return self._call("PUT", "/__mock/clock", {"mode": "real"} if rate == 1 else {"mode": "scaled", "rate": rate})

    def advance(self, span: str) -> Any:
        """Move a frozen clock by a span such as 24h, 1h30m or 90s; returns what happened on the way, callbacks included."""
        from kling_mock.core.notation import seconds

        return self._call("POST", "/__mock/clock/advance", {"seconds": seconds(span)})

    def queue_scenario(self, name: str, params: dict[str, Any] | None = None, times: int = 1) -> Any:
        """Let the next creates follow a scenario; list_scenarios names them."""
        return self._call("POST", "/__mock/scenarios/next", {"name": name, "params": params or {}, "times": times})

    def list_scenarios(self) -> Any:
        """List the scenarios with their parameters."""
        return self._call("GET", "/__mock/scenarios")

    def list_tasks(self) -> Any:
        """List every task: facts, plan and links."""
        return self._call("GET", "/__mock/tasks")

    def list_deliveries(self) -> Any:
        """List the callbacks owed, with each attempt and its outcome."""
        return self._call("GET", "/__mock/deliveries")

    def journal(self, since: int = 0) -> str:
        """Return what happened, a line for each request, callback attempt, download and clock move."""
        from kling_mock.store.lines import lines, time_of

        entries = self._call("GET", f"/__mock/journal?since={int(since)}")["entries"]
        return "\n".join(f"{one['seq']} {time_of(line.at)} {line.text()}" for one in entries for line in lines(one))

    def _example(self, model: str) -> dict[str, Any]:
        """Return the shortest example of *model* in the contract that the fake serves; of an unknown model no more than its name."""
        creates = self._call("GET", "/openapi.json")["paths"]["/v1/videos/generations"]["post"]
        examples = creates["requestBody"]["content"]["application/json"].get("examples", {})
        bodies: list[dict[str, Any]] = [one["value"] for one in examples.values() if "value" in one]
        return next((body for body in bodies if model in ("", body.get("model"))), {"model": model} if model else {})

    def _call(self, method: str, path: str, body: Any = None, headers: dict[str, str] | None = None) -> Any:
        """Return the decoded response; an error of the fake is an answer too, for the agent to read.

        Raises:
            ValueError: no fake runs.
        """
        if not self._url:
            raise ValueError("no fake runs; call start_fake first")
        return call(method, f"{self._url}{path}", json=body, headers=headers or {}, timeout=_REASONABLE).json()


def server() -> "MCPServer[Any]":
    """Return the server with its tools.

    Raises:
        ImportError: the extra `mcp` is not installed.
    """
    from mcp.server import MCPServer

    made: MCPServer[Any] = MCPServer("kling-mock", version=__version__, instructions=_INSTRUCTIONS, log_level="ERROR")
    tools = Tools()
    for name in (name for name in vars(Tools) if not name.startswith("_")):
        made.tool()(_said(getattr(tools, name)))
    return made


def _said(tool: Callable[..., Any]) -> Callable[..., Any]:
    """Return *tool* with its own complaints as the SDK shows them to an agent; it hides every other exception."""
    from mcp.server.mcpserver.exceptions import ToolError

    @wraps(tool)
    def asked(*given: Any, **named: Any) -> Any:
        try:
            return tool(*given, **named)
        except (ValueError, Unreachable) as error:
            raise ToolError(str(error)) from error

    return asked
