import assert from 'node:assert/strict';
import { test } from 'node:test';

import { cut, width } from '../page/history/export/cut.js';
import { fileName, FORMATS } from '../page/history/export/formats.js';
import { conversations, finished, placed } from '../page/history/heard.js';

/** @import { HeardGap, HeardSpeech } from '../page/history/heard.js' */
/** @import { Wanted } from '../page/history/export/passages.js' */

const BEGAN = Date.UTC(2026, 10, 21, 18, 30);

/** @param {number} utterance @param {number} startMs @param {number} endMs @param {string} committed @param {Record<string, string>} [translations] @param {Partial<HeardSpeech>} [more] @returns {HeardSpeech} */
function said(utterance, startMs, endMs, committed, translations = {}, more = {}) {
  return {
    kind: 'speech', key: `0:${utterance}`, run: 0, utterance, startMs, endMs, language: 'en', committed, tail: '', final: true, live: false,
    translations: Object.entries(translations).map(([target, text]) => ({ target, committed: text, tail: '', final: true, waiting: false })),
    ...more,
  };
}
/** @param {number} startMs @param {number} endMs @param {Partial<HeardGap>} [more] @returns {HeardGap} */
const gap = (startMs, endMs, more = {}) => ({ kind: 'gap', key: `gap ${startMs}`, run: 0, startMs, endMs, reason: 'overloaded', ...more });

/** @param {string[]} languages @param {string[]} [heading] @returns {Wanted} */
const wanted = (languages, heading = []) => ({
  languages,
  beganMs: BEGAN,
  words: { who: { me: 'Me', them: 'Them' }, gap: ({ startMs, endMs }) => `${(endMs - startMs) / 1000} s were not captioned`, heading },
});

/** @typedef {{ from: number, to: number, rows: string[] }} Parsed */

/** @param {string} time @returns {number} */
function ms(time) {
  const found = /^(\d{2,}):([0-5]\d):([0-5]\d)[.,](\d{3})$/.exec(time);
  assert.ok(found, `${time} is a time`);
  const [, hours, minutes, seconds, rest] = found.map(Number);
  return (((hours ?? 0) * 60 + (minutes ?? 0)) * 60 + (seconds ?? 0)) * 1000 + (rest ?? 0);
}

/** Reads SubRip as strictly as it can be read. @param {string} text @returns {Parsed[]} */
function readSrt(text) {
  if (text === '') return [];
  assert.ok(text.endsWith('\n') && !text.endsWith('\n\n'));
  return text.slice(0, -1).split('\n\n').map((block, index) => {
    const [number, times = '', ...rows] = block.split('\n');
    assert.equal(number, String(index + 1));
    const [from = '', to = '', ...none] = times.split(' --> ');
    assert.deepEqual(none, []);
    assert.match(times, /^\d\d:\d\d:\d\d,\d{3} --> \d\d:\d\d:\d\d,\d{3}$/);
    assert.ok(rows.length > 0 && rows.every((row) => row.trim() !== '' && !row.includes('-->')), block);
    return { from: ms(from), to: ms(to), rows };
  });
}

/** Reads WebVTT by the grammar of the specification, section 4. @param {string} text @returns {{ cues: (Parsed & { who: string })[], notes: string[] }} */
function readVtt(text) {
  const [magic, ...blocks] = text.replace(/\n$/, '').split('\n\n');
  assert.match(magic ?? '', /^WEBVTT(?:[ \t][^\n]*)?$/);
  /** @type {(Parsed & { who: string })[]} */
  const cues = [];
  /** @type {string[]} */
  const notes = [];
  for (const block of blocks) {
    assert.ok(block !== '' && !block.startsWith('\n'), 'blocks are parted by one empty line');
    if (/^NOTE[\n \t]/.test(block)) {
      assert.ok(!block.includes('-->'));
      notes.push(block.slice(5));
      continue;
    }
    const [times = '', ...rows] = block.split('\n');
    const found = /^(\S+) --> (\S+)$/.exec(times);
    assert.ok(found, block);
    const who = /^<v ([^>]+)>/.exec(rows[0] ?? '')?.[1] ?? '';
    const plain = rows.map((row) => row.replace(/^<v [^>]+>/, '').replace(/<\/?lang[^>]*>/g, ''));
    for (const row of plain) assert.ok(!/[<>]|&(?!amp;|lt;|gt;)/.test(row) && row !== '', row);
    const read = plain.map((row) => row.replaceAll('&lt;', '<').replaceAll('&gt;', '>').replaceAll('&amp;', '&'));
    cues.push({ from: ms(found[1] ?? ''), to: ms(found[2] ?? ''), rows: read, who });
  }
  return { cues, notes };
}

