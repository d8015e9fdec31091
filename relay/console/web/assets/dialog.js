// dialog.js shows what a link or a form with data-dialog leads to in a dialog: of that page the part with
// data-dialog-body. Without it they lead to the page itself. A form with data-steps in there is an act on many things:
// it is sent, and then the form of each answer (data-more), until all is done or the reader stops it.
import { parse } from './live.js';

let dialog;
let did = false;      // a step has changed something
let running = false;
let stopped = false;

export function startDialogs(say, dress, changed) {
  document.addEventListener('click', (e) => {
    const link = e.target.closest?.('a[data-dialog]');
    if (!link || e.ctrlKey || e.metaKey || e.shiftKey || e.button !== 0) return;
    e.preventDefault();
    open(new URL(link.href), link);
  });
  document.addEventListener('submit', (e) => {
    const form = e.target;
    const steps = dialog?.contains(form) && form.matches('[data-steps]');
    if (!steps && !form.matches('[data-dialog]')) return;
    e.preventDefault();
    if (steps) {
      stopped = false;
      if (!running) go(form);
      return;
    }
    const fields = new URLSearchParams(new FormData(form, e.submitter));
    const url = new URL(form.action);
    if (form.method === 'get') {
      url.search = fields;
      open(url, e.submitter ?? form);
    } else send(form, url, fields);
  }, true);

  function make() {
    dialog = document.createElement('dialog');
    dialog.setAttribute('aria-labelledby', 'dialog-heading');
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

  function show(body) {
    if (!dialog) make();
    body.classList.remove('card');
    body.querySelector('h1').id = 'dialog-heading';
    dialog.replaceChildren(body);
    dress(dialog);
    if (dialog.open) return;
    stopped = false;
    dialog.showModal(); // the browser gives the focus back when it closes
  }

  // open shows a page, and goes there if it has no such part.
  async function open(url, from) {
    if (dialog?.open) return;
    try {
      await once(from, async () => show(await ask(url)));
    } catch {
      location.assign(url);
    }
  }

  // send shows the answer to a form. What is wrong stands above its buttons.
  async function send(form, url, fields) {
    try {
      await once(form, async () => show(await ask(url, { method: 'POST', body: fields })));
    } catch (e) {
      fail(form, e.message);
    }
  }

  function fail(form, text) {
    const around = form.closest('[data-dialog-body]');
    const p = around.querySelector('.wrong') ?? document.createElement('p');
    p.className = 'wrong';
    p.textContent = text;
    if (!p.isConnected) (form.querySelector('.acts') ?? form).before(p);
    say(text);
  }

  async function go(form) {
    running = true;
    try {
      do {
        buttons(true);
        const answer = await ask(new URL(form.action), { method: 'POST', body: new URLSearchParams(new FormData(form)) });
        did = true;
        show(answer);
        say(dialog.querySelector('[role="status"]')?.textContent ?? '');
        form = dialog.querySelector('form[data-more]');
      } while (form && !stopped && dialog.open);
    } catch (e) {
      fail(form, e.message);
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

// ask gets the part of a page that a dialog shows. It is an error if there is none.
async function ask(page, options) {
  const url = new URL(page);
  url.searchParams.set('part', 'main');
  const answer = await fetch(url, { credentials: 'same-origin', redirect: 'error', ...options });
  if (answer.status === 401) location.reload(); // to log in
  const text = await answer.text();
  const body = answer.ok && parse(text).querySelector('[data-dialog-body]');
  if (!body) throw new Error(answer.ok || !text ? String(answer.status) : text);
  return body;
}

// once does something that an element has asked for. A double click does it once.
async function once(element, what) {
  if (element.dataset.asking) return;
  element.dataset.asking = 'yes';
  try {
    await what();
  } finally {
    delete element.dataset.asking;
  }
}
