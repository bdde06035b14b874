// A view of a study: its picture, the patch that makes it corrupt, a map over it, and the outlines of its regions.

function picture(view, regions, hidden, paths, name, map) {
  const pictures = data('pictures');
  const whole = view.length ? pictures[view[0]] : null;
  if (!whole) return make('div', { class: 'nopic' }, 'No picture of this view on the page');
  const layers = [draw('image', { href: whole.u, width: whole.w, height: whole.h, preserveAspectRatio: 'none' })];
  if (view.length > 1) {
    const [, patch, x, y, width, height] = view;
    layers.push(draw('image', { href: pictures[patch].u, x, y, width, height, preserveAspectRatio: 'none' }));
  }
  if (map) layers.push(draw('image', { href: pictures[map].u, width: whole.w, height: whole.h, preserveAspectRatio: 'none' }));
  for (const kind of ['outline-under', 'outline']) {
    for (const region of regions) layers.push(draw('path', { class: kind, d: paths[region[1]] }));
  }
  for (const region of hidden) layers.push(draw('path', { class: 'outline dashed', d: paths[region[1]] }));
  const labels = [...new Set([...regions, ...hidden].map((region) => region[0] || 'region'))];
  const spoken = name + (labels.length ? ', outlined: ' + labels.join(', ') : '');
  return draw('svg', { viewBox: `0 0 ${whole.w} ${whole.h}`, role: 'img', 'aria-label': spoken }, ...layers);
}

function viewsOf(entry, paths) {
  const figures = [];
  for (const [name, pictures] of Object.entries(entry.views)) {
    pictures.forEach((view, index) => {
      const here = (region) => region[2] === index;
      const regions = entry.regions.filter(here);
      const hidden = name === 'clean' ? [] : (entry.hidden || []).filter(here);
      const title = pictures.length > 1 ? `${name}, image ${index + 1}` : name;
      const labels = [...new Set([...regions, ...hidden].map((region) => region[0]).filter(Boolean))].join(', ');
      const shown = picture(view, regions, hidden, paths, title + ' view');
      figures.push(make('figure', {}, shown, make('figcaption', {}, title + (labels ? ' · ' + labels : ''))));
    });
  }
  return make('div', { class: 'views' }, ...figures);
}
