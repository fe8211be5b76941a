
// The details of a flow.

function close() {
  byId('details').hidden = true;
  byId('rows').focus();
  draw(true);
}

async function copy(text, from) {
  let done = true;
  try {
    await navigator.clipboard.writeText(text);
  } catch {
    const area = make('textarea');
    area.value = text;
    document.body.append(area);
    area.select();
    done = document.execCommand('copy');
    area.remove();
  }
  const said = from.textContent;
  from.textContent = done ? 'Copied' : 'Not copied';
  setTimeout(() => { from.textContent = said; }, 1200);
}

function show(flow) {
  const details = byId('details');
  const more = JSON.parse(flow.more);
  details.textContent = '';
  details.hidden = false;
  const top = make('div', undefined, 'top');
  const url = make('p', undefined, 'url');
  const status = flow.status ? `${flow.status} ${more.response.reason}` : 'failed';
  const colour = `s${Math.floor(flow.status / 100)}`;
  url.append(make('b', flow.method), ' ', make('b', status, colour), ' ', flow.url);
  top.append(url);
  top.append(button('Copy URL', event => copy(flow.url, event.target)));
  if (more.curl) {
    top.append(button('Copy as curl', event => copy(more.curl, event.target)));
  }
  top.append(button('✕', close, 'Close'));
  const tabs = make('div');
  tabs.setAttribute('role', 'tablist');
  const panel = make('div');
  panel.setAttribute('role', 'tabpanel');
  panel.id = 'panel';
  panel.tabIndex = 0;
  const all = panels(flow, more);
  const select = name => {
    state.tab = name;
    panel.textContent = '';
    panel.scrollTop = 0;
    panel.setAttribute('aria-label', name);
    for (const tab of tabs.children) {
      const is = tab.textContent === name;
      tab.setAttribute('aria-selected', is);
      tab.tabIndex = is ? 0 : -1;
    }
    if (more.error) panel.append(make('p', more.error, 'error'));
    all.get(name)(panel);
  };
  for (const name of all.keys()) {
    const tab = button(name, () => select(name));
    tab.setAttribute('role', 'tab');
    tab.setAttribute('aria-controls', 'panel');
    tabs.append(tab);
  }
  details.append(top, tabs, panel);
  select(all.has(state.tab) ? state.tab : 'Headers');
}

function panels(flow, more) {
  const all = new Map();
  all.set('Headers', panel => {
    section(panel, 'Request', more.request.http_version);
    pairs(panel, more.request.headers);
    trailers(panel, more.request);
    if (more.response) {
      section(panel, 'Response', more.response.http_version);
      pairs(panel, more.response.headers);
      trailers(panel, more.response);
    }
  });
  if (more.query.length) all.set('Query', panel => pairs(panel, more.query));
  if (more.request.body) all.set('Request', panel => body(panel, more.request));
  if (more.response && more.response.body) {
    all.set('Response', panel => body(panel, more.response));
  }
  if (more.messages) all.set('Messages', panel => messages(panel, more));
  all.set('Timing', panel => timing(panel, flow, more));
  return all;
}

function section(panel, title, ...rest) {
  const head = make('h2', title);
  head.append(...rest.filter(it => it).map(it => make('span', it)));
  panel.append(head);
  return head;
}

function trailers(panel, message) {
  if (!message.trailers.length) return;
  section(panel, 'Trailers');
  pairs(panel, message.trailers);
}

function pairs(panel, all) {
  const table = make('table', undefined, 'pairs');
  for (const [name, value] of all) {
    const row = make('tr');
    row.append(make('td', name), make('td', value));
    table.append(row);
  }
  panel.append(all.length ? table : make('p', 'none', 'note'));
}

const raw = base64 => Uint8Array.from(atob(base64), letter => letter.charCodeAt(0));

