/** The desktop client's host against its commands and events by script. */

import assert from 'node:assert/strict';
import { test } from 'node:test';

import { desktopHost } from '../page/host/desktop.js';
import { programMessage } from '../page/host/program.js';
import { NAME } from '../page/host/shown.js';
import { CaptureError } from '../page/sound/capture.js';

/** @import { StreamListener } from '../page/host/host.js' */

const OUT = { offered: true, person: null, provider: 'Google', unclear: false };
const IN = { ...OUT, person: { id: 'p1', email: null, name: 'Ana' } };

/** @param {Record<string, (args: any) => unknown>} commands */
function scripted(commands) {
  /** @type {[string, unknown][]} */
  const asked = [];
  /** @type {[string, any][]} */
  const emitted = [];
  /** @type {Map<string, (event: { payload: any }) => void>} */
  const listening = new Map();
  const tauri = {
    core: {
      invoke: async (/** @type {string} */ command, /** @type {any} */ args) => {
        asked.push([command, args]);
        const answer = commands[command];
        if (!answer) throw { message: `there is no command ${command}` };
        return answer(args);
      },
      Channel: class {
        onmessage = () => {};
      },
    },
    event: {
      emit: async (/** @type {string} */ name, /** @type {unknown} */ payload) => void emitted.push([name, payload]),
      listen: async (/** @type {string} */ name, /** @type {(event: { payload: any }) => void} */ told) => {
        listening.set(name, told);
        return () => {};
      },
    },
  };
  /** @type {unknown[]} */
  const people = [];
  const host = desktopHost((state) => people.push(state), tauri);
  return { host, asked, emitted, people, tell: (/** @type {string} */ name, /** @type {unknown} */ payload) => listening.get(name)?.({ payload }) };
}

/** @returns {{ said: unknown[][], listener: StreamListener }} */
function ears() {
  /** @type {unknown[][]} */
  const said = [];
  const note = (/** @type {string} */ what) => (/** @type {unknown[]} */ ...more) => void said.push([what, ...more]);
  return { said, listener: { state: note('state'), event: note('event'), anew: note('anew'), level: note('level'), moved: note('moved'), lost: note('lost'), gone: note('gone'), closed: note('closed') } };
}

const REQUEST = { channel: /** @type {const} */ ('them'), device: 'sink.monitor', source: 'auto', targets: ['es'], glossary: [{ term: 'tide' }] };

test('a stream is opened, told, steered and ended by its number', async () => {
  /** @type {any} */
  let told;
  const ok = () => null;
  const { host, asked } = scripted({ open_stream: (args) => ((told = args.told), 7), update_stream: ok, finalize_stream: ok, pause_stream: ok, stop_stream: ok, hurry_stream: ok });
  const { said, listener } = ears();
  const stream = await host.open(REQUEST, listener);
  assert.deepEqual(asked[0], ['open_stream', { request: REQUEST, told }]);
  const event = { event: 2, type: 'ack', audio_ms: 5 };
  for (const message of [
    { type: 'state', state: 'open' },
    { type: 'event', event },
    { type: 'anew', from_ms: 150 },
    { type: 'level', peak: 0.5, heard_ms: 100 },
    { type: 'moved', label: 'Headphones' },
    { type: 'lost', from_ms: 100, to_ms: 400 },
    { type: 'gone', fault: 'missing' },
    { type: 'applause' },
    { type: 'closed', cause: 'limited', code: 4429, reason: 'r', retry_after_ms: 900 },
    { type: 'state', state: 'open' },
  ]) told.onmessage(message);
  assert.deepEqual(said, [
    ['state', 'open'],
    ['event', event],
    ['anew', 150],
    ['level', 0.5, 100],
    ['moved', 'Headphones'],
    ['lost', 100, 400],
    ['gone', 'missing'],
    ['closed', { cause: 'limited', code: 4429, reason: 'r', retryAfterMs: 900 }],
  ]);
  stream.update({ source: 'en', targets: ['ar'], glossary: [] });
  stream.finalize();
  stream.pause(true);
  stream.hurry();
  await stream.stop();
  assert.deepEqual(asked.slice(1), [
    ['update_stream', { id: 7, source: 'en', targets: ['ar'], glossary: [] }],
    ['finalize_stream', { id: 7 }],
    ['pause_stream', { id: 7, paused: true }],
    ['hurry_stream', { id: 7 }],
    ['stop_stream', { id: 7 }],
  ]);
});

