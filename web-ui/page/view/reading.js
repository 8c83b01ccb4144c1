/**
 * Where the reader reads: at the newest line, which the page then follows, or further back, where nothing that comes moves
 * what is under their eyes.
 */

/** Closer than this to the end counts as reading live, in CSS pixels. */
const NEAR_END_PX = 60;
/** Nearer to the beginning than so many heights of the view, more is wanted there. */
const NEAR_BEGINNING = 1.5;

/**
 * @typedef {object} ReadingEvents
 * @property {() => void} left The reader scrolled back.
 * @property {() => void} back The reader is at the newest line again.
 * @property {() => void} earlier The reader comes near the beginning of what is there.
 */

export class Reading {
  #scroller;
  #list;
  #events;
  following = true;
  /** Where the page was scrolled to last: only a reader goes up. */
  #top = 0;
  /** The line held still while the reader reads back, and where it was. @type {{ line: Element, top: number } | null} */
  #held = null;

  /** @param {HTMLElement} scroller @param {HTMLElement} list @param {ReadingEvents} events */
  constructor(scroller, list, events) {
    this.#scroller = scroller;
    this.#list = list;
    this.#events = events;
    scroller.addEventListener('scroll', () => this.#scrolled(), { passive: true });
    const grown = new ResizeObserver(() => this.settle());
    grown.observe(scroller);
    grown.observe(list);
  }

  /** Back to the newest line. */
  follow() {
    this.following = true;
    this.#held = null;
    this.#events.back();
    this.settle();
  }

  /** Away from the newest line, to one that is read now. @param {Element} line */
  leaveFor(line) {
    this.leave();
    line.scrollIntoView({ block: 'center' });
    this.#top = this.#scroller.scrollTop;
    this.#held = { line, top: line.getBoundingClientRect().top - this.#scroller.getBoundingClientRect().top };
  }

  /** To be called when lines came, went or grew: the end stays in view, or what is read stays where it is. */
  settle() {
    const scroller = this.#scroller;
    if (this.following) scroller.scrollTop = scroller.scrollHeight;
    else if (this.#held?.line.isConnected) {
      const moved = this.#held.line.getBoundingClientRect().top - scroller.getBoundingClientRect().top - this.#held.top;
      if (Math.abs(moved) >= 1) scroller.scrollTop += moved;
    } else this.#hold();
    this.#top = scroller.scrollTop;
  }

  #scrolled() {
    const { scrollHeight, scrollTop, clientHeight } = this.#scroller;
    const up = scrollTop < this.#top;
    const moved = scrollTop !== this.#top;
    this.#top = scrollTop;
    if (scrollHeight - scrollTop - clientHeight < NEAR_END_PX) {
      if (!this.following) this.follow();
      return;
    }
    // Text that grew since the page was last moved also leaves the end behind, and is no wish of the reader.
    if (this.following && !up) return;
    this.leave();
    if (moved) this.#hold();
    if (scrollTop < clientHeight * NEAR_BEGINNING) this.#events.earlier();
  }

  /** The newest line is no longer followed. */
  leave() {
    if (!this.following) return;
    this.following = false;
    this.#events.left();
  }

  /** Remembers the first line in view. */
  #hold() {
    const edge = this.#scroller.getBoundingClientRect().top;
    const lines = this.#list.children;
    let [from, to] = [0, lines.length - 1];
    while (from < to) {
      const middle = (from + to) >> 1;
      if ((lines[middle]?.getBoundingClientRect().bottom ?? 0) > edge) to = middle;
      else from = middle + 1;
    }
    const line = lines[from];
    this.#held = line ? { line, top: line.getBoundingClientRect().top - edge } : null;
  }
}
