/**
 * What is drawn for an utterance or a gap, worked out from what is known about it. No DOM, no clock.
 *
 * @import { Caption, Gap, GapReason, Translation } from '../link/protocol.js'
 * @import { SpokenLine } from './conversation.js'
 */

/**
 * @typedef {object} TranslationLine
 * @property {string} target
 * @property {string} committed Text that will never change again.
 * @property {string} tail The unstable rest.
 * @property {boolean} final
 * @property {boolean} waiting Nothing yet, and something may still come.
 *
 * @typedef {object} SpeechLine
 * @property {'speech'} kind
 * @property {string} key Names the line for as long as the page lives.
 * @property {number} run Which session since the page was opened, from 0.
 * @property {number} utterance
 * @property {number} startMs Milliseconds since the session's first sample.
 * @property {number} endMs End of the audio heard so far.
 * @property {string} language Empty until the first caption.
 * @property {string} committed
 * @property {string} tail
 * @property {boolean} final
 * @property {boolean} live Whether more may still come for the source text.
 * @property {boolean} [translating] Whether more may still come for its translations; missing: no.
 * @property {readonly TranslationLine[]} translations Sorted by target.
 *
 * @typedef {object} GapLine Speech that got no caption.
 * @property {'gap'} kind
 * @property {string} key
 * @property {number} run
 * @property {number} startMs
 * @property {number} endMs
 * @property {GapReason} reason
 *
 * @typedef {SpeechLine | GapLine} Line
 *
 * @typedef {object} CaptionHeld What is used of a caption.
 * @property {number} revision
 * @property {boolean} final
 * @property {number} startMs
 * @property {number} endMs
 * @property {string} language
 * @property {string} committed
 * @property {string} tail
 *
 * @typedef {object} Drawn What is drawn of it, kept by whoever draws.
 * @property {SpokenLine | null} shown Null once it has changed.
 * @property {boolean} over Whether nothing more came in its session when it was drawn.
 * @property {number} place Where it stands among all of its channel; where it stood, when it no longer does.
 * @property {number} at Milliseconds by which it was put there.
 *
 * @typedef {object} UtteranceHeld All that is known about one. There are thousands: only what is used is held, and once.
 * @property {'speech'} kind
 * @property {string} key
 * @property {number} run
 * @property {number} id
 * @property {number} startMs As `speech_started` told it.
 * @property {number} endMs As `speech_ended` told it.
 * @property {boolean} lost A gap told that nothing more will come.
 * @property {readonly string[]} expected Targets wanted when it began.
 * @property {CaptionHeld | null} caption The best so far.
 * @property {readonly Translated[]} translations The best so far, sorted by target; never changed, but replaced.
 *
 * @typedef {UtteranceHeld & Drawn} Utterance
 * @typedef {GapLine & Drawn} GapHeld
 * @typedef {Utterance | GapHeld} Entry
 */

/** The best words told in a target so far. A line shows it as it is, so that nothing is held twice. */
export class Translated {
  #revision;
  waiting = false;

  /** @param {Translation} event */
  constructor({ target, revision, committed, tail, final }) {
    this.#revision = revision;
    this.target = target;
    this.committed = committed;
    this.tail = tail;
    this.final = final;
  }

  /** Not a property of the line. */
  get revision() {
    return this.#revision;
  }
}

/**
 * @param {string} key @param {number} run @param {number} id @param {readonly string[]} expected
 * @returns {Utterance} of which nothing is known; written out, since what is spread into an object takes more room
 */
export function unheard(key, run, id, expected) {
  return {
    kind: 'speech',
    key,
    run,
    id,
    startMs: 0,
    endMs: 0,
    lost: false,
    expected,
    caption: null,
    translations: [],
    shown: null,
    over: false,
    place: -1,
    at: 0,
  };
}

/**
 * Of two events about the same text, whether the offered one takes the place of the held one.
 * @param {{ revision: number, final: boolean } | null | undefined} held
 * @param {{ revision: number, final: boolean }} offered
 */
