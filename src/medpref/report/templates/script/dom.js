// Elements from data. Text only ever becomes text: nothing from a run is parsed as HTML.
const SVG = 'http://www.w3.org/2000/svg';

function fill(element, attributes, children) {
  for (const [name, value] of Object.entries(attributes || {})) {
    if (name.startsWith('on')) element.addEventListener(name.slice(2), value);
    else if (value === true) element.setAttribute(name, '');
    else if (value !== false && value !== null && value !== undefined) element.setAttribute(name, value);
  }
  element.append(...(children || []).filter((child) => child !== null && child !== undefined));
  return element;
}

const make = (tag, attributes, ...children) => fill(document.createElement(tag), attributes, children);
const draw = (tag, attributes, ...children) => fill(document.createElementNS(SVG, tag), attributes, children);

const held = new Map();
function data(name) {
  if (!held.has(name)) held.set(name, unpack(JSON.parse(document.getElementById('data-' + name).textContent)));
  return held.get(name);
}

// Entries are stored as columns of distinct values (pack.py).
function unpack(found) {
  if (!found.entries) return found;
  const columns = Object.entries(found.entries.columns).map(([name, { values, parts }]) => [
    name, parts ? values.map((value) => value.map((part) => parts[part])) : values]);
  const entries = found.entries.rows.map((row) => {
    const entry = {};
    row.forEach((number, at) => { if (number >= 0) entry[columns[at][0]] = columns[at][1][number]; });
    return entry;
  });
  return { ...found, entries };
}
