// The browser of wrong answers. Its filters are in the address: #wrong/MODEL/QUESTION-TYPE.

const STATES = { right: ['✓', 'right', 'fine'], wrong: ['✗', 'wrong', 'warn'], none: ['–', 'not judged', ''] };

function replyText(text) {
  if (!text.trim()) return make('span', { class: 'empty' }, 'empty reply');
  if (text.length <= 500) return text;
  return make('span', {}, text.slice(0, 300) + '… ',
    make('details', {}, make('summary', {}, `all ${text.length.toLocaleString('en')} characters`), text));
}

function mapsOf(entry, models, paths) {
  const maps = entry.maps || [];
  if (!maps.length) return null;
  const figures = maps.map(([model, kind, key]) => {
    const title = `${models[model][1]} · ${kind}`;
    const shown = picture(entry.views.clean[0] || [], entry.regions, [], paths, `${kind} of ${models[model][1]} over the image`, key);
    return make('figure', {}, shown, make('figcaption', {}, title));
  });
  return make('details', { class: 'maps' },
    make('summary', {}, `Where the models that were wrong looked (${maps.length} maps)`), make('div', { class: 'views' }, ...figures));
}

// Models that replied and were judged alike share a row: [reply, their numbers].
function alike(replies) {
  const groups = new Map();
  replies.forEach((reply, place) => {
    if (!reply) return;
    const key = JSON.stringify(reply);
    if (!groups.has(key)) groups.set(key, [reply, []]);
    groups.get(key)[1].push(place);
  });
  return [...groups.values()];
}

// Names of models; many are counted, and open. The one that is filtered for is always named.
function namesOf(places, models, picked) {
  const name = (place, end) => make('span', { class: models[place][0] === picked ? 'name picked' : 'name' }, models[place][1] + end);
  const names = places.map((place, at) => name(place, at < places.length - 1 ? ', ' : ''));
  if (places.length <= 6) return names;
  const said = `${places.length === models.length ? 'all ' : ''}${places.length} models`;
  const chosen = places.filter((place) => models[place][0] === picked).map((place) => name(place, ' and others'));
  return [...chosen, make('details', {}, make('summary', {}, said), ...names)];
}

function wrongItem(entry, filters) {
  const { models, paths } = data('wrong');
  const rows = alike(entry.replies).map(([reply, places]) => {
    const [text, state, reason, metric] = reply;
    const [sign, word, css] = STATES[state];
    const why = [reason, metric ? `(${metric})` : ''].filter(Boolean).join(' ');
    return make('tr', { class: places.some((place) => models[place][0] === filters.model) ? 'picked' : null },
      make('th', { scope: 'row' }, ...namesOf(places, models, filters.model)),
      make('td', {}, replyText(text), why ? make('span', { class: 'by' }, why) : null),
      make('td', {}, make('span', { class: 'state ' + css }, make('span', { 'aria-hidden': 'true' }, sign), ' ' + word)));
  });
  const head = make('thead', {}, make('tr', {}, ...['Models', 'Reply', 'Verdict'].map((name) => make('th', { scope: 'col' }, name))));
  const table = make('table', {}, make('caption', { class: 'vh' }, `Replies to ${entry.id}`), head, make('tbody', {}, ...rows));
  return make('article', { 'aria-label': `Example ${entry.id}` },
    make('h3', {}, make('b', {}, entry.kind), ` · ${entry.id}${entry.tags ? ' · ' + entry.tags : ''}`),
    make('div', { class: 'split' },
      viewsOf(entry, paths),
      make('div', {},
        make('p', { class: 'question' }, entry.question),
        make('dl', { class: 'reply' }, make('dt', {}, 'Reference'), make('dd', {}, entry.answer)),
        table)),
    mapsOf(entry, models, paths));
}

function startWrong(root) {
  const { entries, models } = data('wrong');
  const isWrong = (entry, index) => entry.replies[index] && entry.replies[index][1] === 'wrong';
  const counted = models.map(([name, label], index) => [name, `${label} (${entries.filter((entry) => isWrong(entry, index)).length})`]);
  const filters = {
    model: {
      label: 'Wrong by', choices: [['', 'any model'], ...counted],
      keep: (entry, value) => isWrong(entry, models.findIndex(([name]) => name === value)),
    },
    kind: { label: 'Question type', choices: choicesOf(entries, (e) => e.kind, 'all'), keep: (e, value) => e.kind === value },
  };
  const changed = ({ model, kind }) => {
    const address = ['#wrong', model, kind].map((part) => part || '').map((part, at) => (at ? encodeURIComponent(part) : part));
    history.replaceState(null, '', address.join('/').replace(/\/+$/, ''));
  };
  return pager({ root, name: 'Wrong answers', entries, filters, perPage: 5, render: wrongItem, changed });
}
