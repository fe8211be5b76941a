// What every client must get from the tools of the tests, and from a real flowtap.
'use strict';

const assert = require('node:assert');

async function checkStub(client) {
    const text = 'häh?\u2028\n';
    const result = await client.callTool({ name: 'echo', arguments: { text } });
    assert.deepStrictEqual(result.structuredContent, { arguments: { text } });
    assert.deepStrictEqual(JSON.parse(result.content[0].text), { arguments: { text } });
    assert.strictEqual(result.content[1].type, 'resource_link');

    const failed = await client.callTool({ name: 'fail', arguments: {} });
    assert(failed.isError && failed.content[0].text.includes('get_flows'));
    await assert.rejects(client.callTool({ name: 'nothing', arguments: {} }), { code: -32602 });

    const large = await client.callTool({ name: 'large', arguments: { bytes: 400_000 } });
    assert.strictEqual(large.structuredContent.text.length, 400_000);

    const templates = await client.listResourceTemplates();
    assert.strictEqual(templates.resourceTemplates[0].name, 'body');
    const read = await client.readResource({ uri: 'flow://1/body' });
    assert.strictEqual(read.contents[0].text, 'a body');

    const calls = [...Array(10).keys()].map(number =>
        client.callTool({ name: 'echo', arguments: { number } }));
    const numbers = (await Promise.all(calls)).map(it => it.structuredContent.arguments.number);
    assert.deepStrictEqual(numbers, [...Array(10).keys()]);
}

// `call` calls a tool with options of a request, whose place differs between the majors.
async function checkProgressAndCancelling(client, call) {
    const steps = [];
    const onprogress = ({ progress, total, message }) => steps.push([progress, total, message]);
    await call({ name: 'count', arguments: { to: 3 } }, { onprogress });
    const all = [1, 2, 3].map(step => [step, 3, 'counting']);
    // The SDK drops progress that it reads from a stream together with the reply.
    assert.deepStrictEqual(steps, all.slice(0, steps.length));

    const controller = new AbortController();
    const held = call({ name: 'hold', arguments: {} }, { signal: controller.signal });
    setTimeout(() => controller.abort(), 200);
    await assert.rejects(held);
    assert(!(await client.callTool({ name: 'echo', arguments: {} })).isError);
}

async function checkFlowtap(client) {
    const result = await client.callTool({ name: 'get_flow_count', arguments: {} });
    assert(!result.isError && 'count' in result.structuredContent, JSON.stringify(result));
}

async function checkAll(client, call, stub) {
    assert.strictEqual(client.getServerVersion().name, 'flowtap');
    assert(client.getInstructions());
    const { tools } = await client.listTools();
    assert(tools.length > 0 && tools.every(tool => tool.description && tool.annotations));
    if (stub) {
        await checkStub(client);
        await checkProgressAndCancelling(client, call);
    } else {
        await checkFlowtap(client);
    }
}

module.exports = { checkAll };
