/** Sign-in against answers by script: what is asked when, and what follows. */

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { DoorError } from '../page/link/door.js';
import { SignIn } from '../page/people/sign-in.js';

/** @param {number} status @param {object} [body] @param {Record<string, string>} [headers] */
const json = (status, body = {}, headers = {}) => new Response(JSON.stringify(body), { status, headers });

/** A page with a server that answers as `routes` say; `asked` is what was asked. @param {Record<string, (n: number, how: RequestInit) => Response | Promise<Response>>} routes */
function page(routes) {
  /** @type {string[]} */
  const asked = [];
  let clock = 0;
  let turns = 0;
  let most = 0;
  const channel = { sent: /** @type {unknown[]} */ ([]), postMessage: (/** @type {unknown} */ message) => channel.sent.push(message), onmessage: /** @type {any} */ (null) };
  const signIn = new SignIn(() => {}, {
    fetch: async (path, how = {}) => {
      asked.push(String(path));
      const route = routes[String(path)];
      if (!route) throw new TypeError('network');
      return route(asked.filter((each) => each === path).length, how);
    },
    now: () => clock,
    turn: async (work) => {
      turns += 1;
      most = Math.max(most, turns);
      try {
        return await work();
      } finally {
        turns -= 1;
      }
    },
    channel,
  });
  return { signIn, asked, channel, pass: (/** @type {number} */ ms) => (clock += ms), most: () => most };
}

const ANA = { id: 'p1', email: 'ana@example.com', name: 'Ana' };
const refreshed = (/** @type {number} */ n) => json(200, { access_token: `access-${n}`, expires_in: 600, person: ANA });
const ROUTES = {
  '/auth/config': () => json(200, { sign_in: true, provider: 'Google' }),
  '/auth/refresh': refreshed,
  '/v1/ticket': (/** @type {number} */ n, /** @type {RequestInit} */ how) => json(200, { ticket: `${n}-${new Headers(how.headers).get('authorization')}` }),
};

test('a server without sign-in is asked for nothing else', async () => {
  /** @type {Record<string, () => Response>[]} */
  const servers = [{ '/auth/config': () => json(200, { sign_in: false }) }, { '/auth/config': () => json(404) }];
  for (const routes of servers) {
    const { signIn, asked } = page(routes);
    await signIn.begin();
    assert.deepEqual(signIn.state, { offered: false, person: null, provider: '', unclear: false });
    assert.deepEqual(await signIn.protocols(), []);
    assert.equal(await signIn.renewed(), null);
    assert.deepEqual(asked, ['/auth/config']);
  }
});

test('a server that does not answer leaves it unclear, and is asked again', async () => {
  const trouble = [() => json(429), () => json(503), () => new Response('<html>a page of somebody else'), () => Promise.reject(new TypeError('network'))];
  for (const answer of trouble) {
    const { signIn } = page({ ...ROUTES, '/auth/config': (n) => (n === 1 ? answer() : ROUTES['/auth/config']()) });
    await signIn.begin();
    assert.deepEqual(signIn.state, { offered: false, person: null, provider: '', unclear: true });
    await signIn.begin();
    assert.deepEqual(signIn.state, { offered: true, person: ANA, provider: 'Google', unclear: false });
    assert.deepEqual(await signIn.protocols(), ['ticket.1-Bearer access-1']);
  }
});

test('who is signed in stays so while the server cannot be asked again', async () => {
  const { signIn } = page({ ...ROUTES, '/auth/config': (n) => (n === 1 ? ROUTES['/auth/config']() : json(503)) });
  await signIn.begin();
  await signIn.begin();
  assert.deepEqual(signIn.state, { offered: true, person: ANA, provider: 'Google', unclear: true });
});

test('a token in hand is used until it is about to end, and every handshake has its own ticket', async () => {
  const { signIn, asked, pass } = page(ROUTES);
  await signIn.begin();
  assert.deepEqual(signIn.state.person, ANA);
  assert.deepEqual(await signIn.protocols(), ['ticket.1-Bearer access-1']);
  pass(569_000);
  assert.deepEqual(await signIn.protocols(), ['ticket.2-Bearer access-1']);
  pass(2_000);
  assert.deepEqual(await signIn.protocols(), ['ticket.3-Bearer access-2']);
  assert.equal(asked.filter((path) => path === '/auth/refresh').length, 2);
});

test('whoever asks at the same time gets the same token', async () => {
  const { signIn, asked, most } = page(ROUTES);
  await signIn.begin();
  assert.deepEqual(await Promise.all([signIn.renewed(), signIn.renewed(), signIn.renewed()]), ['access-2', 'access-2', 'access-2']);
  assert.equal(asked.filter((path) => path === '/auth/refresh').length, 2);
  assert.equal(most(), 1);
});

test('a token that is refused is replaced once', async () => {
  const ticket = (/** @type {number} */ n, /** @type {RequestInit} */ how) => (n === 1 ? json(401) : ROUTES['/v1/ticket'](n, how));
  const { signIn } = page({ ...ROUTES, '/v1/ticket': ticket });
  await signIn.begin();
  assert.deepEqual(await signIn.protocols(), ['ticket.2-Bearer access-2']);
});

test('a sign-in that has ended signs out; a server in trouble does not', async () => {
  const ended = page({ ...ROUTES, '/auth/refresh': (n) => (n === 1 ? refreshed(1) : json(401)) });
  await ended.signIn.begin();
  await assert.rejects(ended.signIn.renewed(), (error) => error instanceof DoorError && error.refused.cause === 'unauthorized');
  assert.equal(ended.signIn.state.person, null);
  const trouble = page({ ...ROUTES, '/auth/refresh': (n) => (n === 1 ? refreshed(1) : json(503, {}, { 'retry-after': '4' })) });
  await trouble.signIn.begin();
  await assert.rejects(trouble.signIn.renewed(), (error) => error instanceof DoorError && error.refused.retryAfterMs === 4000);
  assert.deepEqual(trouble.signIn.state, { offered: true, person: ANA, provider: 'Google', unclear: true });
});

test('limits on tickets are told with when to try again', async () => {
  const used = () => json(429, { code: 'quota_exceeded' }, { 'retry-after': '3600' });
  const { signIn } = page({ ...ROUTES, '/v1/ticket': used });
  await signIn.begin();
  await assert.rejects(signIn.protocols(), (error) => error instanceof DoorError && error.refused.cause === 'quota' && error.refused.retryAfterMs === 3_600_000);
});

test('signing out forgets here at once, tells other windows, and works when the server is away', async () => {
  const { signIn, channel, asked } = page(ROUTES);
  await signIn.begin();
  await signIn.end();
  assert.equal(signIn.state.person, null);
  assert.deepEqual(channel.sent, ['signed out']);
  assert.equal(asked.at(-1), '/auth/logout');
  const other = page(ROUTES);
  await other.signIn.begin();
  other.channel.onmessage({ data: 'signed out' });
  assert.equal(other.signIn.state.person, null);
});
