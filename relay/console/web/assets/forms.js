// forms.js has what single forms do by themselves.

// startSelecting counts what is selected in a form with data-select, whose buttons do something with that.
export function startSelecting() {
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
