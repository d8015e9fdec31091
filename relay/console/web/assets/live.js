// live.js asks for the changing part of the page again and again, and puts in what differs.
const policy = window.trustedTypes?.createPolicy('kuairelay', { createHTML: (html) => html }) ?? { createHTML: (html) => html };

// parse makes a document of HTML that this relay sent.
export const parse = (html) => new DOMParser().parseFromString(policy.createHTML(html), 'text/html');

// clock writes a time of day as pages do: in the reader's language and zone, of 24 hours.
export const clock = (() => {
  const how = { timeStyle: 'medium', hourCycle: 'h23' };
  const lang = document.documentElement.lang;
  try {
    return new Intl.DateTimeFormat(lang, { ...how, timeZone: document.body.dataset.zoneName });
  } catch { // a zone that this browser does not know
    return new Intl.DateTimeFormat(lang, { ...how, timeZoneName: 'short' });
  }
})();

const resting = 15000;   // ms, without a sign of the reader
const restAfter = 300000;
const slowest = 60000;
const mostRows = 100;    // as many as the largest page has
const mostNew = 40;      // rows that one look puts in: beyond, it shows one of several

export function startLive(say, dress) {
  const main = document.getElementById('main');
  const button = document.querySelector('[data-pause]');
  const words = document.body.dataset;
  const blocks = () => document.querySelectorAll('[data-block][id], [data-rows][id]');
  const still = words.pace === '0' || document.querySelector('[data-still]') || new URLSearchParams(location.search).has('cursor');
  if (!button || still) return () => false;

  let every = Number(words.pace); // ms; the server may say that this page is to be asked for less often
  let tag = '';
  let paused = false;
  let failures = 0;
  let good = new Date();
  let seen = Date.now();
  let kept = 0;
  let head = main.querySelector('[data-head]')?.dataset.head; // where what is new begins
  let came = 0;            // events since the page was opened
  let held = 0;            // of these, since rows are kept back
  let timer;
  const shown = new Map(); // what the server sent for each block and row, to see what differs
  for (const e of document.querySelectorAll('[data-block][id], [data-rows] > [id]')) shown.set(e.id, e.outerHTML);

  const label = (text) => { button.querySelector('[data-pause-text]').textContent = text; };
  const typing = () => document.activeElement?.matches('main input, main textarea, main select') || !(getSelection()?.isCollapsed ?? true);
  const busy = (e) => {
    const selection = getSelection();
    return e.contains(document.activeElement) && document.activeElement !== document.body ||
      e.querySelector('details[open]') !== null && e.matches('[data-block]') && e.querySelector('details[open] form') !== null ||
      selection && !selection.isCollapsed && (e.contains(selection.anchorNode) || e.contains(selection.focusNode));
  };

  function putBlock(fresh) {
    const old = document.getElementById(fresh.id);
    if (!old || shown.get(fresh.id) === fresh.outerHTML) return;
    if (busy(old)) { tag = ''; return; } // the next answer brings it again
    const open = [...old.querySelectorAll('details')].map((d) => d.open);
    shown.set(fresh.id, fresh.outerHTML);
    [...fresh.querySelectorAll('details')].forEach((d, i) => { d.open = open[i] ?? d.open; });
    for (const keep of old.querySelectorAll('[data-keep][data-got]')) fresh.querySelector(`#${CSS.escape(keep.id)}`)?.replaceWith(keep);
    dress(fresh);
    old.replaceWith(fresh);
  }

  function putRows(fresh) {
    const old = document.getElementById(fresh.id);
    if (!old || !old.matches('[data-rows]')) return;
    const reading = old.matches(':hover') || old.getBoundingClientRect().top < 0;
    const news = fresh.dataset.rows === 'new';
    const have = new Map([...old.children].map((r) => [r.id, r]));
    const order = [];
    let added = 0;
    const puts = oneOf(fresh, have, news && reading);
    let passed = 0;
    for (const row of [...fresh.children]) {
      const was = have.get(row.id);
      if (was) {
        if (busy(was)) {
          tag = '';
          order.push(was);
        } else if (shown.get(row.id) !== row.outerHTML) {
          shown.set(row.id, row.outerHTML);
          dress(row);
          keepChecked(was, row);
          was.replaceWith(row);
          order.push(row);
        } else order.push(was);
        have.delete(row.id);
      } else if (news && reading) kept++;
      else if (puts > 1 && passed++ % puts > 0) continue;
      else {
        shown.set(row.id, row.outerHTML);
        dress(row);
        row.classList.add('new');
        order.push(row);
        added++;
      }
    }
    if (!news) for (const gone of have.values()) { if (!busy(gone)) gone.remove(); else order.push(gone); }
    else order.push(...have.values());
    let at = old.firstElementChild;
    for (const row of order) {
      if (row === at) at = at.nextElementSibling;
      else old.insertBefore(row, at);
    }
    while (old.children.length > mostRows) { shown.delete(old.lastElementChild.id); old.lastElementChild.remove(); }
    if (added && news) say(words.new.replace('%s', added));
    showKept(old);
  }

  // oneOf counts what came, and says of how many new rows one is put in. More than people can read are not.
  function oneOf(fresh, have, reading) {
    const news = [...fresh.children].filter((r) => !have.has(r.id)).length;
    const n = head ? Number(fresh.dataset.came ?? 0) : news; // a list that had nothing begins with what is new
    if (fresh.dataset.head) head = fresh.dataset.head;
    came += n;
    held = reading ? held + n : 0;
    const fast = document.getElementById('fast');
    if (!fast) return 1;
    const all = Math.max(n, news);
    const least = 'least' in fresh.dataset ? '≥ ' : '';
    const puts = all > mostNew ? Math.ceil(news / (mostNew / 2)) : 1;
    fast.hidden = came === 0;
    const counted = words.came.replace('%s', least + came.toLocaleString('en'));
    const shown = Math.max(1, Math.ceil(news / puts));
    fast.textContent = all > mostNew ? `${words.fast.replace('%s', least + Math.round(all / shown))} · ${counted}` : counted;
    return puts;
  }

  function showKept(rows) {
    let mark = main.querySelector('.kept');
    if (!kept) { mark?.remove(); return; }
    if (!mark) {
      mark = document.createElement('p');
      mark.className = 'kept';
      const b = document.createElement('button');
      b.type = 'button';
      b.addEventListener('click', () => { kept = 0; held = 0; mark.remove(); scrollTo({ top: 0 }); tag = ''; soon(0); });
      mark.append(b);
      rows.closest('.table').before(mark);
    }
    mark.firstElementChild.textContent = `${words.new.replace('%s', Math.max(kept, held))} ↑`;
  }

  async function ask() {
    const url = new URL(location.href);
    url.searchParams.set('part', 'main');
    url.searchParams.delete('did');
    if (head) url.searchParams.set('head', head);
    const answer = await fetch(url, { headers: tag ? { 'If-None-Match': tag } : {}, credentials: 'same-origin', redirect: 'error' });
    if (answer.status === 401) { location.reload(); return; }
    every = Math.max(Number(words.pace), 1000 * Number(answer.headers.get('X-Poll')));
    if (answer.status === 304) return;
    if (!answer.ok) throw new Error(String(answer.status));
    const body = parse(await answer.text()).body;
    if (document.querySelector('dialog[open]')) return;
    tag = answer.headers.get('ETag') ?? '';
    kept = 0;
    const before = [...blocks()].map((e) => e.id);
    const after = [...body.querySelectorAll('[data-block][id], [data-rows][id]')];
    if (after.some((e) => !before.includes(e.id)) && !typing()) { location.reload(); return; } // it has another shape now
    for (const e of after) { if (e.matches('[data-rows]')) putRows(e); }
    for (const e of after) { if (e.matches('[data-block]') && !e.querySelector('[data-rows]')) putBlock(e); }
  }

  function soon(ms) {
    clearTimeout(timer);
    timer = setTimeout(tick, ms);
  }

  async function tick() {
    if (paused || document.hidden) return;
    try {
      await ask();
      failures = 0;
      good = new Date();
      button.classList.remove('stale');
      label(words.liveText);
    } catch {
      failures++;
      button.classList.add('stale');
      label(words.stale.replace('%s', clock.format(good)));
    }
    const rest = Date.now() - seen > restAfter ? Math.max(resting, every) : every;
    soon(failures ? Math.min(every * 2 ** (failures - 1), slowest) : rest);
  }

  button.hidden = false;
  button.addEventListener('click', () => {
    paused = !paused;
    button.setAttribute('aria-pressed', String(paused));
    label(paused ? words.pausedText : words.liveText);
    if (!paused) soon(0);
  });
  document.addEventListener('visibilitychange', () => { if (!document.hidden) soon(0); });
  addEventListener('pageshow', (e) => { if (e.persisted) soon(0); });
  for (const sign of ['pointerdown', 'keydown', 'scroll']) addEventListener(sign, () => { seen = Date.now(); }, { passive: true });
  setInterval(ages, 10000);
  setInterval(countDown, 1000);
  soon(every);
  return () => { if (paused) return false; tag = ''; soon(0); return true; };
}

