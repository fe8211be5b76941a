// The official TypeScript SDK, second major, as a client: with `server/discover` and without.
//
// Usage: with_sdk_2.cjs sse URL | http URL | stdio COMMAND [ARGUMENT]...
'use strict';

const assert = require('node:assert');
const { Client, SSEClientTransport, StreamableHTTPClientTransport } =
    require('@modelcontextprotocol/client');
const { StdioClientTransport } = require('@modelcontextprotocol/client/stdio');
const { checkAll } = require('./checks.cjs');

function transport(kind, target, args) {
    switch (kind) {
    case 'sse': return new SSEClientTransport(new URL(target));
    case 'http': return new StreamableHTTPClientTransport(new URL(target));
    default: return new StdioClientTransport({ command: target, args });
    }
}

async function check(mode, version, kind, target, args) {
    const client = new Client({ name: 'test', version: '1' }, { versionNegotiation: { mode } });
    await client.connect(transport(kind, target, args));
    assert.strictEqual(client.getNegotiatedProtocolVersion(), version);
    const call = (params, options) => client.callTool(params, options);
    await checkAll(client, call, kind !== 'stdio');
    await client.close();
}

async function main(kind, target, ...args) {
    await check('auto', '2026-07-28', kind, target, args);
    await check('legacy', '2025-11-25', kind, target, args);
}

main(...process.argv.slice(2));
