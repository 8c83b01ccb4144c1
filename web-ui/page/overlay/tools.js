/**
 * What can be done with the overlay's window of the desktop client: moved, paused, hidden, made to let clicks through.
 *
 * @import { Tauri } from '../view/tauri.js'
 */

import { byId, hint, label } from '../view/dom.js';

export class Tools {
  #pause = byId('pause', HTMLButtonElement);

  /** @param {Tauri} tauri */
  constructor({ core, event }) {
    document.body.dataset.desktop = '';
    byId('handle', HTMLElement).hidden = false;
    this.#pause.addEventListener('click', () => void event.emit('command', 'pause'));
    byId('hide', HTMLButtonElement).addEventListener('click', () => void core.invoke('overlay_hide'));
    byId('through', HTMLButtonElement).addEventListener('click', () => void core.invoke('overlay_through', { on: true }));
    this.state('idle');
  }

  /** @param {string} state of the page */
  state(state) {
    const paused = state === 'paused';
    this.#pause.disabled = !paused && state !== 'open' && state !== 'reconnecting';
    this.#pause.setAttribute('aria-pressed', String(paused));
    label(this.#pause, paused ? 'overlay.resume' : 'overlay.pause');
    hint(this.#pause, paused ? 'overlay.resume' : 'overlay.pause');
    byId('pause-icon', SVGUseElement).setAttribute('href', paused ? '#i-resume' : '#i-pause');
  }
}
