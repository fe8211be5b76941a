// Usage: with_report.cjs CHROMIUM FOLDER HOSTILE LARGE
//
// Opens two reports from their files: one of a hostile capture, of which nothing may run and nothing
// may be asked of anybody, and a large one, which must be quick to use. FOLDER gets screenshots.
'use strict';

const assert = require('node:assert/strict');
const fs = require('node:fs');
const path = require('node:path');
const { pathToFileURL } = require('node:url');
const { chromium } = require('playwright-core');

function found(name) {
  const folders = process.env.PATH.split(path.delimiter);
  return folders.map(folder => path.join(folder, name)).find(file => fs.existsSync(file));
}

// A page that tells of every request, every word on the console and every dialog.
async function open(browser, file, options = {}) {
  const context = await browser.newContext({ viewport: { width: 1280, height: 800 }, ...options });
  const page = await context.newPage();
  page.setDefaultTimeout(60_000);
  const told = { requests: [], words: [] };
  page.on('request', request => told.requests.push(request.url()));
  page.on('console', message => told.words.push(message.text()));
  page.on('pageerror', error => told.words.push(String(error)));
  page.on('dialog', dialog => { told.words.push(dialog.message()); dialog.dismiss(); });
  await page.goto(pathToFileURL(file).href);
  return { context, page, told };
}

const shown = page => page.locator('#space .row:not([hidden])');

async function filtered(page, words, count) {
  await page.fill('#filter', words);
  await page.waitForFunction(
    number => document.getElementById('rows').getAttribute('aria-rowcount') === number,
    String(count));
}

// Nothing of what was captured may become more than text, wherever it is looked at.
async function hostile(browser, file) {
  const { context, page, told } = await open(browser, file);
  const flows = Number(await page.getAttribute('#rows', 'aria-rowcount'));
  assert.ok(flows >= 5, `${flows} flows`);
  const seen = await page.evaluate(async number => {
    const all = selector => [...document.querySelectorAll(selector)];
    const press = key => document.activeElement.dispatchEvent(
      new KeyboardEvent('keydown', { key, bubbles: true }));
    const texts = [document.body.textContent];
    document.getElementById('rows').focus();
    for (let at = 0; at < number; at += 1) {
      press('ArrowDown');
      press('Enter');
      for (let tab = 0; tab < all('[role=tab]').length; tab += 1) {
        all('[role=tab]')[tab].click();
        texts.push(document.getElementById('details').textContent);
        for (const button of all('#panel h2 button')) {
          if (button.textContent === 'Copy') continue;
          button.click();
          texts.push(document.getElementById('details').textContent);
        }
        for (const picture of all('#panel img')) {
          texts.push(picture.src.slice(0, 11));
          await picture.decode().catch(() => {});
        }
      }
      press('Escape');
    }
    return texts.join('\n');
  }, flows);
  assert.ok(seen.includes('data:image/'), 'no picture was shown');
  for (const text of ['</script><script>', '<img src=x onerror=', '\u2028', '<!--', '"><svg']) {
    assert.ok(seen.includes(text), `${JSON.stringify(text)} is not shown`);
  }
  // What is only called a form is not taken apart.
  assert.ok(seen.includes('=%3Cimg+src=x+onerror=hit%3E'), 'no form is shown as it came');
  assert.ok(!seen.includes('<img src=x onerror=hit>'), 'what is no form is shown as one');
  await page.fill('#filter', '</script>');
  await page.fill('#filter', 'text:"<img src=x onerror="');
  await page.waitForFunction(
    () => Number(document.getElementById('rows').getAttribute('aria-rowcount')) > 0);
  assert.equal(await page.evaluate(() => window.hit), undefined);
  assert.deepEqual(told.words, []);
  const elsewhere = told.requests.filter(url => !/^(file|data):/.test(url));
  assert.deepEqual([elsewhere, told.requests.filter(url => url.startsWith('file:')).length], [[], 1]);

  // Were there a way in, the policy would still stop it.
  await page.evaluate(() => {
    const script = document.createElement('script');
    script.textContent = 'window.hit = 1';
    const picture = document.createElement('img');
    picture.src = 'http://127.0.0.1:9/x';
    const holder = document.createElement('div');
    document.body.append(script, picture, holder);
    holder.setAttribute('onclick', 'window.hit = 1');
    holder.click();
  });
  await page.evaluate(() => fetch('http://127.0.0.1:9/y').catch(() => {}));
  assert.equal(await page.evaluate(() => window.hit), undefined);
  assert.ok(told.words.length >= 4, told.words.join('\n'));
  const refused = words => words.includes('Content Security Policy');
  assert.ok(told.words.every(refused), told.words.join('\n'));
  await context.close();

  const plain = await open(browser, file, { javaScriptEnabled: false });
  assert.equal(await plain.page.locator('#plain tbody tr').count(), flows);
  assert.ok((await plain.page.innerText('#plain')).includes('</script><script>'));
  assert.ok(await plain.page.locator('noscript p').isVisible());
  assert.equal(plain.told.requests.length, 1);
  await plain.context.close();
}