/** Numbers that look random and are the same each time. @param {number} seed */
function randoms(seed) {
  let state = seed >>> 0;
  return () => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    return state / 2 ** 32;
  };
}

const SHORT = [
  said(1, 300, 2400, 'Good morning everyone.', { es: 'Buenos días a todos.' }),
  gap(2500, 4500),
  said(2, 3_725_004, 3_727_000, 'Any questions?', { es: '¿Alguna pregunta?' }),
];

test('SubRip: exact text, in the words spoken, in a target and in both', () => {
  assert.equal(FORMATS.srt.write(SHORT, wanted(['source'])), '1\n00:00:00,300 --> 00:00:02,400\nGood morning everyone.\n\n2\n01:02:05,004 --> 01:02:07,000\nAny questions?\n');
  assert.equal(FORMATS.srt.write(SHORT, wanted(['es'])), '1\n00:00:00,300 --> 00:00:02,400\nBuenos días a todos.\n\n2\n01:02:05,004 --> 01:02:07,000\n¿Alguna pregunta?\n');
  assert.equal(
    FORMATS.srt.write(SHORT, wanted(['source', 'es'])),
    '1\n00:00:00,300 --> 00:00:02,400\nGood morning everyone.\nBuenos días a todos.\n\n2\n01:02:05,004 --> 01:02:07,000\nAny questions?\n¿Alguna pregunta?\n',
  );
  assert.equal(FORMATS.srt.write([], wanted(['source'])), '');
});

test('WebVTT: exact text; a gap is a comment where it was', () => {
  assert.equal(
    FORMATS.vtt.write(SHORT, wanted(['source', 'es'], ['Subtide', 'today'])),
    [
      'WEBVTT', '', 'NOTE', 'Subtide', 'today', '',
      '00:00:00.300 --> 00:00:02.400', '<lang en>Good morning everyone.</lang>', '<lang es>Buenos días a todos.</lang>', '',
      'NOTE', '00:00:02.500 2 s were not captioned', '',
      '01:02:05.004 --> 01:02:07.000', '<lang en>Any questions?</lang>', '<lang es>¿Alguna pregunta?</lang>', '',
    ].join('\n'),
  );
  assert.equal(FORMATS.vtt.write([], wanted(['source'])), 'WEBVTT\n');
});

test('plain text: exact text; a gap stands in brackets', () => {
  assert.equal(
    FORMATS.txt.write(SHORT, wanted(['source', 'es'], ['Saturday', 'en → es'])),
    'Saturday\nen → es\n\n[0:00] Good morning everyone.\n       Buenos días a todos.\n[0:02] [2 s were not captioned]\n[1:02:05] Any questions?\n          ¿Alguna pregunta?\n',
  );
});

test('JSON tells all that is known', () => {
  const lines = [
    { ...said(1, 300, 2400, 'Good morning.', { es: 'Buenos días.' }), channel: /** @type {const} */ ('me'), atMs: BEGAN + 300 },
    { ...gap(2500, 4500), channel: /** @type {const} */ ('me'), atMs: BEGAN + 2500 },
  ];
  assert.deepEqual(JSON.parse(FORMATS.json.write(lines, wanted(['source']))), {
    format: 'subtide.transcript',
    version: 1,
    began: '2026-11-21T18:30:00.000Z',
    sources: ['en'],
    targets: ['es'],
    lines: [
      {
        type: 'speech', start_ms: 300, end_ms: 2400, at: '2026-11-21T18:30:00.300Z', channel: 'me', language: 'en', text: 'Good morning.', final: true,
        translations: { es: { text: 'Buenos días.', final: true } },
      },
      { type: 'gap', start_ms: 2500, end_ms: 4500, at: '2026-11-21T18:30:02.500Z', channel: 'me', reason: 'overloaded' },
    ],
  });
});

