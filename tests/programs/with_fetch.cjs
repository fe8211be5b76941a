// Usage: with_fetch.cjs PROXY CA HTTP_ORIGIN HTTPS_ORIGIN
'use strict';

const assert = require('node:assert/strict');
const fs = require('node:fs');
const { fetch, ProxyAgent } = require('undici');

async function main([uri, ca, ...origins]) {
  const dispatcher = new ProxyAgent({ uri, requestTls: { ca: fs.readFileSync(ca) } });
  const signal = AbortSignal.timeout(30_000);
  for (const origin of origins) {
    const text = await fetch(`${origin}/text?by=fetch`, { dispatcher, signal });
    assert.equal(await text.text(), 'a text\n');
    assert.deepEqual(text.headers.getSetCookie(), ['first=1', 'second=2']);
    const echo = await fetch(`${origin}/echo`,
      { method: 'POST', body: 'from fetch', dispatcher, signal });
    assert.equal(await echo.text(), 'from fetch');
    const gzip = await fetch(`${origin}/gzip`, { dispatcher, signal });
    assert.equal(await gzip.text(), 'a compressed text\n'.repeat(100));
  }
  await dispatcher.close();
}

main(process.argv.slice(2)).catch(error => {
  console.error(error);
  process.exit(1);
});
