// What checks are written with. How it hangs together, and how to add a check, is said in browser_test.go.
import { test, after } from 'node:test';
import { createRequire } from 'node:module';
import { basename, join } from 'node:path';
import { mkdirSync } from 'node:fs';
import assert from 'node:assert/strict';

const env = process.env;
const require = createRequire(join(env.BROWSER_MODULES, 'x.js'));
const { chromium } = require('playwright-core');

// axePath is the script of axe-core, to be given to page.addScriptTag or read into page.evaluate.
export const axePath = require.resolve('axe-core');

const longest = 300_000; // ms that a check may take
const longLongest = 1_200_000; // ms that a long one may take
const patience = 30_000; // ms that a condition may take to come about

let chrome; // the browser of this file
let shared; // the stage of this file
let wanted = {}; // what stage() has said

// stage says what this file's stage is to be: {tenants: 'yaml', relays: 2}. See stageAsk in stage_test.go.
export function stage(ask) {
  wanted = ask;
}

async function control(path, ask) {
  const answer = await fetch(env.BROWSER_CONTROL + path, { method: 'POST', body: JSON.stringify(ask) });
  if (!answer.ok) throw new Error(`${path}: ${(await answer.text()).trim()}`);
  return answer.json();
}

const flags = [
  '--disable-gpu',
  '--disable-quic',
  '--no-first-run',
  '--disable-background-networking',
  '--disable-component-update',
  '--disable-sync',
  '--host-resolver-rules=MAP *.test 127.0.0.1',
];

function launch() {
  chrome ??= chromium.launch({
    executablePath: env.BROWSER_CHROMIUM,
    headless: env.BROWSER_VISIBLE !== 'true',
    chromiumSandbox: false,
    slowMo: env.BROWSER_VISIBLE === 'true' ? 300 : 0,
    args: flags,
  });
  return chrome;
}

after(async () => {
  if (chrome) await (await chrome).close();
  if (shared) await (await shared).end();
});

// A Stage is Redis, relays and receivers of its own. It has
//   relays    [{operator, tenants, public, tls: {operator, tenants}}]: URLs without a slash at the end. operator and
//             tenants are of the pages, public of the listener; tls are the same behind a proxy that speaks TLS
//   keys      {operator, shop, crm}; callback, receiver, redis: more addresses
//   do(name, ask)  an action of control_test.go
class Stage {
  static async make(ask = {}) {
    return Object.assign(new Stage(), await control('/stage', ask), { sessions: new Map() });
  }

  do(name, ask = {}) {
    return control(`/do/${name}`, { ...ask, Stage: this.stage });
  }

  end() {
    return control('/end', { Stage: this.stage });
  }

  // api asks the JSON API: as operator below /admin/v1, as a tenant below /v1. It gives {status, body}.
  async api(path, { as = 'operator', method = 'GET', body, relay = 0 } = {}) {
    const at = this.relays[relay];
    const url = as === 'operator' ? `${at.operator}/admin/v1${path}` : `${at.public}/v1${path}`;
    const answer = await fetch(url, {
      method,
      body: body === undefined ? undefined : JSON.stringify(body),
      headers: { authorization: `Bearer ${this.keys[as]}`, 'content-type': 'application/json' },
    });
    const text = await answer.text();
    return {
      status: answer.status,
      body: text && answer.headers.get('content-type')?.includes('json') ? JSON.parse(text) : text,
    };
  }

  // session is the cookie of somebody who has logged in, for pages at a URL: any of the addresses that this stage has.
  // The login is one for all checks, because logins are limited.
  async session(as, base) {
    if (!this.sessions.has(as)) this.sessions.set(as, this.logIn(as));
    const { name, value } = await this.sessions.get(as);
    const secure = base.startsWith('https:');
    return {
      name: secure ? `__Host-${name}` : name,
      value,
      url: secure ? new URL(base).origin : `${base}/`,
      secure,
      httpOnly: true,
      sameSite: 'Lax',
    };
  }