test('what is finished is taken, also where its session ended before it was final; a translation still growing is taken as far as it is committed', () => {
  const growing = said(3, 9000, 9500, 'Half a', {}, { final: false, live: true, tail: ' word' });
  const cutOff = said(4, 9600, 9900, 'Cut off', {}, { final: false, live: false, tail: ' mid' });
  const waiting = said(5, 10_000, 11_000, 'New words.', { es: 'Palabras' });
  waiting.translations = [{ target: 'es', committed: 'Palabras', tail: ' nuev', final: false, waiting: false }];
  const silent = said(6, 12_000, 12_500, '');
  assert.deepEqual([growing, cutOff, waiting, silent, gap(0, 1)].map(finished), [false, true, true, false, true]);
  const lines = [growing, cutOff, waiting, silent];
  assert.deepEqual(readSrt(FORMATS.srt.write(lines, wanted(['source', 'es']))).map(({ rows }) => rows), [['Cut off'], ['New words.', 'Palabras']]);
  assert.deepEqual(readVtt(FORMATS.vtt.write(lines, wanted(['source']))).cues.map(({ rows }) => rows), [['Cut off'], ['New words.']]);
  assert.match(FORMATS.txt.write(lines, wanted(['source'])), /^\[0:09\] Cut off\n/);
  assert.deepEqual(JSON.parse(FORMATS.json.write(lines, wanted(['source']))).lines.map((/** @type {any} */ { text, final }) => [text, final]), [['Cut off', false], ['New words.', true]]);
});

test('what a player would take for a mark comes back as it was said', () => {
  const nasty = 'a --> b & <v Eve> c < d > e &amp; NOTE';
  const [cue] = readVtt(FORMATS.vtt.write([said(1, 0, 5000, nasty)], wanted(['source']))).cues;
  assert.equal(cue?.rows.join(' '), nasty);
  const srt = readSrt(FORMATS.srt.write([said(1, 0, 5000, nasty)], wanted(['source'])));
  assert.equal(srt[0]?.rows.join(' '), 'a → b & < v Eve> c < d > e &amp; NOTE');
  assert.ok(!FORMATS.vtt.write([gap(0, 1)], { ...wanted(['source']), words: { ...wanted([]).words, gap: () => 'x --> y\n\nz' } }).includes('-->'));
});

test('two who are heard are told apart, and may speak at once; one alone is not named', () => {
  const me = said(1, 0, 4000, 'I say this.', {}, { channel: 'me', atMs: BEGAN });
  const them = said(1, 0, 1500, 'We say <1 & that>.', {}, { channel: 'them', atMs: BEGAN + 1000 });
  const srt = readSrt(FORMATS.srt.write([me, them], wanted(['source'])));
  assert.deepEqual(srt, [{ from: 0, to: 4000, rows: ['Me: I say this.'] }, { from: 1000, to: 2500, rows: ['Them: We say <1 & that>.'] }]);
  const { cues } = readVtt(FORMATS.vtt.write([me, them], wanted(['source'])));
  assert.deepEqual(cues.map(({ who, rows }) => [who, ...rows]), [['Me', 'I say this.'], ['Them', 'We say <1 & that>.']]);
  assert.match(FORMATS.txt.write([me, them], wanted(['source'])), /^\[0:00\] Me: I say this\.\n\[0:01\] Them: /);
  assert.deepEqual(readSrt(FORMATS.srt.write([me], wanted(['source'])))[0]?.rows, ['I say this.']);
});

test('a label before words from right to left does not turn them round', () => {
  const me = said(1, 0, 4000, 'صباح الخير.', {}, { channel: 'me', language: 'ar' });
  const them = said(2, 5000, 6000, 'Good morning.', {}, { channel: 'them' });
  assert.deepEqual(readSrt(FORMATS.srt.write([me, them], wanted(['source']))).map(({ rows }) => rows[0]), ['\u200fMe: صباح الخير.', 'Them: Good morning.']);
});

const LONG = 'Before we begin, a few words about how the harbour was built, why the sea wall had to be raised twice in thirty years, and what the new survey says about the storms we must expect before the end of the century.';
const LONG_ES = 'Antes de empezar, unas palabras sobre cómo se construyó el puerto, por qué hubo que elevar el dique dos veces en treinta años y qué dice el nuevo estudio sobre las tormentas que debemos esperar antes de que acabe el siglo.';
const LONG_ZH = '在开始之前，我想简单介绍一下这座港口是如何建成的，为什么海堤在三十年里不得不两次加高，以及新的调查对本世纪末之前我们必须预期的风暴有何说法。';
const LONG_AR = 'قبل أن نبدأ، بضع كلمات عن كيفية بناء الميناء، ولماذا كان لا بد من رفع الجدار البحري مرتين خلال ثلاثين عامًا، وما يقوله المسح الجديد عن العواصف التي يجب أن نتوقعها قبل نهاية القرن.';

