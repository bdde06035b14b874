// A list of items in pages, with filters, buttons and arrow keys. Only the items of the page in sight exist as elements.

function pager({ root, name, entries, filters, perPage, render, options, changed }) {
  const state = { filters: {}, text: '', page: 0, kept: entries };
  const items = make('div', { class: 'items', role: 'group', 'aria-label': name });
  const status = make('span', { class: 'status', role: 'status' });
  const before = make('button', { type: 'button', onclick: () => turn(-1) }, '← Previous');
  const after = make('button', { type: 'button', onclick: () => turn(1) }, 'Next →');
  const selects = new Map();

  const search = make('input', { type: 'search', size: 18, oninput: (event) => {
    state.text = event.target.value.trim().toLowerCase();
    refilter();
  } });
  const controls = make('div', { class: 'controls' });
  for (const [key, filter] of Object.entries(filters)) {
    const select = make('select', { onchange: () => choose(key, select.value) },
      ...filter.choices.map(([value, label]) => make('option', { value }, label)));
    selects.set(key, select);
    controls.append(make('label', {}, filter.label, select));
  }
  controls.append(make('label', {}, 'Find', search), ...(options || []));

  const pages = () => Math.max(1, Math.ceil(state.kept.length / perPage));
  const words = new Map();
  const wordsOf = (entry) => {
    if (!words.has(entry)) words.set(entry, JSON.stringify({ ...entry, views: 0 }).toLowerCase());
    return words.get(entry);
  };

  function choose(key, value) {
    state.filters[key] = value;
    refilter();
    if (changed) changed(state.filters);
  }

  function refilter() {
    const active = Object.entries(state.filters).filter(([, value]) => value);
    state.kept = entries.filter((entry) =>
      active.every(([key, value]) => filters[key].keep(entry, value)) && (!state.text || wordsOf(entry).includes(state.text)));
    state.page = 0;
    show();
  }

  function show() {
    const first = state.page * perPage;
    const shown = state.kept.slice(first, first + perPage);
    items.replaceChildren(...shown.map((entry, index) => {
      const item = render(entry, state.filters);
      item.classList.add('item');
      item.tabIndex = index ? -1 : 0;
      return item;
    }));
    const count = state.kept.length.toLocaleString('en');
    status.textContent = shown.length ? `${first + 1} to ${first + shown.length} of ${count}` : 'Nothing matches';
    before.disabled = state.page === 0;
    after.disabled = state.page >= pages() - 1;
  }

  function turn(step) {
    state.page = Math.min(pages() - 1, Math.max(0, state.page + step));
    show();
  }

  function focus(index) {
    [...items.children].forEach((item, at) => { item.tabIndex = at === index ? 0 : -1; });
    items.children[index].focus();
  }

  items.addEventListener('keydown', (event) => {
    const at = [...items.children].indexOf(event.target);
    if (at < 0 || event.altKey || event.ctrlKey || event.metaKey) return;
    const last = items.children.length - 1;
    if (event.key === 'ArrowRight') {
      if (at < last) focus(at + 1);
      else if (!after.disabled) { turn(1); focus(0); }
    } else if (event.key === 'ArrowLeft') {
      if (at > 0) focus(at - 1);
      else if (!before.disabled) { turn(-1); focus(items.children.length - 1); }
    } else if (event.key === 'Home') { turn(-Infinity); focus(0); }
    else if (event.key === 'End') { turn(Infinity); focus(items.children.length - 1); }
    else return;
    event.preventDefault();
  });

  const hint = make('span', { class: 'hint' }, 'Arrow keys move from one to the next.');
  root.replaceChildren(controls, make('div', { class: 'turn' }, before, after, status, hint), items);
  show();
  return {
    set(wanted) {
      for (const [key, value] of Object.entries(wanted)) {
        const known = filters[key].choices.some(([choice]) => choice === value);
        state.filters[key] = known ? value : '';
        selects.get(key).value = state.filters[key];
      }
      refilter();
    },
  };
}

// The choices of a filter: all, then every value that occurs, with its number of entries.
function choicesOf(entries, read, all) {
  const counts = new Map();
  for (const entry of entries) counts.set(read(entry), (counts.get(read(entry)) || 0) + 1);
  const values = [...counts.keys()].sort();
  return [['', all], ...values.map((value) => [value, `${value} (${counts.get(value).toLocaleString('en')})`])];
}
