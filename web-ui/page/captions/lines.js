/**
 * What is drawn for an utterance or a gap, worked out from what is known about it. No DOM, no clock.
 *
 * @import { Caption, Gap, GapReason, Translation } from '../link/protocol.js'
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
 * @property {TranslationLine[]} translations Sorted by target.
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
 * @typedef {object} Utterance All that is known about one.
 * @property {number} run
 * @property {number} id
 * @property {number} startMs As `speech_started` told it.
 * @property {number} endMs As `speech_ended` told it.
 * @property {boolean} lost A gap told that nothing more will come.
 * @property {readonly string[]} expected Targets wanted when it began.
 * @property {Caption | null} caption The best so far.
 * @property {Map<string, Translation>} translations The best so far, by target.
 * @property {{ over: boolean, line: SpeechLine | null } | null} drawn What was worked out of it; null once it has changed.
 */

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

/**
 * @param {string} key
 * @param {Utterance} utterance
 * @param {boolean} over Nothing more comes in its session.
 * @returns {SpeechLine | null} null when there is nothing to draw
 */
export function speechLine(key, utterance, over) {
  const { caption } = utterance;
  const done = over || utterance.lost;
  const live = !done && !caption?.final;
  const silent = caption?.final === true && caption.committed === '' && caption.tail === '';
  const translating = !done && !silent;
  const translations = translationLines(utterance, translating);
  const empty = !caption || (caption.committed === '' && caption.tail === '');
  if (empty && !live && translations.every((translation) => translation.waiting)) return null;
  return {
    kind: 'speech',
    key,
    run: utterance.run,
    utterance: utterance.id,
    startMs: caption?.start_ms ?? utterance.startMs,
    endMs: Math.max(utterance.endMs, caption?.end_ms ?? 0),
    language: caption?.language ?? '',
    committed: caption?.committed ?? '',
    tail: caption?.tail ?? '',
    final: caption?.final ?? false,
    live,
    translating,
    translations,
  };
}

/** @param {Utterance} utterance @param {boolean} more Whether translations may still come. @returns {TranslationLine[]} */
function translationLines({ expected, translations }, more) {
  const targets = [...new Set([...expected, ...translations.keys()])].sort();
  return targets
    .map((target) => {
      const { committed = '', tail = '', final = false } = translations.get(target) ?? {};
      return { target, committed, tail, final, waiting: committed === '' && tail === '' && !final && more };
    })
    .filter(({ waiting, committed, tail }) => waiting || committed !== '' || tail !== '');
}

/** @param {string} key @param {number} run @param {Gap} gap @returns {GapLine} */
export function gapLine(key, run, gap) {
  return { kind: 'gap', key, run, startMs: gap.from_ms, endMs: gap.to_ms, reason: gap.reason };
}

/** Order of speech; a gap comes after the utterance it cuts off. @param {Line} a @param {Line} b */
export function inOrder(a, b) {
  if (a.run !== b.run) return a.run - b.run;
  if (a.kind === 'speech' && b.kind === 'speech') return a.utterance - b.utterance;
  if (a.kind !== b.kind && a.startMs === b.startMs) return a.kind === 'speech' ? -1 : 1;
  return a.startMs - b.startMs || a.endMs - b.endMs;
}
