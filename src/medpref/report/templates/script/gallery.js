// The pair gallery.

function marked(pieces, kind) {
  return pieces.map(([text, inside]) => (inside ? make('mark', { class: kind }, text) : text));
}

function pairItem(entry) {
  const replies = [];
  for (const [name, [author, pieces]] of Object.entries(entry.replies)) {
    replies.push(make('dt', {}, name));
    replies.push(make('dd', {}, ...marked(pieces, name), make('span', { class: 'by' }, author ? 'writer: ' + author : '')));
  }
  const facts = entry.facts.map(([name, value]) => `${name}: ${value}`).join(' · ');
  return make('article', { 'aria-label': `Pair ${entry.id}` },
    make('h3', {}, make('b', {}, entry.kind), ` · weight ${entry.weight} · ${entry.id}`),
    viewsOf(entry, data('pairs').paths),
    make('p', { class: 'question' }, entry.question),
    make('dl', { class: 'reply' }, ...replies),
    facts ? make('p', { class: 'more' }, facts) : null);
}

function startGallery(root) {
  const { entries, sets } = data('pairs');
  const filters = {};
  if (sets.length > 1) {
    filters.set = { label: 'Pair set', choices: choicesOf(entries, (e) => e.set, 'all'), keep: (e, value) => e.set === value };
  }
  filters.kind = { label: 'Question type', choices: choicesOf(entries, (e) => e.kind, 'all'), keep: (e, value) => e.kind === value };
  const seen = (entry) => Object.keys(entry.views).join(' and ');
  const views = choicesOf(entries, seen, 'all');
  if (views.length > 2) filters.views = { label: 'Views', choices: views, keep: (e, value) => seen(e) === value };
  const tick = make('input', { type: 'checkbox', checked: true, onchange: () => root.classList.toggle('bare', !tick.checked) });
  const options = [make('label', { class: 'tick' }, tick, 'Outline regions')];
  return pager({ root, name: 'Preference pairs', entries, filters, perPage: 6, render: pairItem, options });
}
