// app.js keeps a page up to date, and adds keys and copying. Without it a page can be read, and its forms work.
import { clock, startLive } from './live.js';
import { startKeys } from './keys.js';
import { startDialogs } from './dialog.js';
import { startPace, startSelecting } from './forms.js';
import { startCharts } from './chart.js';
import { startEvents } from './events.js';

const say = (text) => { document.querySelector('[data-say]').textContent = text; };

function tellZone() {
  const zone = Intl.DateTimeFormat().resolvedOptions().timeZone;
  const name = 'kuairelay-local-tz=';
  const had = document.cookie.split('; ').find((c) => c.startsWith(name));
  if (!zone || had === name + encodeURIComponent(zone)) return;
  document.cookie = `${name}${encodeURIComponent(zone)}; path=${document.body.dataset.base}/; max-age=31536000; samesite=lax`;
  if (document.body.dataset.zone === 'local' && !had && navigator.cookieEnabled) location.reload();
}

async function copy(text) {
  if (navigator.clipboard && window.isSecureContext) return navigator.clipboard.writeText(text);
  const area = document.createElement('textarea'); // over plain HTTP there is no clipboard
  area.value = text;
  area.setAttribute('readonly', '');
  (document.querySelector('dialog[open]') ?? document.body).append(area);
  area.select();
  const done = document.execCommand('copy');
  area.remove();
  if (!done) throw new Error('refused');
}

// textOf is what a button copies: a text, one in base64 (it is not changed by HTML), or the address of a page.
function textOf(data) {
  if (data.copy64 !== undefined) return new TextDecoder('utf-8', { ignoreBOM: true }).decode(Uint8Array.from(atob(data.copy64), (c) => c.charCodeAt(0)));
  return data.copyHere !== undefined ? new URL(data.copyHere, location.href).href : data.copy;
}

function startCopying() {
  document.addEventListener('click', async (e) => {
    const button = e.target.closest('[data-copy], [data-copy64], [data-copy-here]');
    if (!button) return;
    const words = document.body.dataset;
    try {
      await copy(textOf(button.dataset));
      button.lastElementChild.textContent = '✓';
      say(words.copied);
    } catch {
      button.lastElementChild.textContent = '✗';
      say(words.notCopied);
    }
    setTimeout(() => { button.lastElementChild.textContent = ''; }, 1500);
  });
}

export function dress(root) {
  for (const b of root.querySelectorAll('[data-copy], [data-copy64], [data-copy-here]')) b.hidden = false;
}

// forgetDone has what a form did be said once, and not when somebody comes back to the page.
function forgetDone() {
  const url = new URL(location.href);
  if (!url.searchParams.has('did')) return;
  url.searchParams.delete('did');
  url.searchParams.delete('n');
  history.replaceState(history.state, '', url);
}

function startForms() {
  document.addEventListener('change', (e) => {
    if (e.target.matches('[data-auto] select')) e.target.form.requestSubmit();
  });
  document.addEventListener('submit', (e) => {
    if (e.defaultPrevented) return;
    const form = e.target;
    if (form.method === 'get') {
      for (const field of form.elements) if (field.name && field.value === '') field.disabled = true; // a short URL
      setTimeout(() => { for (const field of form.elements) field.disabled = false; });
      return;
    }
    if (form.dataset.sent) { e.preventDefault(); return; } // a double click does it once
    form.dataset.sent = 'yes';
    setTimeout(() => { delete form.dataset.sent; }, 5000);
  });
  addEventListener('pageshow', () => { for (const f of document.querySelectorAll('form')) delete f.dataset.sent; });
  document.addEventListener('click', (e) => {
    for (const open of document.querySelectorAll('details.menu[open]')) if (!open.contains(e.target)) open.open = false;
  });
  document.addEventListener('keydown', (e) => {
    if (e.key !== 'Escape') return;
    for (const open of document.querySelectorAll('details.menu[open]')) { open.open = false; open.querySelector('summary').focus(); }
  });
}

// The clock in the header shows the time of the reader's zone.
function startClock() {
  const shown = document.querySelector('[data-clock]');
  const skew = Date.parse(shown.dateTime) - Date.now();
  setInterval(() => { if (!document.hidden) shown.textContent = clock.format(new Date(Date.now() + skew)); }, 1000);
}

tellZone();
forgetDone();
startClock();
dress(document);
startCopying();
startForms();
const now = startLive(say, dress);
startKeys();
startDialogs(say, dress, () => { if (!now()) location.reload(); });
startPace();
startSelecting();
startCharts();
startEvents(dress);
