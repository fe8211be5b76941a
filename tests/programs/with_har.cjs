// Usage: with_har.cjs FILE CHROMIUM ORIGIN...
//
// Validates a HAR file, then lets a browser live on it alone: what it asks of the origins, which
// are gone, is answered from the file.
'use strict';

const assert = require('node:assert/strict');
const fs = require('node:fs');
const path = require('node:path');
const validator = require('har-validator');
const { chromium } = require('playwright-core');

function found(name) {
  const folders = process.env.PATH.split(path.delimiter);
  return folders.map(folder => path.join(folder, name)).find(file => fs.existsSync(file));
}

async function validate(file) {
  try {
    await validator.har(JSON.parse(fs.readFileSync(file, 'utf8')));
  } catch (error) {
    throw new Error(JSON.stringify(error.errors ?? String(error)));
  }
}

async function main([file, name, ...origins]) {
  await validate(file);
  const args = ['--no-sandbox', '--disable-gpu', '--disable-dev-shm-usage'];
  const browser = await chromium.launch({ executablePath: found(name), args });
  try {
    const page = await browser.newPage();
    page.setDefaultTimeout(60_000);
    await page.routeFromHAR(file, { notFound: 'abort' });
    for (const origin of origins) {
      const response = await page.goto(`${origin}/text?by=fetch`);
      assert.equal(await response.text(), 'a text\n');
      const get = await page.evaluate(async () => (await fetch('/gzip')).text());
      assert.equal(get, 'a compressed text\n'.repeat(100));
      const post = await page.evaluate(
        async () => (await fetch('/echo', { method: 'POST', body: 'from fetch' })).text());
      assert.equal(post, 'from fetch');
      const other = await page.evaluate(
        () => fetch('/echo?unknown').then(() => 'answered', () => 'aborted'));
      assert.equal(other, 'aborted');
    }
  } finally {
    await browser.close();
  }
}

main(process.argv.slice(2)).catch(error => {
  console.error(error);
  process.exit(1);
});
