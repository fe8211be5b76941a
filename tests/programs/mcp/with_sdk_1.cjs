// The official TypeScript SDK, first major, as a client.
//
// Usage: with_sdk_1.cjs sse URL | http URL | stdio COMMAND [ARGUMENT]...
'use strict';

const assert = require('node:assert');
const { Client } = require('@modelcontextprotocol/sdk/client/index.js');
const { SSEClientTransport } = require('@modelcontextprotocol/sdk/client/sse.js');
const { StdioClientTransport } = require('@modelcontextprotocol/sdk/client/stdio.js');
const { StreamableHTTPClientTransport } =
    require('@modelcontextprotocol/sdk/client/streamableHttp.js');
const { checkAll } = require('./checks.cjs');

function transport(kind, target, args) {
    switch (kind) {
    case 'sse': return new SSEClientTransport(new URL(target));
    case 'http': return new StreamableHTTPClientTransport(new URL(target));
    default: return new StdioClientTransport({ command: target, args });
    }
}

async function main(kind, target, ...args) {
    const client = new Client({ name: 'test', version: '1' });
    const own = transport(kind, target, args);
    await client.connect(own);
    await client.ping();
    const call = (params, options) => client.callTool(params, undefined, options);
    await checkAll(client, call, kind !== 'stdio');
    if (kind === 'http') {
        assert(own.sessionId);
        await own.terminateSession();
    }
    await client.close();
}

main(...process.argv.slice(2));