test('a long line becomes cues of two rows of 42 that share its time and lose no word', () => {
  const lines = [said(1, 1000, 16_000, LONG)];
  const cues = readSrt(FORMATS.srt.write(lines, wanted(['source'])));
  assert.deepEqual(cues.map(({ rows }) => rows), [
    ['Before we begin, a few words', 'about how the harbour was built,'],
    ['why the sea wall had to be raised', 'twice in thirty years, and what the new'],
    ['survey says about the storms we must', 'expect before the end of the century.'],
  ]);
  check(cues, 1000, 16_000, 2, [LONG]);
});

/** @param {Parsed[]} cues @param {number} from @param {number} to @param {number} most rows @param {string[]} texts that the rows hold, one after another or side by side */
function check(cues, from, to, most, texts) {
  assert.ok(cues.length > 1);
  assert.equal(cues[0]?.from, from);
  assert.equal(cues.at(-1)?.to, to);
  cues.forEach((cue, index) => {
    assert.ok(cue.from < cue.to && cue.rows.length <= most);
    if (index > 0) assert.equal(cue.from, cues[index - 1]?.to);
    for (const row of cue.rows) assert.ok(width(row) <= 42, `${row} is ${width(row)} wide`);
  });
  const bare = (/** @type {string} */ text) => text.replace(/\s/g, '');
  if (texts.length === 1) assert.equal(bare(cues.flatMap(({ rows }) => rows).join('')), bare(texts[0] ?? ''));
  else texts.forEach((text, index) => assert.equal(bare(cues.map(({ rows }) => rows[index] ?? '').join('')), bare(text)));
}

test('other scripts are cut by their width and at their words', () => {
  for (const [language, text] of [['es', LONG_ES], ['zh', LONG_ZH], ['ar', LONG_AR]]) {
    check(readSrt(FORMATS.srt.write([said(1, 0, 15_000, LONG, { [language ?? '']: text ?? '' })], wanted([language ?? '']))), 0, 15_000, 2, [text ?? '']);
  }
  assert.ok(cut(LONG_ZH, 'zh', 2).flat().every((row) => !/^[，。、]/.test(row)), 'no row begins with a comma');
  assert.deepEqual(cut('大家早上好，感谢各位的到来。', 'zh', 2), [['大家早上好，感谢各位的到来。']]);
  assert.deepEqual([width('大a。'), width('e\u0301'), width('ｱ')], [5, 1, 1]);
});

test('two languages stand side by side, a row each, and keep all words', () => {
  const line = said(1, 0, 15_000, LONG, { es: LONG_ES, zh: LONG_ZH, ar: LONG_AR });
  for (const [target, text] of [['es', LONG_ES], ['zh', LONG_ZH], ['ar', LONG_AR]]) {
    const cues = readSrt(FORMATS.srt.write([line], wanted(['source', target ?? ''])));
    check(cues, 0, 15_000, 2, [LONG, text ?? '']);
    assert.ok(cues.every(({ rows }) => rows.length === 2));
    assert.ok(readVtt(FORMATS.vtt.write([line], wanted(['source', target ?? '']))).cues.length === cues.length);
  }
});

test('a word wider than a row is cut where it must be, and a sentence end is the best place', () => {
  assert.deepEqual(cut('x'.repeat(100), 'en', 2).flat().map(({ length }) => length), [42, 42, 16]);
  const two = 'This first sentence is here and has an end to it right now. The second one follows, and it is a bit longer than that.';
  assert.equal(cut(two, 'en', 2)[0]?.join(' '), 'This first sentence is here and has an end to it right now.');
});

test('no cue is without length, backward, or over the next of the same voice', () => {
  const lines = [said(1, 1000, 1000, 'No length.'), said(2, 1500, 4000, 'Next.'), said(3, 3800, 6000, 'Begins early.'), said(4, 7000, 7002, LONG), said(5, 8000, 7000, 'Backward.')];
  const cues = readSrt(FORMATS.srt.write(lines, wanted(['source'])));
  assert.deepEqual(cues.slice(0, 3).map(({ from, to }) => [from, to]), [[1000, 1500], [1500, 3800], [3800, 6000]]);
  for (const [index, cue] of cues.entries()) {
    assert.ok(cue.from < cue.to);
    assert.ok(cue.from >= (cues[index - 1]?.from ?? 0));
  }
});

