// keys.js has the keys: none with a modifier, none in a field, and a switch on the help page turns them off.
const off = 'kuairelay-keys-off';

export function startKeys() {
  const box = document.querySelector('[data-keys]');
  if (box) {
    box.checked = localStorage.getItem(off) === null;
    box.addEventListener('change', () => {
      if (box.checked) localStorage.removeItem(off);
      else localStorage.setItem(off, 'yes');
    });
  }

  let go = false;
  document.addEventListener('keydown', (e) => {
    if (e.ctrlKey || e.metaKey || e.altKey || localStorage.getItem(off) !== null) return;
    if (e.target.closest('input, select, textarea, [contenteditable]')) {
      if (e.key === 'Escape') e.target.blur();
      return;
    }
    const base = document.body.dataset.base;
    if (go) {
      go = false;
      const to = document.querySelector(`nav.side a[data-key="${CSS.escape(e.key)}"]`);
      if (to) { e.preventDefault(); to.click(); }
      return;
    }
    switch (e.key) {
      case '/': {
        const search = document.querySelector('[data-search]');
        if (search) { e.preventDefault(); search.focus(); search.select(); }
        break;
      }
      case 'j': case 'k': row(e.key === 'j' ? 1 : -1); break;
      case 'p': document.querySelector('[data-pause]')?.click(); break;
      case 'g': go = true; setTimeout(() => { go = false; }, 1500); break;
      case '?': location.assign(`${base}/help`); break;
    }
  });
}

function row(step) {
  const rows = [...document.querySelectorAll('tbody tr')];
  if (rows.length === 0) return;
  const now = rows.findIndex((r) => r.contains(document.activeElement));
  const next = rows[Math.min(Math.max(now + step, 0), rows.length - 1)];
  next.querySelector('a')?.focus();
  next.scrollIntoView({ block: 'nearest' });
}
