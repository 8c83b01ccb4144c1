/**
 * Cuts text into pieces that fit a subtitle: rows of at most 42 characters (BBC subtitle guidelines), a wide character
 * of the East counting as two. Cuts come between words, best of all where a sentence or a clause ends. No DOM.
 */

/** Widest row, in columns. */
export const ROW = 42;
/** What a cut costs that a reader trips over, and what a piece costs at all: fewer pieces, then better cuts. */
const COST = { piece: 100, slack: 60, clause: 12, word: 40 };

const WIDE = /[\u1100-\u115f\u2e80-\u303e\u3041-\ua4cf\uac00-\ud7a3\uf900-\ufaff\ufe30-\ufe4f\uff00-\uff60\uffe0-\uffe6\u{1f300}-\u{1faff}\u{20000}-\u{3fffd}]/u;
const NO_WIDTH = /[\p{Mn}\p{Me}\p{Cf}]/u;
/** Scripts that put no space between words, and their punctuation. */
const UNSPACED = /[\p{sc=Han}\p{sc=Hiragana}\p{sc=Katakana}\p{sc=Thai}\p{sc=Lao}\p{sc=Khmer}\p{sc=Myanmar}\u3000-\u303f\uff00-\uff0f\uff1a-\uff20]/u;
const OPENS = /[\p{Ps}\p{Pi}¿¡]$/u;
const CLOSES = /^[\p{Pe}\p{Pf}\p{Po}ー々ぁぃぅぇぉっゃゅょァィゥェォッャュョ]/u;
const SENTENCE = /[.!?…。！？｡؟۔।॥][\p{Pe}\p{Pf}"']*\s*$/u;
const CLAUSE = /[,;:،؛、，；：–—][\p{Pe}\p{Pf}"']*\s*$/u;

/** @param {string} text @returns {number} columns it takes */
export function width(text) {
  if (/^[ -~]*$/.test(text)) return text.length;
  let columns = 0;
  for (const character of text) columns += NO_WIDTH.test(character) ? 0 : WIDE.test(character) ? 2 : 1;
  return columns;
}

/** @param {string} text @returns {string} the text with every stretch of white space one space, and none around it */
export function tidy(text) {
  return text.replace(/\s+/g, ' ').trim();
}

/** @type {Map<string, Intl.Segmenter>} */
const segmenters = new Map();

/** @param {string} language @param {'word' | 'grapheme'} granularity */
function segmenter(language, granularity) {
  const key = `${granularity} ${language}`;
  let held = segmenters.get(key);
  if (!held) {
    try {
      held = new Intl.Segmenter(language || 'en', { granularity });
    } catch {
      held = new Intl.Segmenter('en', { granularity });
    }
    segmenters.set(key, held);
  }
  return held;
}

/**
 * The least parts a text may be cut into; a word keeps the space after it.
 * @param {string} text @param {string} language @returns {string[]}
 */
export function atoms(text, language) {
  const segments = [...segmenter(language, 'word').segment(text)].map(({ segment }) => segment);
  /** @type {string[]} */
  const found = [];
  let open = '';
  segments.forEach((segment, index) => {
    open += segment;
    const next = segments[index + 1];
    if (next !== undefined && !mayPart(segment, next)) return;
    found.push(...narrow(open));
    open = '';
  });
  return found;
}

/** @param {string} before @param {string} after */
function mayPart(before, after) {
  if (/\s$/.test(before)) return true;
  if (/^\s/.test(after) || OPENS.test(before) || CLOSES.test(after)) return false;
  return UNSPACED.test([...before].at(-1) ?? '') || UNSPACED.test([...after][0] ?? '');
}

/** Cuts a word that is wider than a row wherever it must. @param {string} word @returns {string[]} */
function narrow(word) {
  if (width(word.trimEnd()) <= ROW) return [word];
  /** @type {string[]} */
  const parts = [''];
  for (const { segment } of segmenter('', 'grapheme').segment(word)) {
    const last = parts.length - 1;
    if (width((parts[last] + segment).trimEnd()) <= ROW) parts[last] += segment;
    else parts.push(segment);
  }
  return parts;
}

/** Parts of a text and how wide any run of them is. */
class Measured {
  /** Columns of all before a part. */
  #before = [0];

  /** @param {string[]} parts */
  constructor(parts) {
    this.parts = parts;
    for (const part of parts) this.#before.push((this.#before.at(-1) ?? 0) + width(part));
    this.columns = parts.map((part) => width(part.trimEnd()));
  }

  /** Columns of parts[from..end], without the space after them. @param {number} from @param {number} end */
  wide(from, end) {
    if (end <= from) return 0;
    return (this.#before[end - 1] ?? 0) - (this.#before[from] ?? 0) + (this.columns[end - 1] ?? 0);
  }

  /** @param {number} from @param {number} end */
  text(from, end) {
    return this.parts.slice(from, end).join('').trim();
  }

  /**
   * Where the second of two rows begins that are about as wide; 0 when two cannot hold them.
   * @param {number} from @param {number} end
   */
  middle(from, end) {
    let found = { cost: Infinity, at: 0 };
    for (let at = from + 1; at < end; at += 1) {
      const [above, below] = [this.wide(from, at), this.wide(at, end)];
      if (above > ROW || below > ROW) continue;
      const cost = Math.abs(above - below) + this.tripped(at) / 4;
      if (cost < found.cost) found = { cost, at };
    }
    return found.at;
  }

  /** Whether so many rows hold them. @param {number} from @param {number} end @param {number} rows */
  fit(from, end, rows) {
    if (this.wide(from, end) <= ROW) return true;
    if (rows < 2) return false;
    let at = from + 1;
    while (at < end && this.wide(from, at + 1) <= ROW) at += 1;
    return this.wide(at, end) <= ROW;
  }

  /** What a reader pays for a piece that ends here. @param {number} end */
  tripped(end) {
    const last = this.parts[end - 1] ?? '';
    if (end === this.parts.length || SENTENCE.test(last)) return 0;
    return CLAUSE.test(last) ? COST.clause : COST.word;
  }

  /** @param {number} from @param {number} end @returns {string[]} one row, or two of about the same width */
  layOut(from, end) {
    const at = this.wide(from, end) > ROW ? this.middle(from, end) : 0;
    return at ? [this.text(from, at), this.text(at, end)] : [this.text(from, end)];
  }
}

/**
 * @param {string} text @param {string} language
 * @param {number} rows that a piece may have: 1 or 2
 * @returns {string[][]} pieces, each a list of rows
 */
export function cut(text, language, rows) {
  const measured = new Measured(atoms(text, language));
  const last = measured.parts.length;
  /** @type {{ cost: number, from: number }[]} by where the piece ends */
  const best = [{ cost: 0, from: 0 }];
  for (let end = 1; end <= last; end += 1) {
    let found = { cost: Infinity, from: end - 1 };
    const tripped = measured.tripped(end);
    for (let from = end - 1; from >= 0 && measured.fit(from, end, rows); from -= 1) {
      const slack = 1 - measured.wide(from, end) / (ROW * rows);
      const cost = (best[from]?.cost ?? Infinity) + COST.piece + COST.slack * slack ** 2 + tripped;
      if (cost < found.cost) found = { cost, from };
    }
    best.push(found);
  }
  /** @type {string[][]} */
  const pieces = [];
  for (let end = last; end > 0; end = best[end]?.from ?? 0) pieces.unshift(measured.layOut(best[end]?.from ?? 0, end));
  return pieces;
}

/**
 * Cuts single rows further, at their middles, until there are as many as wanted or no row can be cut.
 * @param {string[]} rows @param {string} language @param {number} wanted @returns {string[]}
 */
export function evenUp(rows, language, wanted) {
  const all = rows.map((row) => new Measured(atoms(row, language)));
  while (all.length < wanted) {
    let long = -1;
    all.forEach(({ parts }, index) => {
      const most = all[long];
      if (parts.length > 1 && (!most || wholeOf(all[index]) > wholeOf(most))) long = index;
    });
    const row = all[long];
    if (!row) break;
    const at = row.middle(0, row.parts.length);
    all.splice(long, 1, new Measured(row.parts.slice(0, at)), new Measured(row.parts.slice(at)));
  }
  return all.map((row) => row.text(0, row.parts.length));
}

/** @param {Measured | undefined} row */
function wholeOf(row) {
  return row ? row.wide(0, row.parts.length) : 0;
}