test('an hour of two voices: in order, every word there, each format read back', () => {
  const random = randoms(7);
  /** @type {HeardSpeech[]} */
  const lines = [];
  for (let utterance = 1; utterance <= 1200; utterance += 1) {
    const startMs = utterance * 3000 + Math.floor(random() * 400);
    const words = LONG.split(' ').slice(0, 3 + Math.floor(random() * 36)).join(' ');
    const channel = random() < 0.5 ? /** @type {const} */ ('me') : /** @type {const} */ ('them');
    lines.push(said(utterance, startMs, startMs + 2900, words, { zh: LONG_ZH.slice(0, 5 + Math.floor(random() * 60)) }, { channel, atMs: BEGAN + startMs }));
  }
  const all = (/** @type {string[]} */ texts) => texts.join('').replace(/\s/g, '');
  const bare = all(lines.map(({ channel, committed }) => `${channel === 'me' ? 'Me: ' : 'Them: '}${committed}`));
  const cues = readSrt(FORMATS.srt.write(lines, wanted(['source'])));
  assert.equal(all(cues.flatMap(({ rows }) => rows)), bare);
  const { cues: both } = readVtt(FORMATS.vtt.write(lines, wanted(['source', 'zh'])));
  assert.ok(both.length >= 1200 && both.every(({ rows }) => rows.length <= 2 && rows.every((row) => width(row) <= 42)));
  assert.ok(both.every(({ from, to }, index) => from < to && from >= (both[index - 1]?.from ?? 0)));
  assert.equal(JSON.parse(FORMATS.json.write(lines, wanted(['source']))).lines.length, 1200);
  assert.equal(FORMATS.txt.write(lines, wanted(['source'])).split('\n').length, 1201);
});

test('sessions lie on one clock: by the time of day where it is known, one after another where not', () => {
  const timed = [said(1, 500, 900, 'a', {}, { atMs: BEGAN + 500 }), said(1, 100, 200, 'b', {}, { run: 1, atMs: BEGAN + 60_100 })];
  assert.deepEqual(placed(timed).map(({ startMs, endMs }) => [startMs, endMs]), [[500, 900], [60_100, 60_200]]);
  const untimed = [said(1, 500, 900, 'a'), said(1, 100, 200, 'b', {}, { run: 1 })];
  assert.deepEqual(placed(untimed).map(({ startMs, endMs }) => [startMs, endMs]), [[500, 900], [1000, 1100]]);
});

test('a conversation after another begins at zero', () => {
  const later = [said(1, 7_200_000, 7_201_000, 'a', {}, { atMs: BEGAN }), said(2, 7_202_000, 7_203_000, 'b', {}, { atMs: BEGAN + 2000 })];
  assert.deepEqual(placed(later).map(({ startMs, endMs }) => [startMs, endMs]), [[0, 1000], [2000, 3000]]);
});

test('a line that began early and finished late lies where it began', () => {
  const lines = [said(3, 7_203_000, 7_205_000, 'c', {}, { atMs: BEGAN + 3000 }), said(1, 7_200_000, 7_202_000, 'a', {}, { atMs: BEGAN }), said(2, 7_202_000, 7_203_000, 'b', {}, { atMs: BEGAN + 2000 })];
  assert.deepEqual(placed(lines).map(({ line, startMs }) => [line.kind === 'speech' && line.committed, startMs]), [['a', 0], ['b', 2000], ['c', 3000]]);
  assert.match(FORMATS.srt.write(lines, wanted(['source'])), /^1\n00:00:00,000 --> 00:00:02,000\na\n/);
});

test('half an hour of silence parts two conversations', () => {
  const line = (/** @type {number} */ minutes) => said(minutes, 0, 1000, 'x', {}, { atMs: BEGAN + minutes * 60_000 });
  assert.deepEqual(conversations([line(0), line(29), line(60), line(61)]).map((group) => group.length), [2, 2]);
  assert.deepEqual(conversations([said(1, 0, 1, 'x'), said(2, 9e9, 9e9, 'y')]).length, 1);
});

test('words spoken in the language wanted need no translation', () => {
  const line = said(1, 0, 1000, 'Hola.', {}, { language: 'es' });
  assert.deepEqual(readSrt(FORMATS.srt.write([line], wanted(['es-MX'])))[0]?.rows, ['Hola.']);
  assert.equal(FORMATS.srt.write([line], wanted(['fr'])), '');
});

test('a file is named by its day and languages', () => {
  assert.equal(fileName(new Date(2026, 10, 21, 8, 5), ['en', 'es'], 'srt'), 'subtide-2026-11-21-0805.en.es.srt');
  assert.equal(fileName(new Date(2026, 0, 2, 18, 30), ['en'], 'json'), 'subtide-2026-01-02-1830.json');
});
