"""The official Python SDK, first major, as a client.

Usage: with_python_1.py sse URL | http URL | stdio COMMAND [ARGUMENT]...
"""

import json
import sys

import anyio
from mcp import ClientSession, McpError, StdioServerParameters
from mcp.client.sse import sse_client
from mcp.client.stdio import stdio_client
from mcp.client.streamable_http import streamable_http_client


async def check_stub(session: ClientSession) -> None:
    result = await session.call_tool("echo", {"text": "häh?\u2028\n"})
    assert not result.isError
    expected = {"arguments": {"text": "häh?\u2028\n"}}
    assert json.loads(result.content[0].text) == expected
    assert result.structuredContent == expected
    assert result.content[1].type == "resource_link"

    failed = await session.call_tool("fail", {})
    assert failed.isError and "get_flows" in failed.content[0].text
    try:
        await session.call_tool("nothing", {})
        raise AssertionError("an unknown tool is an error")
    except McpError as error:
        assert error.error.code == -32602, error

    steps = []

    async def progress(done: float, total: float | None, message: str | None) -> None:
        steps.append((done, total, message))

    await session.call_tool("count", {"to": 3}, progress_callback=progress)
    assert steps == [(step, 3, "counting") for step in (1, 2, 3)], steps

    large = await session.call_tool("large", {"bytes": 400_000})
    assert len(large.structuredContent["text"]) == 400_000

    templates = await session.list_resource_templates()
    assert templates.resourceTemplates[0].name == "body"
    text = await session.read_resource("flow://1/body")
    assert text.contents[0].text == "a body"
    binary = await session.read_resource("flow://2/body")
    assert binary.contents[0].blob == "AAEC/w=="

    async with anyio.create_task_group() as group:
        for number in range(10):
            group.start_soon(session.call_tool, "echo", {"number": number})


async def check_flowtap(session: ClientSession) -> None:
    result = await session.call_tool("get_flow_count", {})
    assert not result.isError and "count" in result.structuredContent, result


async def check(streams, stub: bool) -> None:
    async with ClientSession(streams[0], streams[1]) as session:
        started = await session.initialize()
        assert started.protocolVersion == "2025-11-25", started
        assert started.serverInfo.name == "flowtap"
        assert started.instructions
        await session.send_ping()
        tools = (await session.list_tools()).tools
        assert tools and all(tool.description and tool.annotations for tool in tools)
        await (check_stub if stub else check_flowtap)(session)


async def main(transport: str, target: str, arguments: list[str]) -> None:
    if transport == "sse":
        async with sse_client(target) as streams:
            await check(streams, True)
    elif transport == "http":
        async with streamable_http_client(target) as streams:
            await check(streams, True)
    else:
        async with stdio_client(StdioServerParameters(command=target, args=arguments)) as streams:
            await check(streams, False)


anyio.run(main, sys.argv[1], sys.argv[2], sys.argv[3:])
