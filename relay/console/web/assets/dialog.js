// dialog.js shows a page in a dialog: what a link or form with data-dialog leads to, and of that the part with
// data-dialog-body. Without it they lead to the page itself.
import { parse } from './live.js';

let dialog;

function open(section, dress) {
  if (!dialog) {
    dialog = document.createElement('dialog');
    dialog.addEventListener('click', (e) => {
      if (!e.target.closest('[data-close]')) return;
      e.preventDefault();
      dialog.close();
    });
    document.body.append(dialog);
  }
  const heading = section.querySelector('h1, h2');
  if (heading) {
    heading.id = 'dialog-heading';
    dialog.setAttribute('aria-labelledby', heading.id);
  }
  section.classList.remove('card');
  dialog.replaceChildren(section);
  dress(dialog);
  if (!dialog.open) dialog.showModal(); // the browser gives the focus back when it closes
}

async function load(request, dress) {
  request.headers.set('Accept', 'text/html');
  const answer = await fetch(request);
  if (answer.redirected) { location.assign(answer.url); return; }
  const main = parse(await answer.text()).getElementById('main');
  open(main.querySelector('[data-dialog-body]') ?? main.firstElementChild, dress);
}

// requestOf is what a form would send, with the button that was pressed.
function requestOf(form, button) {
  const fields = new URLSearchParams(new FormData(form, button));
  if (form.method === 'post') return new Request(form.action, { method: 'POST', body: fields });
  const url = new URL(form.action);
  url.search = fields;
  return new Request(url);
}

export function startDialogs(say, dress) {
  const show = async (request, otherwise) => {
    try {
      await load(request, dress);
    } catch {
      otherwise();
    }
  };
  document.addEventListener('click', (e) => {
    const link = e.target.closest('a[data-dialog]');
    if (!link || e.button !== 0 || e.ctrlKey || e.metaKey || e.shiftKey) return;
    e.preventDefault();
    show(new Request(link.href), () => location.assign(link.href));
  });
  document.addEventListener('submit', (e) => {
    const form = e.target;
    if (!form.matches('[data-dialog]') || e.defaultPrevented) return;
    e.preventDefault();
    delete form.dataset.sent;
    show(requestOf(form, e.submitter), () => say(document.body.dataset.stale.replace('%s', new Date().toTimeString().slice(0, 8))));
  });
  startSelecting();
}

// startSelecting counts what is selected in a form with data-select, whose buttons do something with that.
function startSelecting() {
  for (const all of document.querySelectorAll('[data-select] [data-all]')) all.hidden = false;
  const count = (form) => {
    const boxes = [...form.querySelectorAll('tbody input[type=checkbox]')];
    const n = boxes.filter((b) => b.checked).length;
    const text = form.querySelector('[data-selected]');
    text.dataset.none ??= text.textContent;
    text.textContent = n ? text.dataset.selected.replace('%s', n) : text.dataset.none;
    for (const button of form.querySelectorAll('button[name]')) button.disabled = n === 0;
    const all = form.querySelector('[data-all]');
    if (all) { all.checked = n > 0 && n === boxes.length; all.indeterminate = n > 0 && n < boxes.length; }
  };
  for (const form of document.querySelectorAll('[data-select]')) count(form);
  addEventListener('pageshow', () => { for (const form of document.querySelectorAll('[data-select]')) count(form); });
  document.addEventListener('change', (e) => {
    const form = e.target.closest('[data-select]');
    if (!form) return;
    if (e.target.matches('[data-all]')) {
      for (const box of form.querySelectorAll('tbody input[type=checkbox]')) box.checked = e.target.checked;
    }
    count(form);
  });
}
