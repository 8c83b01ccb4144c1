/**
 * What a conversation is to the history: which of its lines are worth keeping, where they lie on one clock, and where one
 * conversation ends and the next begins. No DOM, no clock, no storage.
 *
 * @import { Channel } from '../host/host.js'
 * @import { GapLine, Line, SpeechLine } from '../captions/lines.js'
 */

/** Silence between two lines that makes two conversations of them, milliseconds. */
const APART_MS = 30 * 60_000;

/**
 * @typedef {object} Heard What is known of a line beside its words.
 * @property {Channel} [channel] Who was heard; missing where there is but one.
 * @property {number} [atMs] When the line began, Unix milliseconds.
 *
 * @typedef {SpeechLine & Heard} HeardSpeech
 * @typedef {GapLine & Heard} HeardGap
 * @typedef {Line & Heard} HeardLine
 *
 * @typedef {object} Placed A line on the conversation's own clock.
 * @property {HeardLine} line
 * @property {number} startMs Since the conversation's first sample.
 * @property {number} endMs Never before startMs.
 */

/**
 * Whether nothing of a line's own words can change any more: it is final, or its session ended before it could be.
 * @param {HeardLine} line
 */
export function finished(line) {
  if (line.kind === 'gap') return true;
  return line.committed.trim() !== '' && (line.final || !line.live);
}

/**
 * Lines of several sessions and channels on one clock that begins with the first sample heard; or with the first line,
 * where another conversation was before it. Where it is not known when a line was said, sessions follow one another
 * without a pause.
 * @param {readonly HeardLine[]} lines
 * @returns {Placed[]} in the order they began
 */
export function placed(lines) {
  const origin = originOf(lines);
  let run = lines[0]?.run ?? 0;
  let offset = 0;
  let reached = 0;
  const all = lines.map((line) => {
    if (line.run !== run) {
      run = line.run;
      offset = reached;
    }
    const startMs = Math.round(line.atMs === undefined ? offset + line.startMs : line.atMs - origin);
    const endMs = startMs + Math.max(0, Math.round(line.endMs - line.startMs));
    reached = Math.max(reached, endMs);
    return { line, startMs, endMs };
  });
  return all.sort((a, b) => a.startMs - b.startMs);
}

/**
 * The list's own order says nothing here: a line that began early may have finished late.
 * @param {readonly HeardLine[]} lines
 * @returns {number} Unix milliseconds at which their clock begins
 */
function originOf(lines) {
  const first = inTime(lines)[0];
  if (first?.atMs !== undefined && first.startMs > APART_MS) return first.atMs;
  return lines.reduce((least, { atMs, startMs }) => Math.min(least, (atMs ?? Infinity) - startMs), Infinity);
}

/**
 * Lines in the order they began; as they were where that is not known of all.
 * @param {readonly HeardLine[]} lines
 * @returns {HeardLine[]}
 */
export function inTime(lines) {
  if (lines.some(({ atMs }) => atMs === undefined)) return [...lines];
  return [...lines].sort((a, b) => (a.atMs ?? 0) - (b.atMs ?? 0));
}

/**
 * @param {readonly HeardLine[]} lines in the order of speech
 * @returns {HeardLine[][]} one list for each conversation, the newest last
 */
export function conversations(lines) {
  /** @type {HeardLine[][]} */
  const groups = [];
  let endMs = -Infinity;
  for (const line of lines) {
    const group = groups.at(-1);
    const startMs = line.atMs ?? endMs;
    if (!group || startMs - endMs > APART_MS) groups.push([line]);
    else group.push(line);
    endMs = Math.max(endMs, startMs + line.endMs - line.startMs);
  }
  return groups;
}

/** Whether two people are heard, so that lines must say whose they are. @param {readonly HeardLine[]} lines */
export function twoHeard(lines) {
  return lines.some(({ channel }) => channel === 'me') && lines.some(({ channel }) => channel === 'them');
}

/** @param {readonly HeardLine[]} lines @returns {{ sources: string[], targets: string[] }} the tags in them, each once */
export function languagesOf(lines) {
  const speech = lines.filter((line) => line.kind === 'speech');
  const sources = new Set(speech.map(({ language }) => language).filter(Boolean));
  const targets = new Set(speech.flatMap(({ translations }) => translations.map(({ target }) => target)));
  return { sources: [...sources], targets: [...targets].sort() };
}