test('faults of sound are thrown; a server that does not let in closes the stream', async () => {
  const refuse = (/** @type {unknown} */ error) => ({ open_stream: () => { throw error; } });
  const { said, listener } = ears();
  await assert.rejects(scripted(refuse({ fault: 'missing', message: 'no monitor' })).host.open(REQUEST, listener), (error) => error instanceof CaptureError && error.fault === 'missing');
  await assert.rejects(scripted(refuse({ fault: 'bad_message', message: 'no tag' })).host.open(REQUEST, listener), (error) => error instanceof CaptureError && error.fault === 'failed');
  await assert.rejects(scripted(refuse('a text alone')).host.open(REQUEST, listener), (error) => error instanceof CaptureError && error.fault === 'failed');
  assert.deepEqual(said, []);
  const { host, asked } = scripted(refuse({ fault: 'unreachable', message: 'connection refused' }));
  const stream = await host.open(REQUEST, listener);
  assert.deepEqual(said, [['closed', { cause: 'unreachable', code: 0, reason: 'connection refused', retryAfterMs: 0 }]]);
  await stream.stop();
  assert.equal(asked.length, 1, 'there is nothing to stop');
});

test('a stream that is gone in Rust refuses orders without harm', async () => {
  const { host } = scripted({ open_stream: () => 1 });
  const stream = await host.open(REQUEST, ears().listener);
  stream.finalize();
  await stream.stop();
});

test('people sign in and out by commands, and other windows are followed', async () => {
  const { host, people, tell } = scripted({ person: () => OUT, sign_in: () => IN, sign_out: () => null });
  await host.person.begin();
  assert.deepEqual(host.person.state, OUT);
  await host.person.enter();
  assert.deepEqual(host.person.state, IN);
  await host.person.end();
  assert.deepEqual(host.person.state, OUT);
  tell('person', IN);
  assert.deepEqual(people, [OUT, IN, OUT, IN]);
});

test('a sign-in that does not come about is an error, and the state stays', async () => {
  const { host } = scripted({ person: () => OUT, sign_in: () => { throw { message: 'the browser was closed' }; } });
  await host.person.begin();
  await assert.rejects(host.person.enter(), (error) => Object(error).message === 'the browser was closed');
  assert.deepEqual(host.person.state, OUT);
});

test('devices, files and commands', async () => {
  const device = { id: 'a', label: 'A', channel: 'me' };
  const { host, asked, tell } = scripted({ devices: () => [device], save_text: ({ name }) => name !== 'no.srt' });
  assert.deepEqual(await host.devices(), [device]);
  assert.equal(await host.save('yes.srt', 'application/x-subrip', '1'), true);
  assert.equal(await host.save('no.srt', 'application/x-subrip', '1'), false);
  assert.deepEqual(asked.at(-1), ['save_text', { name: 'no.srt', text: '1' }]);
  /** @type {string[]} */
  const heard = [];
  host.commands((command) => heard.push(command));
  tell('command', 'toggle');
  assert.deepEqual(heard, ['toggle']);
  assert.deepEqual(await scripted({}).host.devices(), [], 'none to be had is no fault of the page');
});

test('the overlay is told at once, and again when it opens', () => {
  const { host, emitted, tell } = scripted({});
  tell(NAME, { hello: true });
  assert.deepEqual(emitted, []);
  const shown = { lines: [], targets: ['es'], labels: false, state: 'open', behindMs: 0 };
  host.show(shown);
  tell(NAME, shown);
  tell(NAME, { hello: true });
  assert.deepEqual(emitted, [[NAME, shown], [NAME, shown]]);
});

test('a device that cannot be opened again after a pause is gone, and the words owed still come', async () => {
  const { host, asked } = scripted({ open_stream: () => 3, pause_stream: ({ paused }) => { if (!paused) throw { fault: 'missing', message: 'unplugged' }; }, stop_stream: () => null });
  const { said, listener } = ears();
  const stream = await host.open(REQUEST, listener);
  stream.pause(true);
  stream.pause(false);
  await new Promise((done) => setImmediate(done));
  assert.deepEqual(said, [['gone', 'missing']]);
  assert.deepEqual(asked.at(-1), ['stop_stream', { id: 3 }]);
});

test('what the program has to say is told, from before and from now on, in words of the page; its menu speaks as the page does', async () => {
  const taken = { code: /** @type {const} */ ('shortcut_taken'), about: 'Ctrl+Alt+C' };
  const bad = { code: /** @type {const} */ ('settings_unsaved'), about: 'disk full' };
  const { host, asked, tell } = scripted({ notices: () => [taken], set_words: () => null });
  /** @type {any[]} */
  const heard = [];
  host.notices((notice) => heard.push(notice));
  await new Promise((done) => setImmediate(done));
  tell('notice', bad);
  assert.deepEqual(heard, [taken, bad]);
  assert.match(programMessage(taken)?.text ?? '', /Ctrl\+Alt\+C/);
  assert.equal(programMessage(taken)?.detail, undefined);
  assert.equal(programMessage(bad)?.detail, 'disk full');
  assert.equal(programMessage(/** @type {any} */ ({ code: 'applause', about: '' })), null);
  host.speak();
  const words = /** @type {{ words: Record<string, string> }} */ (asked.at(-1)?.[1]).words;
  assert.equal(Object.keys(words).length, 9);
  assert.equal(words['tray.quit'], 'Quit Subtide');
});
