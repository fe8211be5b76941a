
// The table, of which only the rows that can be seen are there.

const COLUMNS = [
  ['n', '#', flow => flow.number],
  ['time', 'Time', flow => flow.began],
  ['method', 'Method', flow => flow.method],
  ['status', 'Status', flow => flow.status],
  ['host', 'Host', flow => flow.host],
  ['path', 'Path', flow => flow.path],
  ['type', 'Type', kind],
  ['size', 'Size', flow => flow.size],
  ['took', 'Duration', flow => flow.total],
  ['fall', 'Waterfall', flow => flow.began],
];

function sort() {
  const value = state.sort && state.sort[2];
  const order = (one, other) => (one < other ? -1 : one > other ? 1 : 0);
  state.shown.sort((one, other) => {
    const by = value ? order(value(one), value(other)) : 0;
    return (state.down ? -by : by) || one.number - other.number;
  });
}

function heads() {
  const row = make('div', undefined, 'row');
  row.setAttribute('role', 'row');
  for (const column of COLUMNS) {
    const cell = make('div', undefined, `cell ${column[0]}`);
    cell.setAttribute('role', 'columnheader');
    cell.append(button(column[1], () => {
      const again = state.sort === column;
      const chosen = state.shown[state.chosen];
      if (again && state.down) { state.sort = null; state.down = false; }
      else { state.down = again; state.sort = column; }
      for (const other of row.children) other.removeAttribute('aria-sort');
      if (state.sort) cell.setAttribute('aria-sort', state.down ? 'descending' : 'ascending');
      sort();
      state.chosen = state.shown.indexOf(chosen);
      draw(true);
    }));
    row.append(cell);
  }
  byId('columns').append(row);
}

const pool = [];
function poolRow() {
  const row = make('div', undefined, 'row');
  row.setAttribute('role', 'row');
  const cells = {};
  for (const [name] of COLUMNS) {
    cells[name] = make('div', undefined, `cell ${name}`);
    cells[name].setAttribute('role', 'gridcell');
    row.append(cells[name]);
  }
  const inner = make('span', '', 'inner');
  const path = make('span');
  cells.path.append(inner, path);
  const bar = make('div', undefined, 'bar');
  const pieces = ['before', 'wait', 'receive'].map(name => make('i', undefined, name));
  bar.append(...pieces);
  cells.fall.append(bar);
  row.addEventListener('click', () => choose(Number(row.dataset.at), true));
  byId('space').append(row);
  return { row, cells, inner, path, bar, pieces };
}

function fill({ row, cells, inner, path, bar, pieces }, at) {
  const flow = state.shown[at];
  row.hidden = !flow;
  if (!flow) return;
  row.dataset.at = at;
  row.id = `flow-${flow.number}`;
  row.style.transform = `translateY(${at * ROW}px)`;
  row.setAttribute('aria-rowindex', at + 1);
  row.setAttribute('aria-selected', at === state.chosen);
  const failed = flow.error ? ' failed' : '';
  row.className = `row${at % 2 ? ' odd' : ''}${at === state.chosen ? ' chosen' : ''}${failed}`;
  cells.n.textContent = flow.number;
  cells.time.textContent = clock(flow.began);
  cells.method.textContent = flow.method;
  cells.status.textContent = flow.status || 'failed';
  cells.status.className = `cell status s${Math.floor(flow.status / 100)}`;
  cells.host.textContent = flow.host;
  inner.textContent = flow.host;
  path.textContent = flow.path;
  cells.path.title = flow.url;
  cells.type.textContent = kind(flow);
  cells.size.textContent = flow.size || flow.status ? bytes(flow.size) : '';
  cells.took.textContent = lasted(flow.total);
  const span = Math.max(state.to - state.from, 0.001);
  bar.style.left = `${Math.min((flow.began - state.from) / span * 100, 99.5)}%`;
  bar.style.width = `${flow.total / span * 100}%`;
  bar.title = lasted(flow.total);
  const all = flow.before + flow.wait + flow.receive || 1;
  [flow.before, flow.wait, flow.receive].forEach((part, number) => {
    pieces[number].style.width = `${part / all * 100}%`;
  });
}

let drawn = -1;
function draw(anew) {
  const rows = byId('rows');
  const first = Math.max(0, Math.floor(rows.scrollTop / ROW) - 5);
  const need = Math.ceil(rows.clientHeight / ROW) + 10;
  if (!anew && first === drawn && pool.length >= need) return;
  drawn = first;
  byId('space').style.height = `${state.shown.length * ROW}px`;
  rows.setAttribute('aria-rowcount', state.shown.length);
  while (pool.length < need) pool.push(poolRow());
  pool.forEach((row, number) => fill(row, first + number));
  const chosen = state.shown[state.chosen];
  if (chosen) rows.setAttribute('aria-activedescendant', `flow-${chosen.number}`);
  else rows.removeAttribute('aria-activedescendant');
}

function choose(at, opens) {
  if (!state.shown.length) return;
  state.chosen = Math.max(0, Math.min(at, state.shown.length - 1));
  const rows = byId('rows');
  const top = state.chosen * ROW;
  if (top < rows.scrollTop) rows.scrollTop = top;
  if (top + ROW > rows.scrollTop + rows.clientHeight) {
    rows.scrollTop = top + ROW - rows.clientHeight;
  }
  if (opens || !byId('details').hidden) show(state.shown[state.chosen]);
  draw(true);
}
