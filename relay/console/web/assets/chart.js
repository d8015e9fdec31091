// chart.js reads the numbers of a chart at the pointer from its table, and takes a part of time by dragging.
const namespace = 'http://www.w3.org/2000/svg';

function part(svg, name) {
  const old = svg.querySelector(`.${name}`);
  if (old) return old;
  const made = document.createElementNS(namespace, name === 'hair' ? 'line' : 'rect');
  made.setAttribute('class', name);
  svg.append(made);
  return made;
}

const of = (target) => target.closest?.('[data-chart] svg');

// pointAt is the point of a chart below the pointer.
function pointAt(svg, e) {
  const box = svg.getBoundingClientRect();
  const n = Number(svg.closest('[data-chart]').dataset.points);
  return Math.min(Math.max(Math.floor((e.clientX - box.left) / box.width * n), 0), n - 1);
}

function place(svg, point) {
  const n = Number(svg.closest('[data-chart]').dataset.points);
  return svg.viewBox.baseVal.width * point / n;
}

// read shows the row of the table that is nearest to a point.
function read(svg, point) {
  const chart = svg.closest('[data-chart]');
  let best;
  for (const row of chart.querySelectorAll('tr[data-point]')) {
    const far = Math.abs(row.dataset.point - point);
    if (!best || far < best.far) best = { row, far };
  }
  if (!best) return;
  const names = [...chart.querySelectorAll('thead th')].map((h) => h.textContent);
  const cells = [...best.row.cells].map((c) => c.textContent);
  chart.querySelector('.readout').textContent = [cells[0], ...cells.slice(1).map((c, i) => `${names[i + 1]} ${c}`)].join(' · ');
  const x = place(svg, Number(best.row.dataset.point) + 0.5);
  const hair = part(svg, 'hair');
  hair.setAttribute('x1', x);
  hair.setAttribute('x2', x);
  hair.setAttribute('y1', 0);
  hair.setAttribute('y2', svg.viewBox.baseVal.height);
}

function clear(svg) {
  for (const name of ['hair', 'range']) svg.querySelector(`.${name}`)?.remove();
  svg.closest('[data-chart]').querySelector('.readout').textContent = '';
}

export function startCharts() {
  for (const hint of document.querySelectorAll('[data-drag]')) hint.hidden = false;
  let from; // where a drag began: its chart and point
  document.addEventListener('pointermove', (e) => {
    const svg = from?.svg ?? of(e.target);
    if (!svg) return;
    const point = pointAt(svg, e);
    read(svg, point);
    if (!from) return;
    const [first, last] = [Math.min(from.point, point), Math.max(from.point, point)];
    const range = part(svg, 'range');
    range.setAttribute('x', place(svg, first));
    range.setAttribute('width', place(svg, last + 1 - first));
    range.setAttribute('y', 0);
    range.setAttribute('height', svg.viewBox.baseVal.height);
  });
  document.addEventListener('pointerout', (e) => {
    const svg = of(e.target);
    if (svg && !from && !svg.contains(e.relatedTarget)) clear(svg);
  });
  document.addEventListener('pointerdown', (e) => {
    const svg = of(e.target);
    if (!svg || e.button !== 0 || e.pointerType === 'touch') return;
    e.preventDefault();
    from = { svg, point: pointAt(svg, e) };
  });
  document.addEventListener('pointerup', (e) => {
    if (!from) return;
    const { svg, point } = from;
    from = undefined;
    const to = pointAt(svg, e);
    clear(svg);
    if (Math.abs(to - point) < 2) return; // a click is no range
    const { since, step } = svg.closest('[data-chart]').dataset;
    const at = (n) => new Date(Number(since) + n * Number(step)).toISOString();
    const url = new URL(location.href);
    url.searchParams.delete('range');
    url.searchParams.delete('did');
    url.searchParams.set('since', at(Math.min(point, to)));
    url.searchParams.set('until', at(Math.max(point, to) + 1));
    location.assign(url);
  });
  addEventListener('keydown', (e) => { if (e.key === 'Escape' && from) { clear(from.svg); from = undefined; } });
}
