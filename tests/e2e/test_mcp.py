"""Coding agents: both servers over stdio, spoken to with the official SDK's own client."""

import asyncio
import json
import sys
from pathlib import Path
from typing import Any

import pytest

pytestmark = pytest.mark.e2e
BIN = Path(sys.executable).parent


def talk(program: str, conversation: Any) -> Any:
    """What *conversation* returns of a client that speaks to `PROGRAM mcp`."""
    from mcp import Client, StdioServerParameters  # a tenth of what collecting all tests takes

    async def run() -> Any:
        parameters = StdioServerParameters(command=str(BIN / program), args=["mcp"])
        async with Client(parameters) as client:
            return await conversation(client)

    return asyncio.run(asyncio.wait_for(run(), 120))


async def ask(client: Any, tool: str, **arguments: Any) -> Any:
    """The decoded result of one tool; an error of the tool fails the test."""
    result = await client.call_tool(tool, arguments)
    text = "".join(part.text for part in result.content)
    assert not result.is_error, text
    try:
        return json.loads(text)
    except ValueError:
        return text


def test_an_agent_makes_a_video_and_sees_what_happened() -> None:
    """Start, choose a scenario, create, advance, read, list, stop."""

    async def conversation(client: Any) -> None:
        refused = await client.call_tool("get_task", {"task_id": "task-unified-1-abcdefgh"})
        assert refused.is_error
        assert "call start_fake first" in refused.content[0].text
        started = await ask(client, "start_fake")
        assert started["url"].startswith("http://127.0.0.1:")
        await ask(client, "queue_scenario", name="failed", params={"code": "service_error"})
        failed = await ask(client, "create_task", fields={"prompt": "waves"})
        made = await ask(client, "create_task", model="kling-o3-text-to-video", fields={"duration": 3})
        assert (await ask(client, "advance", span="1h30m"))["fired"]
        assert (await ask(client, "get_task", task_id=failed["id"]))["error"]["code"] == "service_error"
        assert (await ask(client, "get_task", task_id=made["id"]))["status"] == "completed"
        assert len((await ask(client, "list_tasks"))["tasks"]) == 2
        assert (await ask(client, "create_task"))["status"] == "pending"
        assert "model" in (await ask(client, "create_task", model="no-such-model"))["error"]["message"]
        assert (await ask(client, "list_deliveries"))["deliveries"] == []
        assert "POST /v1/videos/generations" in await ask(client, "journal")
        assert await ask(client, "stop_fake") == "stopped"

    talk("kling-mock", conversation)


def test_an_agent_judges_and_asks_why(tmp_path: Path) -> None:
    """A recording that cannot be read, a rule, and the list of rules."""

    async def conversation(client: Any) -> None:
        judged = await ask(client, "judge_recording", files=[str(tmp_path / "none.har")])
        assert judged["exit_code"] == 2
        assert "none.har" in judged["said"]
        rule = await ask(client, "explain_rule", rule_id="sc-08")
        assert rule["id"] == "SC-08"
        assert rule["level"].startswith("MUST")
        unknown = await client.call_tool("explain_rule", {"rule_id": "ZZ-99"})
        assert unknown.is_error
        names = {tool.name for tool in (await client.list_tools()).tools}
        assert names == {"judge_server", "judge_recording", "judge_client", "explain_rule", "list_rules"}

    talk("kling-contract", conversation)
