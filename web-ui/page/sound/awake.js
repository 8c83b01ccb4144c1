/** Keeps the screen on while captions are read, where the browser can. */

export class Awake {
  #wanted = false;
  /** @type {Promise<WakeLockSentinel | null> | null} */
  #lock = null;

  constructor() {
    // A browser takes it away when the page is hidden.
    document.addEventListener('visibilitychange', () => {
      if (document.hidden) this.#lock = null;
      else this.#hold();
    });
  }

  /** @param {boolean} wanted */
  want(wanted) {
    if (this.#wanted === wanted) return;
    this.#wanted = wanted;
    if (wanted) {
      this.#hold();
      return;
    }
    const held = this.#lock;
    this.#lock = null;
    void held?.then((lock) => lock?.release()).catch(() => {});
  }

  #hold() {
    if (!this.#wanted || this.#lock || document.hidden) return;
    this.#lock = navigator.wakeLock?.request('screen').catch(() => null) ?? null;
  }
}