  async logIn(as) {
    const base = this.relays[0][as === 'operator' ? 'operator' : 'tenants'];
    const answer = await fetch(`${base}/login`, {
      method: 'POST',
      redirect: 'manual',
      body: new URLSearchParams({ key: this.keys[as] }),
      headers: { origin: new URL(base).origin },
    });
    assert.equal(answer.status, 303, `${as} cannot log in`);
    const [, name, value] = /^([^=]+)=([^;]*)/.exec(answer.headers.getSetCookie()[0]);
    return { name, value };
  }
}

// On is what a check gets. Beside what a Stage has (on.stage, and its do, api, relays and keys) it has
//   open(path, {as, relay, …})  a page, in a context of its own; as: 'operator', 'shop', 'crm', or nobody, in the
//                               operator's pages. fresh: a browser that was never here, and whose zone the relay does
//                               not know. More options are a context's of playwright: locale, colorScheme, …
//   context({as, relay, …})     the same without a page; pages of it are watched, too
//   allow(/…/)                  complaints that match are none in this check
//   origin(url)                 requests to there are none either
//   newStage(ask)               a stage for this check alone
//   shot(page, name)            a screenshot into the folder of -shots, if there is one
class On {
  constructor(name, own) {
    Object.assign(this, {
      name,
      stage: own,
      complaints: new Set(),
      allowed: [],
      contexts: [],
      ends: [],
      origins: new Set(),
    });
    this.know(own);
  }

  get relays() {
    return this.stage.relays;
  }

  get keys() {
    return this.stage.keys;
  }

  do(name, ask) {
    return this.stage.do(name, ask);
  }

  api(path, options) {
    return this.stage.api(path, options);
  }

  know(own) {
    for (const r of own.relays)
      for (const url of [r.operator, r.public, r.tls.operator, r.tls.tenants]) this.origin(url);
  }

  origin(url) {
    this.origins.add(new URL(url).origin);
  }

  allow(pattern) {
    this.allowed.push(pattern);
  }

  // newStage gives the check a stage of its own, on which from now on it plays.
  async newStage(ask) {
    this.stage = await Stage.make(ask);
    this.know(this.stage);
    this.ends.push(() => this.stage.end());
    return this.stage;
  }

  base(as, relay = 0) {
    return this.relays[relay][as === undefined || as === 'operator' ? 'operator' : 'tenants'];
  }

  async context({ as, relay = 0, fresh = false, timezoneId = 'Asia/Shanghai', ...options } = {}) {
    const browser = await launch();
    const context = await browser.newContext({
      viewport: { width: 1280, height: 800 },
      locale: 'en-GB',
      timezoneId,
      ignoreHTTPSErrors: true,
      reducedMotion: 'reduce',
      ...options,
    });
    this.contexts.push(context);
    context.setDefaultTimeout(patience);
    context.on('page', (page) => this.watch(page));
    context.on('request', (request) => this.request(request));
    context.on('response', (response) => this.response(response));
    context.on('requestfailed', (request) => this.failed(request));
    await context.addInitScript(() => {
      document.addEventListener('securitypolicyviolation', (e) => {
        console.error(`securitypolicyviolation: ${e.violatedDirective} ${e.blockedURI} ${e.sample}`);
      });
    });
    if (!fresh) await this.zone(context, timezoneId);
    if (as) await context.addCookies([await this.stage.session(as, this.base(as, relay))]);
    return context;
  }

  async open(path = '/', options = {}) {
    const context = await this.context(options);
    const page = await context.newPage();
    await page.goto(this.base(options.as, options.relay) + path);
    return page;
  }

  // zone has the relays know the zone of a browser: at a first visit app.js tells it, and loads the page again.
  async zone(context, zone) {
    const hosts = ['127.0.0.1', 'insecure.test'];
    const paths = ['/', '/console/'];
    await context.addCookies(
      hosts.flatMap((domain) =>
        paths.map((path) => ({
          name: 'kuairelay-local-tz',
          value: encodeURIComponent(zone),
          domain,
          path,
          sameSite: 'Lax',
        })),
      ),
    );
  }