// keepChecked has what the reader has selected selected in what takes its place.
function keepChecked(was, is) {
  const box = was.querySelector('input[type=checkbox]:checked');
  const fresh = is.querySelector('input[type=checkbox]');
  if (box && fresh) fresh.checked = true;
}

// countDown keeps "in 12 s" true.
function countDown() {
  for (const e of document.querySelectorAll('[data-left]')) {
    const s = Math.max(0, Math.round((Date.parse(e.dataset.left) - Date.now()) / 1000));
    const two = (n) => String(Math.floor(n) % 60).padStart(2, '0');
    if (!Number.isFinite(s) || s >= 86400) continue;
    e.textContent = s < 3600 ? `${Math.floor(s / 60)}:${two(s)}` : `${Math.floor(s / 3600)}:${two(s / 60)}:${two(s)}`;
  }
}

// ages keeps "3 min ago" true between two answers.
function ages() {
  const format = new Intl.RelativeTimeFormat(document.documentElement.lang, { numeric: 'always', style: 'short' });
  for (const e of document.querySelectorAll('[data-ago]')) {
    const s = Math.round((Date.parse(e.dataset.ago) - Date.now()) / 1000);
    if (!Number.isFinite(s) || Math.abs(s) >= 3600) continue;
    e.textContent = Math.abs(s) < 60 ? format.format(s, 'second') : format.format(Math.trunc(s / 60), 'minute');
  }
}
