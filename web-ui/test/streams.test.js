/** Streams against a host by script: what is opened when, and that one channel leaves the other alone. */

import assert from 'node:assert/strict';
import { test } from 'node:test';

import { gathered } from '../page/captions/notices.js';
import { glossaryOf } from '../page/link/glossary.js';
import { CaptureError } from '../page/sound/capture.js';
import { Streams } from '../page/sound/streams.js';

/** @import { Channel, Stream, StreamListener, StreamRequest } from '../page/host/host.js' */

/** @type {import('../page/link/link.js').Closed} */
const STOPPED = { cause: 'stopped', code: 1000, reason: '', retryAfterMs: 0 };

/** A host whose streams do what the test says, and all that was told. */
function scripted() {
  /** @type {{ request: StreamRequest, told: StreamListener, give: () => void, refuse: (error: unknown) => void, calls: string[] }[]} */
  const opened = [];
  /** @type {string[]} */
  const said = [];
  const host = {
    /** @param {StreamRequest} request @param {StreamListener} told @returns {Promise<Stream>} */
    open: (request, told) => new Promise((done, refuse) => {
      /** @type {string[]} */
      const calls = [];
      const stream = {
        update: (/** @type {any} */ { targets }) => void calls.push(`update ${targets}`),
        finalize: () => void calls.push('finalize'),
        pause: (/** @type {boolean} */ paused) => void calls.push(`pause ${paused}`),
        stop: async () => void calls.push('stop'),
        hurry: () => void calls.push('hurry'),
      };
      opened.push({ request, told, give: () => done(stream), refuse, calls });
    }),
  };
  const streams = new Streams(host, {
    changed: () => {},
    begun: (channel) => said.push(`${channel} begun`),
    event: (channel, event) => said.push(`${channel} ${event.type}`),
    anew: (channel, fromMs) => said.push(`${channel} anew ${fromMs}`),
    level: (channel, _peak, heardMs) => said.push(`${channel} level ${heardMs}`),
    moved: (channel, label) => said.push(`${channel} moved ${label}`),
    lost: (channel, fromMs, toMs) => said.push(`${channel} lost ${toMs - fromMs}`),
    gone: (channel, fault) => said.push(`${channel} gone ${fault}`),
    failed: (channel, fault) => said.push(`${channel} failed ${fault}`),
    ended: (channel, { cause }) => said.push(`${channel} ended ${cause}`),
  });
  /** @param {number} n */
  const at = (n) => opened[n] ?? assert.fail(`stream ${n} was not asked for`);
  return { streams, said, opened, at };
}

/** @param {Channel} channel @param {Partial<StreamRequest>} [more] @returns {StreamRequest} */
const request = (channel, more) => ({ channel, device: '', source: 'en', targets: ['es'], glossary: [], ...more });
const settled = () => new Promise((done) => setImmediate(done));

test('both are asked for at once, and one that fails leaves the other alone', async () => {
  const { streams, said, opened, at } = scripted();
  streams.open(request('me'));
  streams.open(request('them'));
  assert.equal(opened.length, 2, 'before anything was waited for');
  assert.equal(streams.stage, 'asking');
  at(1).refuse(new CaptureError('denied', null));
  at(0).give();
  at(0).told.state('connecting');
  at(0).told.state('open');
  await settled();
  assert.equal(streams.stage, 'open');
  assert.deepEqual(streams.channels, ['me']);
  assert.deepEqual(said, ['me begun', 'them begun', 'them failed denied']);
  streams.open(request('them'));
  at(2).give();
  await settled();
  at(2).told.state('open');
  at(0).told.closed({ ...STOPPED, cause: 'lost' });
  assert.deepEqual(said.slice(3), ['them begun', 'me ended lost']);
  assert.equal(streams.stage, 'open');
});

test('the stage tells what a person should know of first', async () => {
  const { streams, at } = scripted();
  streams.open(request('me'));
  streams.open(request('them'));
  at(0).give();
  at(1).give();
  at(0).told.state('open');
  at(1).told.state('open');
  await settled();
  at(1).told.state('reconnecting');
  assert.equal(streams.stage, 'reconnecting');
  at(1).told.state('open');
  streams.stop('me');
  assert.equal(streams.stage, 'open');
  streams.stop();
  assert.equal(streams.stage, 'stopping');
  at(0).told.closed(STOPPED);
  at(1).told.closed(STOPPED);
  assert.equal(streams.stage, null);
});

test('a start that is cancelled while sound is asked for is heard no more', async () => {
  const { streams, said, at } = scripted();
  streams.open(request('me'));
  streams.stop();
  assert.equal(streams.stage, null);
  at(0).give();
  await settled();
  assert.deepEqual(at(0).calls, ['stop']);
  at(0).told.state('open');
  at(0).told.level(1, 100);
  at(0).told.closed(STOPPED);
  assert.equal(streams.stage, null);
  assert.deepEqual(said, ['me begun']);
});

