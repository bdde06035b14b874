// Each browser starts when it comes near the screen, is linked to, or is printed.

const started = new Map();
const starters = { 'pair-browser': startGallery, 'wrong-browser': startWrong };

function start(id) {
  const root = document.getElementById(id);
  if (root && !started.has(id)) started.set(id, starters[id](root));
  return started.get(id);
}

function follow() {
  const [section, model, kind] = location.hash.slice(1).split('/').map(decodeURIComponent);
  if (section !== 'wrong' || (model === undefined && kind === undefined)) return;
  const browser = start('wrong-browser');
  if (browser) browser.set({ model: model || '', kind: kind || '' });
  document.getElementById('wrong').scrollIntoView();
}

const watch = new IntersectionObserver((seen) => {
  for (const entry of seen.filter((one) => one.isIntersecting)) {
    watch.unobserve(entry.target);
    start(entry.target.id);
  }
}, { rootMargin: '800px' });
for (const id of Object.keys(starters)) {
  const root = document.getElementById(id);
  if (root) watch.observe(root);
}
addEventListener('hashchange', follow);
addEventListener('beforeprint', () => Object.keys(starters).forEach(start));
follow();
