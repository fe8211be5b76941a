// Usage: with_ws.cjs PROXY CA URL
'use strict';

const assert = require('node:assert/strict');
const fs = require('node:fs');
const http = require('node:http');
const tls = require('node:tls');
const WebSocket = require('ws');

/** A tunnel through the proxy to the host and port of `url`, with TLS inside for wss. */
function tunnel(proxy, ca, url) {
  return new Promise((resolve, reject) => {
    const { hostname, port } = new URL(proxy);
    const request = http.request({ hostname, port, method: 'CONNECT', path: url.host });
    request.on('connect', (answer, socket) => {
      if (answer.statusCode !== 200) return reject(new Error(`CONNECT: ${answer.statusCode}`));
      if (url.protocol === 'ws:') return resolve(socket);
      const secure = tls.connect({ socket, servername: url.hostname, ca: fs.readFileSync(ca) });
      secure.on('secureConnect', () => resolve(secure));
      secure.on('error', reject);
    });
    request.on('error', reject);
    request.end();
  });
}

/** Sends each message, and expects each back in order. */
function talk(url, socket, options, messages) {
  return new Promise((resolve, reject) => {
    const client = new WebSocket(url, {
      createConnection: () => socket,
      perMessageDeflate: { threshold: 0, ...options },
      handshakeTimeout: 30_000,
    });
    let answers = 0;
    client.on('open', () => {
      assert.match(client.extensions, /permessage-deflate/);
      messages.forEach(message => client.send(message));
    });
    client.on('message', (data, binary) => {
      const answer = binary ? data : data.toString();
      try {
        assert.deepEqual(answer, messages[answers]);
      } catch (error) {
        reject(error);
      }
      answers += 1;
      if (answers === messages.length) client.close(1000, 'bye');
    });
    client.on('close', code => resolve(code));
    client.on('error', reject);
  });
}

async function main([proxy, ca, address]) {
  const url = new URL(address);
  const messages = ['a text '.repeat(1_000), 'a text '.repeat(1_000), Buffer.alloc(70_000, 7)];
  for (const options of [{}, { serverNoContextTakeover: true, clientNoContextTakeover: true }]) {
    const socket = await tunnel(proxy, ca, url);
    assert.equal(await talk(url, socket, options, messages), 1000);
  }
}

setTimeout(() => {
  console.error('not finished after 30 s');
  process.exit(1);
}, 30_000).unref();
main(process.argv.slice(2)).catch(error => {
  console.error(error);
  process.exit(1);
});
