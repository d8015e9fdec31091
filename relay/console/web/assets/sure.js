// sure.js shows the question before an act on many things in a dialog, and goes on with the act until it is done, or
// the reader stops it. Without it the question is a page.
import { parse } from './live.js';

let dialog;
let did = false;      // something was changed
let running = false;
let stopped = false;

export function startSure(say, changed) {
  document.addEventListener('click', (e) => {
    const link = e.target.closest?.('a[data-sure]');
    if (!link || e.ctrlKey || e.metaKey || e.shiftKey || e.button !== 0) return;
    e.preventDefault();
    open(new URL(link.href), link);
  });
  document.addEventListener('submit', (e) => {
    const form = e.target;
    if (dialog?.contains(form)) {
      e.preventDefault();
      stopped = false;
      if (!running) go(form);
    } else if (form.matches('[data-sure]')) {
      e.preventDefault();
      const url = new URL(form.action);
      url.search = String(new URLSearchParams(new FormData(form, e.submitter)));
      open(url, e.submitter);
    }
  }, true);

  function make() {
    dialog = document.createElement('dialog');
    dialog.setAttribute('aria-labelledby', 'sure-title');
    dialog.addEventListener('click', (e) => {
      if (e.target.closest('[data-close]')) { e.preventDefault(); dialog.close(); }
      if (e.target.closest('[data-stop]')) stopped = true;
    });
    dialog.addEventListener('close', () => {
      stopped = true;
      if (did) { did = false; changed(); }
    });
    document.body.append(dialog);
  }

  async function ask(url, options) {
    url.searchParams.set('part', 'main');
    const answer = await fetch(url, { credentials: 'same-origin', redirect: 'error', ...options });
    if (answer.status === 401) { location.reload(); throw new Error('401'); }
    const text = await answer.text();
    if (!answer.ok) throw new Error(text || String(answer.status));
    return parse(text).querySelector('.sure');
  }

  function fail(text) {
    const p = dialog.querySelector('.wrong') ?? document.createElement('p');
    p.className = 'wrong';
    p.textContent = text;
    if (!p.isConnected) (dialog.querySelector('.acts') ?? dialog).before?.(p);
    say(text);
  }

  async function open(url, from) {
    if (dialog?.open || from?.dataset.asking) return;
    if (from) from.dataset.asking = 'yes'; // a double click opens it once
    try {
      const question = await ask(url, {});
      if (!dialog) make();
      dialog.replaceChildren(question);
      stopped = false;
      dialog.showModal(); // the browser gives the focus back when it closes
    } catch {
      location.assign(without(url));
    } finally {
      if (from) delete from.dataset.asking;
    }
  }

  async function go(form) {
    running = true;
    try {
      do {
        buttons(true);
        const body = new URLSearchParams(new FormData(form));
        const answer = await ask(new URL(form.action), { method: 'POST', body });
        did = true;
        dialog.replaceChildren(answer);
        say(dialog.querySelector('[role="status"]')?.textContent ?? '');
        form = dialog.querySelector('form[data-more]');
      } while (form && !stopped && dialog.open);
    } catch (e) {
      fail(e.message);
    }
    running = false;
    buttons(false);
    (dialog.querySelector('#sure-done') ?? dialog.querySelector('[data-close]')).focus();
  }

  function buttons(busy) {
    const stop = dialog.querySelector('[data-stop]');
    const main = dialog.querySelector('[data-go]');
    if (stop) stop.hidden = !busy;
    if (main) main.hidden = busy;
    if (busy) stop?.focus();
  }
}

function without(url) {
  url.searchParams.delete('part');
  return url;
}

// startPace says how long a replay takes at the pace that is typed.
export function startPace() {
  const unit = (n, name) => new Intl.NumberFormat(document.documentElement.lang, { style: 'unit', unit: name, maximumFractionDigits: 0 }).format(n);
  document.addEventListener('input', (e) => {
    if (!e.target.matches('[data-pace]')) return;
    const out = e.target.form.querySelector('[data-pace-out]');
    const s = Number(e.target.dataset.pace) / Number(e.target.value);
    if (!Number.isFinite(s) || s < 0) { out.textContent = ''; return; }
    const text = s < 90 ? unit(Math.ceil(s), 'second') : s < 5400 ? unit(s / 60, 'minute') : unit(s / 3600, 'hour');
    out.textContent = e.target.dataset.paceText.replace('%s', text);
  });
}
