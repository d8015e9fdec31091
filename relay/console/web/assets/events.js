// events.js has what lists of events, one event and the search box do beyond links and forms.
import { parse } from './live.js';

const get = async (url, again = 5) => {
  const answer = await fetch(url, { credentials: 'same-origin', redirect: 'error' });
  if (answer.status === 429 && again > 0) {
    await new Promise((done) => { setTimeout(done, 1000); });
    return get(url, again - 1);
  }
  if (!answer.ok) throw new Error(String(answer.status));
  return parse(await answer.text());
};

// goOn has a search for rare events go on by itself until the page is full, it has come to the end, or is stopped.
async function goOn() {
  const rows = document.getElementById('rows');
  let link = document.querySelector('[data-more]');
  if (!rows || !link) return;
  let stopped = false;
  for (; link && !stopped; link = document.querySelector('[data-more]')) {
    const stop = link.parentElement.querySelector('[data-stop]');
    const going = link.parentElement.querySelector('[data-going]');
    const show = (on) => { stop.hidden = !on; going.hidden = !on; link.hidden = on; };
    show(true);
    stop.addEventListener('click', () => { stopped = true; show(false); });
    try {
      const body = await get(link.dataset.more);
      if (stopped) return;
      for (const row of body.querySelectorAll('#rows > tr')) if (!document.getElementById(row.id)) rows.append(row);
      const held = document.activeElement === stop;
      for (const id of ['search', 'older', 'empty']) {
        const fresh = body.querySelector(`#${id}`);
        if (id === 'empty') fresh.hidden = rows.children.length > 0;
        document.getElementById(id).replaceWith(fresh);
      }
      if (held) document.querySelector('[data-stop]')?.focus();
    } catch {
      show(false); // the link goes on
      return;
    }
    await new Promise((done) => { setTimeout(done, 60); }); // a session has 20 requests a second
  }
}

// fetchOpened fills what opens with its part of another page, once.
function fetchOpened(dress) {
  document.addEventListener('toggle', async (e) => {
    const box = e.target;
    if (!box.matches?.('details[data-fetch]') || !box.open || box.dataset.got) return;
    box.dataset.got = 'yes';
    try {
      const part = (await get(box.dataset.fetch)).querySelector('#request-part');
      part.removeAttribute('id');
      part.className = 'part';
      dress(part);
      box.querySelector(':scope > p')?.remove();
      box.append(part);
    } catch {
      delete box.dataset.got; // the link inside goes there
    }
  }, true);
}

// searchIn finds a text in the data, marks it, and goes from one place to the next with Enter.
function searchIn() {
  const box = document.querySelector('[data-in]');
  if (!box || !CSS.highlights) return;
  const field = box.querySelector('input');
  const text = document.getElementById(box.dataset.in).firstChild;
  let places = [];
  let at = 0;
  const show = () => {
    box.querySelector('output').textContent = field.value === '' ? '' : `${places.length ? at + 1 : 0}/${places.length}`;
    CSS.highlights.set('found', new Highlight(...places));
    CSS.highlights.set('found-here', places.length ? new Highlight(places[at]) : new Highlight());
    if (!places.length) return;
    const pre = text.parentElement;
    const top = places[at].getBoundingClientRect().top - pre.getBoundingClientRect().top;
    if (top < 0 || top > pre.clientHeight - 20) pre.scrollTop += top - pre.clientHeight / 2;
  };
  field.addEventListener('input', () => {
    places = [];
    at = 0;
    const all = text.data.toLowerCase();
    const wanted = field.value.toLowerCase();
    const same = all.length === text.data.length; // some letters change their length
    for (let i = 0; wanted && places.length < 1000; i++) {
      i = (same ? all : text.data).indexOf(same ? wanted : field.value, i);
      if (i < 0) break;
      const range = new Range();
      range.setStart(text, i);
      range.setEnd(text, i + wanted.length);
      places.push(range);
    }
    show();
  });
  field.addEventListener('keydown', (e) => {
    if (e.key !== 'Enter' || !places.length) return;
    e.preventDefault();
    at = (at + (e.shiftKey ? places.length - 1 : 1)) % places.length;
    show();
  });
  box.hidden = false;
}

// pasteLines asks for all lines that are pasted into the search box: the box has one line.
function pasteLines() {
  document.querySelector('[data-search]')?.addEventListener('paste', (e) => {
    const text = e.clipboardData.getData('text/plain').trim();
    if (!/[\r\n]/.test(text)) return;
    e.preventDefault();
    location.assign(`${document.body.dataset.base}/find?q=${encodeURIComponent(text.slice(0, 6000))}`);
  });
}

export function startEvents(dress) {
  fetchOpened(dress);
  searchIn();
  pasteLines();
  goOn();
}