export function supersedes(held, offered) {
  if (!held) return true;
  if (held.final !== offered.final) return offered.final;
  return offered.revision > held.revision;
}

/** @param {Caption} event @returns {CaptionHeld} */
export function captionHeld({ revision, final, start_ms: startMs, end_ms: endMs, language, committed, tail }) {
  return { revision, final, startMs, endMs, language, committed, tail };
}

/**
 * @param {readonly Translated[]} translations @param {Translation} event
 * @returns {readonly Translated[]} with what is told, or the very same where something better is held
 */
export function translated(translations, event) {
  if (!supersedes(translations.find(({ target }) => target === event.target), event)) return translations;
  return translations.filter(({ target }) => target !== event.target).concat(new Translated(event)).sort(byTarget);
}

/** Whether there is something to draw. @param {Entry} entry @param {boolean} over Nothing more comes in its session. */
export function isDrawn(entry, over) {
  if (entry.kind === 'gap') return true;
  const { caption, lost, translations } = entry;
  const live = !over && !lost && !caption?.final;
  return live || (caption !== null && hasWords(caption)) || translations.some(hasWords);
}

/** @param {Entry} entry @returns {number} milliseconds since its session's first sample */
export function startOf(entry) {
  return entry.kind === 'gap' ? entry.startMs : (entry.caption?.startMs ?? entry.startMs);
}

/** @param {Entry} entry @returns {number} milliseconds since its session's first sample */
export function endOf(entry) {
  return entry.kind === 'gap' ? entry.endMs : Math.max(entry.endMs, entry.caption?.endMs ?? 0);
}

/** @param {Entry} entry @param {boolean} over Nothing more comes in its session. @returns {Line} in the times of its session */
export function lineOf(entry, over) {
  const { key, run } = entry;
  const startMs = startOf(entry);
  const endMs = endOf(entry);
  if (entry.kind === 'gap') return { kind: 'gap', key, run, startMs, endMs, reason: entry.reason };
  const { id: utterance, lost, caption } = entry;
  const { language = '', committed = '', tail = '', final = false } = caption ?? {};
  const done = over || lost;
  const silent = final && committed === '' && tail === '';
  const translating = !done && !silent;
  const translations = translationLines(entry, translating);
  return { kind: 'speech', key, run, utterance, startMs, endMs, language, committed, tail, final, live: !done && !final, translating, translations };
}

/** @param {Utterance} utterance @param {boolean} more Whether translations may still come. @returns {readonly TranslationLine[]} */
function translationLines({ expected, translations }, more) {
  const worded = translations.every(hasWords) ? translations : translations.filter(hasWords);
  if (!more) return worded;
  const settled = new Set(translations.filter((held) => held.final || hasWords(held)).map(({ target }) => target));
  const asked = new Set([...expected, ...translations.map(({ target }) => target)]);
  const waiting = [...asked].filter((target) => !settled.has(target));
  if (waiting.length === 0) return worded;
  return [...worded, ...waiting.map((target) => ({ target, committed: '', tail: '', final: false, waiting: true }))].sort(byTarget);
}

/** @param {{ committed: string, tail: string }} text */
function hasWords({ committed, tail }) {
  return committed !== '' || tail !== '';
}

/** @param {{ target: string }} a @param {{ target: string }} b */
function byTarget(a, b) {
  return a.target < b.target ? -1 : 1;
}

/** @param {string} key @param {number} run @param {Gap} gap @returns {GapHeld} */
export function gapHeld(key, run, gap) {
  return { kind: 'gap', key, run, startMs: gap.from_ms, endMs: gap.to_ms, reason: gap.reason, shown: null, over: false, place: -1, at: 0 };
}

/** Order of speech, by `at`; a gap comes after the utterance it cuts off. @param {Entry} a @param {Entry} b */
export function inOrder(a, b) {
  if (a.run !== b.run) return a.run - b.run;
  if (a.kind === 'speech' && b.kind === 'speech') return a.id - b.id;
  if (a.kind !== b.kind && a.at === b.at) return a.kind === 'speech' ? -1 : 1;
  return a.at - b.at || a.endMs - b.endMs;
}
