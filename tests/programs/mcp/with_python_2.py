"""The official Python SDK, second major, as a client: with `server/discover` and without.

Usage: with_python_2.py sse URL | http URL | stdio COMMAND [ARGUMENT]...
"""

import json
import sys

import anyio
from mcp import Client, MCPError, StdioServerParameters
from mcp.client.sse import sse_client


async def check_stub(client: Client) -> None:
    result = await client.call_tool("echo", {"text": "häh?\u2028\n"})
    expected = {"arguments": {"text": "häh?\u2028\n"}}
    assert not result.is_error and result.structured_content == expected
    assert json.loads(result.content[0].text) == expected
    assert result.content[1].type == "resource_link"

    failed = await client.call_tool("fail", {})
    assert failed.is_error and "get_flows" in failed.content[0].text
    try:
        await client.call_tool("nothing", {})
        raise AssertionError("an unknown tool is an error")
    except MCPError as error:
        assert error.error.code == -32602, error

    steps = []

    async def progress(done: float, total: float | None, message: str | None) -> None:
        steps.append((done, total, message))

    await client.call_tool("count", {"to": 3}, progress_callback=progress)
    assert steps == [(step, 3, "counting") for step in (1, 2, 3)], steps

    large = await client.call_tool("large", {"bytes": 400_000})
    assert len(large.structured_content["text"]) == 400_000

    templates = await client.list_resource_templates()
    assert templates.resource_templates[0].name == "body"
    text = await client.read_resource("flow://1/body")
    assert text.contents[0].text == "a body"

    async with anyio.create_task_group() as group:
        for number in range(10):
            group.start_soon(client.call_tool, "echo", {"number": number})

    # A call that its client gives up leaves the session as it was.
    with anyio.move_on_after(0.2):
        await client.call_tool("hold", {})
    assert not (await client.call_tool("echo", {})).is_error

    if client.protocol_version == "2026-07-28":
        with anyio.fail_after(20):
            async with client.listen(tools_list_changed=True):
                pass


async def check_flowtap(client: Client) -> None:
    result = await client.call_tool("get_flow_count", {})
    assert not result.is_error and "count" in result.structured_content, result


async def check(server, mode: str, version: str, stub: bool) -> None:
    async with Client(server, mode=mode) as client:
        assert client.protocol_version == version, client.protocol_version
        if mode != version:
            # Whoever names the version in advance asks for nothing else.
            assert client.server_info.name == "flowtap"
            assert client.instructions
        tools = (await client.list_tools()).tools
        assert tools and all(tool.description and tool.annotations for tool in tools)
        await (check_stub if stub else check_flowtap)(client)


async def main(transport: str, target: str, arguments: list[str]) -> None:
    def server():
        if transport == "sse":
            return sse_client(target)
        if transport == "http":
            return target
        return StdioServerParameters(command=target, args=arguments)

    stub = transport != "stdio"
    await check(server(), "auto", "2026-07-28", stub)
    await check(server(), "legacy", "2025-11-25", stub)
    await check(server(), "2026-07-28", "2026-07-28", stub)


anyio.run(main, sys.argv[1], sys.argv[2], sys.argv[3:])
