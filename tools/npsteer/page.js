'use strict';
// Draws what /events says. Text goes into the page as text alone; there is no markup made from data.

const KEEP = 120;                       // looks that are drawn
const COLOURS = 8;
const VERDICTS = ['steered', 'fallback', 'migrated', 'refused', 'shed'];
const SVG = 'http://www.w3.org/2000/svg';

const $ = id => document.getElementById(id);
const looks = [];                       // the last ones, oldest first
const drains = new Map();               // of a worker that drains: its connections when that began
let events = 0;

function element(name, attributes, ...children) {
  const e = document.createElement(name);
  for (const [k, v] of Object.entries(attributes || {}))
    e.setAttribute(k, v);
  e.append(...children);
  return e;
}

function svg(name, attributes, text) {
  const e = document.createElementNS(SVG, name);
  for (const [k, v] of Object.entries(attributes))
    e.setAttribute(k, v);
  if (text !== undefined)
    e.textContent = text;
  return e;
}

const format = v => v === null || v === undefined ? '–' :
  v >= 10000 ? (v / 1000).toFixed(v >= 100000 ? 0 : 1) + 'k' :
  Number.isInteger(v) ? String(v) : v.toFixed(v < 10 ? 2 : 1);
const colour = i => 'c' + i % COLOURS;
const key = w => w.worker + ' ' + w.name + ' ' + w.pid;
const sum = (list, of) => list.reduce((n, x) => n + of(x), 0);

// ---------------------------------------------------------------- what the looks say

// Since the look before; a counter that went back was begun anew.
function compare(now, last) {
  const seconds = last ? now.at - last.at : 0;
  const rate = (a, b) => seconds > 0 && b !== undefined && a >= b ? (a - b) / seconds : null;
  const before = new Map((last && last.workers || []).map(w => [key(w), w]));
  for (const w of now.workers) {
    const b = before.get(key(w));
    w.rate = rate(w.given, b && b.given);
  }
  now.rates = {};
  for (const v of VERDICTS)
    now.rates[v] = rate(now.verdicts[v], last && last.verdicts && last.verdicts[v]);
  const ready = now.workers.filter(w => w.state === 'ready' && w.says);
  const mean = ready.length ? sum(ready, w => w.conns) / ready.length : 0;
  now.balance = mean > 0 ? Math.max(...ready.map(w => w.conns)) / mean : null;
}

function noteDrains(now) {
  const there = new Set();
  for (const w of now.workers) {
    if (w.state === 'ready' || !w.says)
      continue;
    there.add(key(w));
    if (!drains.has(key(w)))
      drains.set(key(w), w.conns);
    drains.set(key(w), Math.max(drains.get(key(w)), w.conns));
  }
  for (const k of drains.keys())
    if (!there.has(k))
      drains.delete(k);
}

// ---------------------------------------------------------------- plots

function nice(max) {
  if (!(max > 0))
    return 1;
  const p = 10 ** Math.floor(Math.log10(max));
  return [1, 2, 2.5, 5, 10].map(m => m * p).find(v => v >= max);
}

// lines: arrays of values, oldest first, null where there is none
function plot(node, lines, least) {
  const W = node.clientWidth || 420, H = 132, L = 38, B = 14, T = 6;
  const max = nice(Math.max(least || 0, ...lines.flatMap(l => l.values.filter(v => v !== null))));
  const x = i => L + (W - L - 4) * i / (KEEP - 1), y = v => T + (H - B - T) * (1 - v / max);
  const out = [];
  for (const part of [0, 0.5, 1]) {
    out.push(svg('line', { class: 'grid', x1: L, x2: W - 4, y1: y(max * part), y2: y(max * part) }));
    out.push(svg('text', { x: L - 7, y: y(max * part) + 3.5, 'text-anchor': 'end' }, format(max * part)));
  }
  const spacing = looks.length > 1 ? (looks[looks.length - 1].at - looks[0].at) / (looks.length - 1) : 1;
  out.push(svg('text', { x: L, y: H }, '-' + Math.round(spacing * (KEEP - 1)) + ' s'));
  out.push(svg('text', { x: W - 4, y: H, 'text-anchor': 'end' }, 'now'));
  for (const line of lines) {
    const shift = KEEP - line.values.length;
    let d = '', pen = 'M', from = null, to = 0;
    line.values.forEach((v, i) => {
      if (v === null) {
        pen = 'M';
        return;
      }
      d += pen + x(i + shift).toFixed(1) + ' ' + y(v).toFixed(1);
      pen = 'L';
      from = from === null ? i + shift : from;
      to = i + shift;
    });
    if (!d)
      continue;
    if (line.area)
      out.push(svg('path', { class: 'area ' + line.colour, d: d + 'L' + x(to).toFixed(1) + ' ' + y(0) + 'L' + x(from).toFixed(1) + ' ' + y(0) + 'Z' }));
    out.push(svg('path', { class: 'line ' + line.colour, d: d }));
  }
  node.setAttribute('viewBox', '0 0 ' + W + ' ' + H);
  node.replaceChildren(...out);
}

function spark(values, class_) {
  const max = Math.max(1, ...values.filter(v => v !== null)), n = 40, last = values.slice(-n);
  const at = last.map((v, i) => v === null ? null :
    ((i + n - last.length) * 96 / (n - 1)).toFixed(1) + ' ' + (18 - 16 * v / max).toFixed(1)).filter(p => p !== null);
  const node = svg('svg', { class: 'spark', viewBox: '0 0 96 20', 'aria-hidden': 'true' });
  if (at.length)
    node.append(svg('path', { class: 'line ' + class_, d: 'M' + at.join('L') }));
  return node;
}