// What a picture is: whether it has much in it, and the colour near its corner.
async function looked(browser, png) {
  const page = await browser.newPage();
  const seen = await page.evaluate(async data => {
    const image = new Image();
    image.src = `data:image/png;base64,${data}`;
    await image.decode();
    const canvas = new OffscreenCanvas(image.width, image.height);
    const brush = canvas.getContext('2d');
    brush.drawImage(image, 0, 0);
    const { data: bytes } = brush.getImageData(0, 0, image.width, image.height);
    const colours = new Set();
    for (let at = 0; at < bytes.length; at += 4) {
      colours.add(`${bytes[at]},${bytes[at + 1]},${bytes[at + 2]}`);
    }
    return { corner: [...bytes.slice(0, 3)].join(), colours: colours.size };
  }, png.toString('base64'));
  await page.close();
  return seen;
}

async function used(page, flows) {
  const elements = await page.evaluate(() => document.querySelectorAll('*').length);
  assert.ok(elements < 2_000, `${elements} elements`);
  await filtered(page, '', flows);

  // Only rows that can be seen are there, wherever one scrolls to.
  await page.evaluate(() => { document.getElementById('rows').scrollTop = 1e9; });
  await page.waitForFunction(
    number => [...document.querySelectorAll('#space .row:not([hidden]) .n')]
      .some(cell => cell.textContent === number),
    String(flows));

  await filtered(page, 'status:5xx', flows / 10);
  await filtered(page, 'status:5xx -path:/1', await page.evaluate(
    () => flows.filter(flow => flow.status >= 500 && !flow.path.includes('/1')).length));
  await filtered(page, 'host:a.example method:post text:"number 17,"', 1);
  await filtered(page, 'nothing-of-this', 0);
  assert.ok(await page.getByText('Nothing matches.').isVisible());
  await filtered(page, '', flows);

  const sizes = () => shown(page).locator('.size').allTextContents();
  await page.getByRole('button', { name: 'Size' }).click();
  const least = (await sizes())[0];
  await page.getByRole('button', { name: 'Size' }).click();
  assert.notEqual((await sizes())[0], least);
  assert.equal(await page.getAttribute('[role=columnheader].size', 'aria-sort'), 'descending');
  await page.getByRole('button', { name: 'Size' }).click();

  await page.keyboard.press('/');
  await page.keyboard.type('path:/42');
  await page.keyboard.press('ArrowDown');
  await page.keyboard.press('Enter');
  assert.equal(await page.locator('.url').innerText(), 'POST 200 OK https://a.example/42');
  await page.evaluate(() => {
    navigator.clipboard.writeText = async text => { window.copied = text; };
  });
  await page.getByRole('button', { name: 'Copy as curl' }).click();
  assert.match(await page.evaluate(() => window.copied), /^curl 'https:\/\/a\.example\/42' /);
  await page.getByRole('tab', { name: 'Headers' }).focus();
  await page.keyboard.press('ArrowRight');
  assert.equal(await page.textContent('[role=tab][aria-selected=true]'), 'Request');
  await page.keyboard.press('ArrowRight');
  assert.ok((await page.textContent('#panel pre')).includes('"number": 42'));
  await page.keyboard.press('Escape');
  assert.ok(await page.locator('#details').isHidden());
  await page.fill('#filter', '');
}

async function large(browser, report, folder) {
  const all = [['light', 1280], ['dark', 400], ['dark', 1280], ['light', 400]];
  for (const [colorScheme, width] of all.slice(0, process.env.FLOWTAP_TEST_LONG ? 4 : 2)) {
    const viewport = { width, height: 800 };
    const { context, page } = await open(browser, report, { colorScheme, viewport });
    const flows = Number(await page.getAttribute('#rows', 'aria-rowcount'));
    if (colorScheme === 'light' && width === 1280) await used(page, flows);
    const file = name => path.join(folder, `${name}-${colorScheme}-${width}.png`);
    const list = await page.screenshot({ path: file('list') });
    await shown(page).first().click();
    await page.getByRole('tab', { name: 'Response' }).click();
    const details = await page.screenshot({ path: file('details') });
    const corner = colorScheme === 'light' ? '245,246,248' : '31,34,39';
    for (const png of [list, details]) {
      const seen = await looked(browser, png);
      assert.equal(seen.corner, corner);
      assert.ok(seen.colours > 50, `${seen.colours} colours`);
    }
    // Nothing sticks out to the side.
    const over = await page.evaluate(
      () => document.documentElement.scrollWidth - document.documentElement.clientWidth);
    assert.equal(over, 0);
    await context.close();
  }
}

async function main([name, folder, hostileFile, largeFile]) {
  const args = ['--no-sandbox', '--disable-gpu', '--disable-dev-shm-usage'];
  const browser = await chromium.launch({ executablePath: found(name), args });
  try {
    await hostile(browser, hostileFile);
    await large(browser, largeFile, folder);
  } finally {
    await browser.close();
  }
}

main(process.argv.slice(2)).catch(error => {
  console.error(error);
  process.exit(1);
});
