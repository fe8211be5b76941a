// Usage: with_run.cjs ORIGIN…
//
// Asks as programs ask that know of no proxy and no certificate authority but by their environment.
'use strict';

const assert = require('node:assert/strict');
const http = require('node:http');
const https = require('node:https');

function get(url, options) {
  const { get: begin } = url.startsWith('https:') ? https : http;
  return new Promise((resolve, reject) => {
    const request = begin(url, { timeout: 30_000, ...options }, answer => {
      let text = '';
      answer.setEncoding('utf8').on('data', data => { text += data; });
      answer.on('end', () => resolve(text)).on('error', reject);
    });
    request.on('error', reject).on('timeout', () => request.destroy(new Error('time-out')));
  });
}

async function main(origins) {
  for (const origin of origins) {
    const answer = await fetch(`${origin}/text?by=fetch`, { signal: AbortSignal.timeout(30_000) });
    assert.equal(await answer.text(), 'a text\n');
    const body = 'a body '.repeat(20_000);
    const echo = await fetch(`${origin}/echo`, { method: 'POST', body });
    assert.equal(await echo.text(), body);
    assert.equal(await get(`${origin}/text?by=request`), 'a text\n');
    // With an agent of its own, and with connections that are kept.
    const { Agent } = origin.startsWith('https:') ? https : http;
    const agent = new Agent({ keepAlive: true });
    for (const number of [1, 2]) {
      assert.equal(await get(`${origin}/text?by=agent${number}`, { agent }), 'a text\n');
    }
    agent.destroy();
    // What cannot be reached is an error as ever, and not the end of the program.
    const nobody = origin.replace(/\d+$/, '1');
    await assert.rejects(fetch(nobody));
    await get(nobody).then(text => assert.match(text, /flowtap/), error => assert.ok(error.code
      || error.message));
  }
}

main(process.argv.slice(2)).catch(error => {
  console.error(error);
  process.exit(1);
});
