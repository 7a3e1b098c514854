// page: npsteer's page in a headless browser: page.js URL PNG. EVENTS: how many it waits for, 3 at the least.
'use strict';
const puppeteer = require('puppeteer-core');

const [url, png] = process.argv.slice(2);
const wanted = Math.max(3, Number(process.env.EVENTS || 3));
const faults = [];

function watch(page) {
  page.on('request', r => {
    if (!r.url().startsWith(url) && !r.url().startsWith('data:'))
      faults.push('a request to another place: ' + r.url());
  });
  page.on('requestfailed', r => {
    if (!r.url().endsWith('/events')) // ends with the page
      faults.push('failed: ' + r.url());
  });
  page.on('response', r => r.status() === 200 || faults.push(r.status() + ': ' + r.url()));
  page.on('console', m => ['error', 'warn', 'warning'].includes(m.type()) && faults.push('console: ' + m.text()));
  page.on('pageerror', e => faults.push('error: ' + e.message));
}

const events = (page, n) =>
  page.waitForFunction(k => Number(document.documentElement.dataset.events) >= k, { timeout: 60000 }, n);

async function look(page) {
  return page.evaluate(() => ({
    rows: document.querySelectorAll('#workers tr').length,
    tiles: document.querySelectorAll('.tile').length,
    lines: document.querySelectorAll('figure svg path.line').length,
    status: document.getElementById('status').textContent,
    service: document.getElementById('service').textContent,
    wide: document.documentElement.scrollWidth > innerWidth,
  }));
}

function expect(what, got, ok) {
  if (!ok)
    faults.push(what + ': ' + JSON.stringify(got));
}

(async () => {
  const browser = await puppeteer.launch({
    executablePath: process.env.CHROMIUM || '/usr/bin/chromium-headless-shell',
    args: ['--no-sandbox', '--disable-gpu', '--disable-dev-shm-usage'],
    headless: 'shell',
  });
  const page = await browser.newPage();
  watch(page);
  await page.setViewport({ width: 1240, height: 900 });
  await page.goto(url);
  await events(page, wanted);
  const seen = await look(page);
  expect('rows', seen, seen.rows >= 4);
  expect('tiles', seen, seen.tiles === 7);
  expect('lines', seen, seen.lines >= 8);
  expect('status', seen, seen.status.startsWith('live'));
  expect('service', seen, seen.service === 'web');
  await page.screenshot({ path: png, fullPage: true });
  await page.emulateMediaFeatures([{ name: 'prefers-color-scheme', value: 'dark' }]);
  await page.screenshot({ path: png.replace(/\.png$/, '-dark.png'), fullPage: true });
  await page.setViewport({ width: 390, height: 844 });
  await events(page, wanted + 1);
  const narrow = await look(page);
  expect('wider than a phone', narrow, !narrow.wide);
  await browser.close();
  for (const f of faults)
    console.error('check-page: ' + f);
  if (faults.length)
    process.exit(1);
  console.log(`check-page: ${wanted} events, ${seen.rows} workers, ${seen.lines} lines drawn; nothing asked of another place, nothing said by the console; ${png}`);
})().catch(e => {
  console.error('check-page: ' + e.message);
  process.exit(1);
});
