'use strict';
// The flows. What was captured is not to be trusted: it goes into the page as text alone.

const ROW = 24;
const HEX_BYTES = 4096;
const COLOURED_CHARS = 200000;
const PICTURES = /^image\/(png|jpeg|gif|webp|avif|bmp|x-icon|vnd\.microsoft\.icon|svg\+xml)$/;
const byId = id => document.getElementById(id);

function make(name, text, classes) {
  const element = document.createElement(name);
  if (text !== undefined) element.textContent = text;
  if (classes) element.className = classes;
  return element;
}

function button(text, does, label) {
  const made = make('button', text);
  made.type = 'button';
  if (label) { made.title = label; made.setAttribute('aria-label', label); }
  made.addEventListener('click', does);
  return made;
}

// The flows: a line of what the table shows, and a line with the rest, which is read when asked.
const flows = [];
for (const element of document.querySelectorAll('#plain script')) {
  const text = element.textContent;
  const end = text.indexOf('\n');
  const [id, began, method, status, url, type, size, total, before, wait, receive, flags] =
    JSON.parse(text.slice(0, end));
  const rest = url.replace(/^[a-z]+:\/\//i, '');
  const slash = rest.search(/[/?]/);
  const host = slash < 0 ? rest : rest.slice(0, slash);
  const path = slash < 0 ? '' : rest.slice(slash);
  const media = type.split(';')[0].trim().toLowerCase();
  flows.push({
    number: flows.length + 1, id, began, method, status, url, host, path, media, size, total,
    before, wait, receive, error: (flags & 1) !== 0, socket: (flags & 2) !== 0,
    replayed: (flags & 4) !== 0, more: text.slice(end + 1),
    words: `${method} ${status || ''} ${url} ${media} ${flags & 1 ? 'error' : ''}`.toLowerCase(),
  });
}
byId('plain').remove();

// The last moment that a date can be.
const LAST = 8.64e15;
const clock = ms => new Date(Math.min(ms, LAST)).toISOString().replace(/^.*T|Z$/g, '');
function bytes(count) {
  if (count < 1000) return `${count} B`;
  const units = ['kB', 'MB', 'GB', 'TB'];
  let at = -1;
  do { count /= 1000; at += 1; } while (count >= 999.5 && at < 3);
  return `${count < 10 ? count.toFixed(1) : Math.round(count)} ${units[at]}`;
}
function lasted(ms) {
  if (ms >= 60000) return `${(ms / 60000).toFixed(1)} min`;
  if (ms >= 1000) return `${(ms / 1000).toFixed(2)} s`;
  return ms >= 10 || ms === 0 ? `${Math.round(ms)} ms` : `${ms.toFixed(1)} ms`;
}
function kind(flow) {
  if (flow.socket) return 'websocket';
  return flow.media.replace(/^.*\//, '').replace(/^(x-|vnd\.)/, '').replace(/^.*\+/, '');
}

const state = {
  shown: flows, sort: null, down: false, chosen: -1, tab: 'Headers', from: 0, to: 1,
};