  complain(text) {
    if (!this.allowed.some((a) => a.test(text))) this.complaints.add(text);
  }

  watch(page) {
    page.on('pageerror', (error) => this.complain(`an exception in ${page.url()}: ${error.stack}`));
    page.on('crash', () => this.complain(`${page.url()} crashed`));
    page.on('console', (message) => {
      // What a server answers is judged by its response.
      if (message.type() !== 'error' || /^Failed to load resource: the server responded/.test(message.text())) return;
      this.complain(`the console of ${page.url()} says: ${message.text()}`);
    });
  }

  request(request) {
    const url = new URL(request.url());
    if (/^(https?|wss?):$/.test(url.protocol) && !this.origins.has(url.origin)) {
      this.complain(`a request to another origin: ${request.method()} ${url}`);
    }
  }

  // A page that is not there may be what a check is about; what a page needs has to be.
  response(response) {
    const status = response.status();
    const page = response.request().isNavigationRequest();
    if (status >= 500 || (status >= 400 && !page)) {
      this.complain(`${response.request().method()} ${response.url()} answers ${status}`);
    }
  }

  // Leaving a page ends what it has under way.
  failed(request) {
    const why = request.failure()?.errorText;
    if (why !== 'net::ERR_ABORTED') this.complain(`${request.method()} ${request.url()} failed: ${why}`);
  }

  async shot(page, name, options = { fullPage: true }) {
    if (!env.BROWSER_SHOTS) return;
    mkdirSync(env.BROWSER_SHOTS, { recursive: true });
    await page.screenshot({ path: join(env.BROWSER_SHOTS, `${name.replace(/[^\w.-]+/g, '-')}.png`), ...options });
  }

  async end(failed) {
    for (const [i, page] of this.contexts.flatMap((c) => c.pages()).entries()) {
      if (failed) await this.shot(page, `failed ${this.name} ${i}`).catch(() => {});
    }
    for (const context of this.contexts) await context.close();
    for (const end of this.ends.reverse()) await end();
  }
}

async function play(name, run) {
  shared ??= Stage.make(wanted);
  const on = new On(name, await shared);
  let failed = true;
  try {
    await run(on);
    if (on.complaints.size) throw new Error('all went well, but for what the browser complains of');
    failed = false;
  } catch (error) {
    if (on.complaints.size) error.stack += `\nThe browser complains:\n${[...on.complaints].slice(0, 10).join('\n')}`;
    throw error;
  } finally {
    await on.end(failed);
  }
}

const only = new RegExp(env.BROWSER_ONLY);

function add(name, run, timeout) {
  if (only.test(name)) test(`${basename(process.argv[1])} ${name}`, { timeout }, () => play(name, run));
}

// check adds a check: its name begins with its number. It gets an On.
export function check(name, run) {
  add(name, run, longest);
}

// check.long adds one that takes minutes, and runs with -long only.
check.long = (name, run) => {
  if (env.BROWSER_LONG === 'true') add(name, run, longLongest);
};

// until waits until a condition holds, and gives what it gives. ok returns something true, or throws what is missing.
export async function until(what, ok, most = patience) {
  const end = Date.now() + most;
  let last;
  for (;;) {
    try {
      last = undefined;
      const got = await ok();
      if (got) return got;
    } catch (error) {
      last = error;
    }
    if (Date.now() > end) throw new Error(`not within ${most / 1000} s: ${what}`, { cause: last });
    await new Promise((done) => {
      setTimeout(done, 25);
    });
  }
}

// logIn fills in the form of the login and sends it, as a person does.
export async function logIn(page, key) {
  await page.locator('input[name=key]').fill(key);
  await page.locator('form:has(input[name=key]) button').click();
}