const historyOf = (k, of) => looks.map(l => {
  const w = l.workers.find(v => key(v) === k);
  return w ? of(w) : null;
});

// ---------------------------------------------------------------- drawn

function drawHead(now) {
  const hang = now.workers.filter(w => w.hangs).length, ready = now.workers.filter(w => w.state === 'ready').length;
  document.title = now.service + ' – npsteer';
  $('service').textContent = now.service;
  $('facts').textContent = now.addresses.join(', ') + '  ·  level ' + now.level + '  ·  policy ' + now.policy +
    '  ·  hang_ms ' + now.hang_ms;
  $('dot').className = 'dot ' + (!ready || hang === now.workers.length ? 'bad' : hang || ready < now.workers.length ? 'warn' : 'good');
}

function tile(value, name, class_) {
  return element('div', { class: 'tile ' + (class_ || '') }, element('b', {}, format(value)), element('span', {}, name));
}

function drawTiles(now) {
  const hang = now.workers.filter(w => w.hangs).length, queued = sum(now.workers, w => w.queued);
  const given = now.rates.steered === null ? null : now.rates.steered + now.rates.fallback;
  const lost = now.rates.refused === null ? null : now.rates.refused + now.rates.shed;
  $('tiles').replaceChildren(
    tile(now.workers.filter(w => w.state === 'ready').length, 'of ' + now.workers.length + ' workers ready'),
    tile(sum(now.workers, w => w.says ? w.conns : 0), 'connections'),
    tile(given === null ? null : Math.round(given), 'new ones a second'),
    tile(queued, 'wait in queues', queued > 64 ? 'warn' : ''),
    tile(now.balance, 'fullest / mean', now.balance > 2 ? 'warn' : ''),
    tile(hang, 'hang', hang ? 'bad' : ''),
    tile(lost === null ? null : Math.round(lost), 'refused a second', lost > 0 ? 'bad' : ''));
}

function drawPlots(now) {
  const lines = of => now.workers.map((w, i) => ({ values: historyOf(key(w), of), colour: colour(i) }));
  plot($('plot-rate'), lines(w => w.rate), 1);
  plot($('plot-queue'), lines(w => w.queued), 4);
  plot($('plot-balance'), [{ values: looks.map(l => l.balance), colour: 'c0', area: true }], 2);
  plot($('plot-verdicts'), VERDICTS.map((v, i) => ({ values: looks.map(l => l.rates[v]), colour: colour(i) })), 1);
  $('legend').replaceChildren(...VERDICTS.map((v, i) =>
    element('li', {}, element('span', { class: 'swatch ' + colour(i) }), v + ' ' + format(now.verdicts[v]))));
}

function badge(w) {
  if (w.hangs)
    return element('span', { class: 'badge bad' }, 'hangs');
  return element('span', { class: 'badge ' + ({ ready: 'good', draining: 'warn' }[w.state] || 'off') }, w.state);
}

function drawWorkers(now) {
  $('workers').replaceChildren(...now.workers.map((w, i) => element('tr', {},
    element('td', {}, element('span', { class: 'swatch ' + colour(i) })),
    element('td', {}, w.name || '#' + w.worker),
    element('td', {}, badge(w)),
    element('td', { class: 'soft' }, (w.pid ? String(w.pid) : '–') + (w.cpu >= 0 ? '  cpu ' + w.cpu : '') + (w.kind === 'server' ? '' : '  ' + w.kind)),
    element('td', { class: 'n' }, w.says ? format(w.conns) : '–'),
    element('td', { class: 'n' }, w.rate === null ? '–' : format(Math.round(w.rate))),
    element('td', {}, spark(historyOf(key(w), v => v.rate), colour(i))),
    element('td', { class: 'n' }, format(w.queued)),
    element('td', { class: 'n' }, w.busy_ms ? format(w.busy_ms) + ' ms' : '–'),
    element('td', { class: 'n' }, format(w.rescued)))));
}

function drawDrains(now) {
  const rows = now.workers.filter(w => drains.has(key(w)));
  $('drains').hidden = !rows.length;
  $('drain-rows').replaceChildren(...rows.map(w => {
    const from = drains.get(key(w)), bar = element('progress', { max: from || 1, value: from ? from - w.conns : 1 });
    return element('div', { class: 'drain' }, element('span', {}, w.name || '#' + w.worker), bar,
      element('span', { class: 'soft' }, w.conns ? w.conns + ' of ' + from + ' left' : 'drained'));
  }));
}

function draw() {
  const now = looks[looks.length - 1];
  drawHead(now);
  drawTiles(now);
  drawPlots(now);
  drawDrains(now);
  drawWorkers(now);
}

// ---------------------------------------------------------------- what comes

function say(text, bad) {
  $('status').textContent = text;
  $('status').className = 'status' + (bad ? ' bad' : '');
  if (bad)
    $('dot').className = 'dot bad';
}

function take(look) {
  if (look.error) {
    say(look.error, true);
    return;
  }
  compare(look, looks[looks.length - 1]);
  noteDrains(look);
  looks.push(look);
  if (looks.length > KEEP)
    looks.shift();
  say('live, ' + new Date().toLocaleTimeString(), false);
  draw();
}

const source = new EventSource('events');
source.onmessage = event => {
  take(JSON.parse(event.data));
  document.documentElement.dataset.events = String(++events);
};
source.onerror = () => say('npsteer does not answer: what is shown is old', true);
addEventListener('resize', () => looks.length && draw());
