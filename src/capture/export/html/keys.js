
// The keys, and the beginning.

function page() {
  return Math.max(1, Math.floor(byId('rows').clientHeight / ROW) - 1);
}

const MOVES = {
  ArrowDown: at => at + 1, j: at => at + 1, ArrowUp: at => at - 1, k: at => at - 1,
  PageDown: at => at + page(), PageUp: at => at - page(), Home: () => 0, End: () => Infinity,
};

const TABS = { ArrowLeft: -1, ArrowRight: 1 };

document.addEventListener('keydown', event => {
  if (event.ctrlKey || event.metaKey || event.altKey) return;
  const { target, key } = event;
  const typing = target === byId('filter');
  if (key === 'Escape') {
    if (!byId('help').hidden) toggleHelp();
    else if (typing && target.value) { target.value = ''; filter(); }
    else if (!byId('details').hidden) close();
    else byId('rows').focus();
  } else if (typing) {
    if (key !== 'ArrowDown' && key !== 'Enter') return;
    // What was typed last may not have been looked at.
    clearTimeout(waiting);
    filter();
    byId('rows').focus();
    choose(Math.max(state.chosen, 0), key === 'Enter');
  } else if (key === '/') {
    byId('filter').focus();
    byId('filter').select();
  } else if (key in TABS && target.getAttribute('role') === 'tab') {
    const tabs = [...target.parentElement.children];
    const next = tabs[(tabs.indexOf(target) + TABS[key] + tabs.length) % tabs.length];
    next.click();
    next.focus();
  } else if (target === byId('rows') || target === document.body) {
    if (key in MOVES) choose(MOVES[key](state.chosen), false);
    else if (key === 'Enter' && state.chosen >= 0) {
      choose(state.chosen, true);
      document.querySelector('[role=tab][aria-selected=true]').focus();
    } else return;
  } else return;
  event.preventDefault();
});

function toggleHelp() {
  const help = byId('help');
  help.hidden = !help.hidden;
  byId('help-button').setAttribute('aria-expanded', !help.hidden);
  draw(true);
}

let waiting = 0;
byId('filter').addEventListener('input', () => {
  clearTimeout(waiting);
  waiting = setTimeout(filter, flows.length > 2000 ? 120 : 0);
});
byId('search').addEventListener('submit', event => event.preventDefault());
byId('help-button').addEventListener('click', toggleHelp);
byId('rows').addEventListener('scroll', () => draw(false), { passive: true });
new ResizeObserver(() => draw(true)).observe(byId('rows'));

heads();
filter();
byId('rows').focus({ preventScroll: true });
