"""Plays an agent's whole session against live traffic from curl and Python.

Usage: agent_session.py SSE_URL PROXY CA ORIGIN FOLDER
"""

import json
import sys

import anyio
import requests
from mcp import ClientSession
from mcp.client.sse import sse_client

sse_url, proxy, ca, origin, folder = sys.argv[1:]
SECRET = "planted-secret-4b1c"
CURL = ["curl", "--disable", "--silent", "--noproxy", "", "--max-time", "60"]
CURL += ["--proxy", proxy, "--cacert", ca]


async def curl(*arguments: str) -> tuple[int, str]:
    done = await anyio.run_process([*CURL, *arguments], check=False)
    return done.returncode, done.stdout.decode()


def ask(path: str) -> requests.Response:
    session = requests.Session()
    session.trust_env = False
    session.proxies = {"http": proxy, "https": proxy}
    session.verify = ca
    return session.get(f"{origin}{path}", timeout=60)


class Agent:
    def __init__(self, session: ClientSession):
        self.session = session
        self.seen = ""

    async def call(self, tool: str, **arguments) -> dict:
        result = await self.session.call_tool(tool, arguments)
        text = result.content[0].text
        self.seen += text
        assert not result.isError, f"{tool} {arguments}: {text}"
        return json.loads(text)

    async def held(self) -> str:
        """The id of the one flow that is held."""
        with anyio.fail_after(60):
            while True:
                held = await self.call("get_intercepted_flows")
                if held["count"] == 1:
                    return held["flows"][0]["id"]
                await anyio.sleep(0.01)


async def browse(agent: Agent) -> str:
    """Looks at what curl and Python have done; gives the flow with the secret."""
    await curl(f"{origin}/text?by=curl")
    await curl("-H", f"Authorization: Bearer {SECRET}", "-d", "a body", f"{origin}/echo")
    answer = await anyio.to_thread.run_sync(ask, "/text?by=python")
    assert answer.text == "a text\n", answer
    overview = await agent.call("get_overview")
    assert "/echo" in json.dumps(overview), overview
    with anyio.fail_after(60):
        while (await agent.call("get_flow_count"))["count"] < 3:
            await anyio.sleep(0.01)
    flows = (await agent.call("get_flows", filter="~u /echo"))["flows"]
    assert len(flows) == 1 and flows[0]["method"] == "POST", flows
    return flows[0]["id"]


async def search_and_send(agent: Agent, flow: str) -> None:
    found = await agent.call("search_flows", pattern="by=python")
    assert found["count"] == 1, found
    request = await agent.call("get_flow_request", flow_id=flow)
    assert "Bearer ***" in json.dumps(request), request
    sent = await agent.call("modify_and_send", flow_id=flow, body="another body")
    assert sent["status"] == "success" and sent["status_code"] == 200, sent
    answer = await agent.call("get_flow_response", flow_id=sent["new_flow_id"])
    assert "another body" in json.dumps(answer), answer


async def intercept(agent: Agent) -> None:
    await agent.call("set_intercept_filter", filter="~q & ~u /echo")
    outcome: list = []
    async with anyio.create_task_group() as group:

        async def post():
            outcome.append(await curl("-d", "as curl sent it", f"{origin}/echo"))

        group.start_soon(post)
        held = await agent.held()
        await agent.call("resume_flow", flow_id=held, body="as the agent wants it")
    assert outcome == [(0, "as the agent wants it")], outcome

    await agent.call("set_intercept_filter", filter="~s & ~u /text")
    answers: list = []
    async with anyio.create_task_group() as group:

        async def get():
            answers.append(await anyio.to_thread.run_sync(ask, "/text"))

        group.start_soon(get)
        held = await agent.held()
        await agent.call("resume_flow", flow_id=held, status=418, body="short and stout")
    assert (answers[0].status_code, answers[0].text) == (418, "short and stout"), answers

    await agent.call("set_intercept_filter", filter="~q")
    dropped: list = []
    async with anyio.create_task_group() as group:

        async def get_again():
            dropped.append(await curl(f"{origin}/text"))

        group.start_soon(get_again)
        await agent.call("drop_flow", flow_id=await agent.held())
    assert dropped[0] == (52, ""), f"curl should have got an empty reply: {dropped}"
    await agent.call("set_intercept_filter", filter="")
    assert (await curl(f"{origin}/text")) == (0, "a text\n")


async def main() -> None:
    async with sse_client(sse_url) as (read, write):
        async with ClientSession(read, write) as session:
            started = await session.initialize()
            assert started.serverInfo.name == "flowtap" and started.instructions
            agent = Agent(session)
            flow = await browse(agent)
            await search_and_send(agent, flow)
            await intercept(agent)
            await agent.call("export_flows", path="session.har")
            with open(f"{folder}/session.har") as file:
                har = file.read()
            entries = json.loads(har)["log"]["entries"]
            assert len(entries) >= 7, len(entries)
            assert SECRET not in agent.seen and SECRET not in har


anyio.run(main)