// Clients call much a form that is none, as curl does with JSON.
const isForm = text => text.includes('=') && /^[^\s\p{Cc}"<]+\s*$/u.test(text);

function body(panel, message) {
  const { body } = message;
  const field = message.headers.find(([name]) => name.toLowerCase() === 'content-type');
  const media = field ? field[1].split(';')[0].trim().toLowerCase() : '';
  const wire = body.wire_size !== undefined && body.wire_size !== body.size
    ? `, ${bytes(body.wire_size)} on the wire` : '';
  const head = section(panel, media || 'no type', `${bytes(body.size)}${wire}`);
  if (body.note) panel.append(make('p', body.note, 'note'));
  if (body.cut) panel.append(make('p', 'The report has only the beginning of it.', 'note'));
  const view = make('div');
  panel.append(view);
  const isThere = body.text !== undefined || body.base64 !== undefined;
  if (PICTURES.test(media) && !body.cut && body.size && isThere) {
    const picture = make('img', undefined, 'picture');
    picture.alt = 'The picture cannot be shown';
    const data = body.base64 === undefined ? encodeURIComponent(body.text) : body.base64;
    picture.src = `data:${media}${body.base64 === undefined ? '' : ';base64'},${data}`;
    view.append(picture);
    if (body.text === undefined) return;
  }
  if (body.base64 !== undefined) return hex(view, raw(body.base64));
  if (body.text === undefined) return;
  const pre = make('pre');
  view.append(pre);
  const plain = () => { pre.textContent = body.text; };
  const views = [['Raw', plain]];
  if (/^\s*[[{]/.test(body.text) && body.text.length <= COLOURED_CHARS) {
    views.unshift(['Indented', () => { pre.textContent = ''; indent(pre, body.text); }]);
  } else if (media === 'application/x-www-form-urlencoded' && isForm(body.text)) {
    views.unshift(['Fields', () => {
      pre.textContent = '';
      pairs(pre, [...new URLSearchParams(body.text)]);
    }]);
  }
  if (views.length > 1) {
    let at = 0;
    const toggle = button(views[1][0], () => {
      at = 1 - at;
      views[at][1]();
      toggle.textContent = views[1 - at][0];
    });
    head.append(toggle);
  }
  head.append(button('Copy', event => copy(body.text, event.target)));
  views[0][1]();
}

// Numbers stay as they were written, and what is cut is indented as far as it goes.
function indent(pre, text) {
  const tokens = text.match(/"(?:[^"\\]+|\\.)*"?|[{}[\],:]|[^\s{}[\],:"]+/gs) || [];
  let depth = 0;
  let plain = '';
  const line = () => { plain += `\n${'  '.repeat(Math.max(0, Math.min(depth, 60)))}`; };
  const coloured = (token, name) => {
    pre.append(plain, make('span', token, name));
    plain = '';
  };
  tokens.forEach((token, at) => {
    const next = tokens[at + 1];
    if (token === '{' || token === '[') {
      plain += token;
      depth += 1;
      if (next !== '}' && next !== ']') line();
    } else if (token === '}' || token === ']') {
      const before = tokens[at - 1];
      depth -= 1;
      if (before !== '{' && before !== '[') line();
      plain += token;
    } else if (token === ',') {
      plain += token;
      line();
    } else if (token === ':') {
      plain += ': ';
    } else if (token[0] === '"') {
      coloured(token, next === ':' ? 'k' : 's');
    } else {
      coloured(token, 'd');
    }
  });
  pre.append(plain);
}

function hex(view, data) {
  const pre = make('pre', undefined, 'hex');
  const lines = end => {
    const all = [];
    for (let at = 0; at < end; at += 16) {
      const line = data.subarray(at, Math.min(at + 16, end));
      const digits = Array.from(line, byte => byte.toString(16).padStart(2, '0'));
      const first = digits.slice(0, 8).join(' ').padEnd(23);
      const second = digits.slice(8).join(' ').padEnd(23);
      const letter = byte => (byte > 31 && byte < 127 ? String.fromCharCode(byte) : '.');
      const letters = Array.from(line, letter).join('');
      all.push(`${at.toString(16).padStart(6, '0')}  ${first}  ${second}  ${letters}`);
    }
    pre.textContent = all.join('\n');
  };
  lines(Math.min(data.length, HEX_BYTES));
  view.append(pre);
  if (data.length > HEX_BYTES) {
    const rest = button(`Show ${bytes(data.length - HEX_BYTES)} more`, () => {
      lines(data.length);
      rest.remove();
    });
    view.append(rest);
  }
}

function messages(panel, more) {
  const shown = more.messages.length;
  section(panel, `${shown} ${shown === 1 ? 'message' : 'messages'}`);
  if (more.messages_left_out) {
    panel.append(make('p', `Not in the report: ${more.messages_left_out} more.`, 'note'));
  }
  for (const message of more.messages) {
    const row = make('div', undefined, 'message');
    const sent = message.direction === 'send';
    const arrow = make('span', sent ? '↑' : '↓', `arrow ${sent ? 'sent' : 'got'}`);
    arrow.title = sent ? 'sent' : 'received';
    row.append(arrow, make('time', message.time.slice(11, 23)));
    if (message.base64 === undefined) {
      const pre = make('pre');
      const text = message.text || '';
      if (/^\s*[[{]/.test(text)) indent(pre, text);
      else pre.textContent = text;
      row.append(pre);
    } else {
      const holder = make('div');
      hex(holder, raw(message.base64));
      row.append(holder);
    }
    const cut = message.cut ? `the beginning of ${bytes(message.size)}` : undefined;
    for (const note of [message.note, cut].filter(it => it)) {
      row.append(make('span'), make('span'), make('p', note, 'note'));
    }
    panel.append(row);
  }
}

function timing(panel, flow, more) {
  section(panel, 'Phases');
  const grid = make('div', undefined, 'phases');
  const { timing } = more;
  const total = timing.total_ms || 1;
  let at = 0;
  for (const [name, key, colour] of [
    ['Name look-up', 'dns_ms', 'before'], ['Connecting', 'connect_ms', 'before'],
    ['TLS', 'tls_ms', 'before'], ['Sending', 'send_ms', 'before'],
    ['Waiting', 'wait_ms', 'wait'], ['Receiving', 'receive_ms', 'receive'],
  ]) {
    const ms = timing[key];
    if (ms === null) continue;
    const track = make('div', undefined, 'track');
    const piece = make('i', undefined, colour);
    piece.style.left = `${Math.min(at / total * 100, 99.5)}%`;
    piece.style.width = `${ms / total * 100}%`;
    track.append(piece);
    grid.append(make('span', name), track, make('span', lasted(ms)));
    at += ms;
  }
  grid.append(make('b', 'Total'), make('span'), make('b', lasted(timing.total_ms)));
  panel.append(grid);
  section(panel, 'About');
  const about = [['Began', more.time], ['Flow', `${more.id}, part ${more.part}`]];
  if (more.server) {
    about.push(['Server', more.server.address || 'not known']);
    about.push(['Connection', String(more.server.connection)]);
  }
  if (more.replayed) about.push(['Sent by', 'a tool']);
  pairs(panel, about);
}