test('a stop before the stream is handed over stops it then, and its words still come', async () => {
  const { streams, said, at } = scripted();
  streams.open(request('me'));
  at(0).told.state('connecting');
  streams.stop();
  assert.equal(streams.stage, 'stopping');
  at(0).give();
  await settled();
  assert.deepEqual(at(0).calls, ['stop']);
  at(0).told.event({ event: 9, type: 'ack', audio_ms: 1 });
  at(0).told.closed(STOPPED);
  assert.deepEqual(said, ['me begun', 'me ack', 'me ended stopped']);
});

test('pause and languages reach what is open, and what opens later', async () => {
  const { streams, at } = scripted();
  streams.open(request('me'));
  streams.update({ source: 'en', targets: ['ar'], glossary: [] });
  at(0).give();
  at(0).told.state('open');
  await settled();
  assert.deepEqual(at(0).calls, ['update ar']);
  streams.pause(true);
  streams.open(request('them'));
  at(1).give();
  await settled();
  streams.pause(false);
  streams.finalize();
  streams.hurry();
  assert.deepEqual(at(0).calls.slice(1), ['pause true', 'pause false', 'finalize', 'hurry']);
  assert.deepEqual(at(1).calls, ['pause true', 'pause false', 'finalize', 'hurry']);
  streams.pause(true);
  for (const { told } of [at(0), at(1)]) told.closed(STOPPED);
  assert.equal(streams.paused, false, 'the next start hears');
  streams.pause(true);
  assert.equal(streams.paused, false, 'nothing is there to pause');
});

test('another device is heard when the words of the one before have come, in the newest languages', async () => {
  const { streams, said, opened, at } = scripted();
  streams.open(request('me'));
  at(0).give();
  at(0).told.state('open');
  await settled();
  streams.reopen(request('me', { device: 'usb' }));
  assert.deepEqual(at(0).calls, ['stop']);
  assert.deepEqual(streams.channels, ['me'], 'it goes on');
  streams.update({ source: 'en', targets: ['zh'], glossary: [] });
  assert.equal(opened.length, 1);
  at(0).told.closed(STOPPED);
  assert.deepEqual([at(1).request.device, at(1).request.targets], ['usb', ['zh']]);
  at(1).give();
  await settled();
  streams.reopen(request('me', { device: 'other' }));
  streams.stop();
  at(1).told.closed(STOPPED);
  assert.equal(opened.length, 2, 'a stop takes it back');
  assert.equal(streams.stage, null);
  assert.deepEqual(said, ['me begun', 'me ended stopped', 'me begun', 'me ended stopped']);
});

test('what follows a stream begins also where that one did not end as asked', async () => {
  const { streams, said, opened, at } = scripted();
  streams.open(request('me'));
  at(0).give();
  at(0).told.state('open');
  await settled();
  streams.reopen(request('me', { device: 'usb' }));
  at(0).told.closed({ ...STOPPED, cause: 'lost' });
  assert.equal(opened.length, 2);
  assert.equal(at(1).request.device, 'usb');
  assert.deepEqual(said, ['me begun', 'me ended lost', 'me begun']);
});

test('a device that goes away is told, and what was said still comes', async () => {
  const { streams, said, at } = scripted();
  streams.open(request('them'));
  at(0).give();
  at(0).told.state('open');
  await settled();
  at(0).told.moved('Speakers');
  at(0).told.lost(100, 400);
  at(0).told.gone('missing');
  assert.equal(streams.stage, 'stopping');
  at(0).told.event({ event: 3, type: 'ack', audio_ms: 1 });
  at(0).told.closed(STOPPED);
  assert.deepEqual(said.slice(1), ['them moved Speakers', 'them lost 300', 'them gone missing', 'them ack', 'them ended stopped']);
});

test('what is true of both channels is told once', () => {
  const message = { tone: /** @type {const} */ ('error'), title: 'a', text: 'b' };
  const all = gathered([
    { key: '1', channel: 'me', message },
    { key: '2', channel: 'me', message: { ...message, text: 'c' } },
    { key: '3', channel: 'them', message: { ...message, detail: 'another trace' } },
  ]);
  assert.deepEqual(all.map(({ key, keys, channel }) => [key, keys, channel]), [['1', ['1', '3'], null], ['2', ['2'], 'me']]);
});

test('a term has the translation that is right for every target, or none', () => {
  const terms = [
    { term: ' Ana ', translations: { es: 'Ana', ar: 'آنا' } },
    { term: 'tide' },
    { term: '' },
    { term: 'x'.repeat(129) },
    { term: 'é'.repeat(64) },
  ];
  assert.deepEqual(glossaryOf(terms, ['es']), [{ source: 'Ana', target: 'Ana' }, { source: 'tide' }, { source: 'é'.repeat(64) }]);
  assert.deepEqual(glossaryOf(terms, ['es', 'ar'])[0], { source: 'Ana' });
  assert.deepEqual(glossaryOf(terms, [])[0], { source: 'Ana' });
  assert.equal(glossaryOf(Array.from({ length: 300 }, (_, n) => ({ term: `t${n}` })), []).length, 256);
});
