
// The filter.

function compare(words, value, unit) {
  const match = /^(>=|<=|>|<|=)?(\d+(?:\.\d+)?)([km]?)$/.exec(words);
  if (!match) return null;
  const scale = { '': 1, k: 1000, m: 1000000 }[unit ? match[3] : ''];
  const than = Number(match[2]) * scale;
  const is = {
    '>=': it => it >= than, '<=': it => it <= than, '>': it => it > than, '<': it => it < than,
    '=': it => it === than,
  }[match[1] || '='];
  return flow => is(value(flow));
}

// A word as it stands in the lines of JSON, whatever the case of its letters.
function anywhere(word) {
  const json = JSON.stringify(word).slice(1, -1).replace(/</g, '\\u003c');
  const pattern = new RegExp(json.replace(/[.*+?^${}()|[\]\\]/g, '\\$&'), 'i');
  return flow => pattern.test(flow.more);
}

function term(word) {
  const [, key, value] = /^([a-z]+):(.+)$/.exec(word.toLowerCase()) || [];
  const has = part => flow => part(flow).toLowerCase().includes(value);
  switch (key) {
    case 'status': {
      const group = /^([1-5])xx$/.exec(value);
      if (group) return flow => Math.floor(flow.status / 100) === Number(group[1]);
      return compare(value, flow => flow.status);
    }
    case 'method': return has(flow => flow.method);
    case 'host': return has(flow => flow.host);
    case 'path': return has(flow => flow.path);
    case 'type': return has(flow => `${flow.media} ${kind(flow)}`);
    case 'size': return compare(value, flow => flow.size, true);
    case 'time': return compare(value, flow => flow.total);
    case 'text': return anywhere(value);
    case 'is': return {
      error: flow => flow.error || flow.status >= 400,
      websocket: flow => flow.socket,
      replayed: flow => flow.replayed,
    }[value] || null;
    default: {
      const lower = word.toLowerCase();
      return flow => flow.words.includes(lower);
    }
  }
}

function filter() {
  const box = byId('filter');
  const words = box.value.match(/(?:[^\s"]+|"[^"]*"?)+/g) || [];
  const terms = [];
  let wrong = false;
  for (const word of words) {
    const not = word.startsWith('-') && word.length > 1;
    const bare = (not ? word.slice(1) : word).replace(/"/g, '');
    if (!bare) continue;
    const one = term(bare);
    if (!one) wrong = true;
    else terms.push(not ? flow => !one(flow) : one);
  }
  box.classList.toggle('wrong', wrong);
  const chosen = state.shown[state.chosen];
  state.shown = flows.filter(flow => terms.every(is => is(flow)));
  sort();
  state.chosen = chosen ? state.shown.indexOf(chosen) : -1;
  count();
  draw(true);
}

function count() {
  const counts = byId('counts');
  counts.textContent = '';
  const many = number => number.toLocaleString('en');
  const all = flows.length === state.shown.length;
  const failed = state.shown.filter(flow => flow.error || flow.status >= 400).length;
  const size = state.shown.reduce((sum, flow) => sum + flow.size, 0);
  const part = all ? '' : `${many(state.shown.length)} of `;
  const number = `${part}${many(flows.length)}`;
  counts.append(`${number} ${flows.length === 1 ? 'flow' : 'flows'} · ${bytes(size)}`);
  if (failed) counts.append(' · ', make('b', `${many(failed)} failed`));
  byId('none').hidden = state.shown.length > 0;
  state.from = state.shown.reduce((least, flow) => Math.min(least, flow.began), Infinity);
  state.to = state.shown.reduce((most, flow) => Math.max(most, flow.began + flow.total), 0);
}
