/**
 * What the reader chooses to be heard: for each channel whether it is, by which device, and how loud it is. Fills `#sources`.
 *
 * @import { Channel, Device, Host } from '../host/host.js'
 */

import { byId, make } from '../view/dom.js';
import { t } from '../words/t.js';
import { channelName } from './faults.js';
import { meterOf } from './level.js';

/**
 * @typedef {object} Chosen
 * @property {Channel[]} channels
 * @property {Record<Channel, string>} devices
 *
 * @typedef {object} Row
 * @property {HTMLInputElement} box
 * @property {HTMLElement} name
 * @property {HTMLSelectElement} picker
 * @property {HTMLElement} asked
 * @property {HTMLElement} meter
 */

const CHANNELS = /** @type {const} */ (['me', 'them']);

export class Sources {
  #mount = byId('sources', HTMLElement);
  #host;
  #chosen;
  #changed;
  /** @type {Map<Channel, Row>} */
  #rows = new Map();
  /** @type {Device[]} */
  #devices = [];

  /**
   * @param {Pick<Host, 'kind' | 'devices' | 'plugged'>} host
   * @param {Chosen} chosen kept up to date as the reader chooses
   * @param {(channel: Channel, what: 'channel' | 'device') => void} changed
   */
  constructor(host, chosen, changed) {
    this.#host = host;
    this.#chosen = chosen;
    this.#changed = changed;
    this.#mount.classList.add('sources');
    this.#mount.setAttribute('role', 'group');
    for (const channel of CHANNELS) this.#mount.append(this.#row(channel));
    host.plugged(() => void this.refresh());
    this.dress();
    void this.refresh();
  }

  /** Asks again what there is: names of devices are told only once one was allowed. */
  async refresh() {
    this.#devices = await this.#host.devices();
    this.#list();
  }

  /** Puts the words in place, and what is chosen: both may have changed. */
  dress() {
    this.#mount.setAttribute('aria-label', t('sound.sources'));
    for (const [channel, { box, name, picker, asked, meter }] of this.#rows) {
      name.textContent = channelName(channel, this.#host.kind);
      picker.setAttribute('aria-label', channel === 'me' ? t('sound.device.me') : t('sound.device.them'));
      meter.setAttribute('aria-label', channel === 'me' ? t('sound.level.me') : t('sound.level.them'));
      asked.textContent = t('sound.asked');
      box.checked = this.#chosen.channels.includes(channel);
    }
    this.#list();
  }

  /** @param {Channel} channel @param {number} peak 0 to 1 */
  level(channel, peak) {
    const row = this.#rows.get(channel);
    if (!row) return;
    const { shown, percent, clipping } = meterOf(peak);
    row.meter.style.setProperty('--level', shown);
    row.meter.setAttribute('aria-valuenow', percent);
    row.meter.toggleAttribute('data-clipping', clipping);
  }

  /** @param {Channel} channel */
  #row(channel) {
    const root = make('div', 'sound-source');
    root.dataset.channel = channel;
    const box = make('input');
    box.type = 'checkbox';
    box.id = `source-${channel}`;
    const name = make('span', 'sound-name');
    const label = make('label', 'sound-choice');
    label.append(box, name);
    const picker = make('select', 'sound-device');
    picker.id = `device-${channel}`;
    const asked = make('span', 'sound-asked');
    const meter = make('div', 'sound-meter');
    meter.setAttribute('role', 'meter');
    meter.setAttribute('aria-valuemin', '0');
    meter.setAttribute('aria-valuemax', '100');
    meter.setAttribute('aria-valuenow', '0');
    meter.append(make('span'));
    box.addEventListener('change', () => this.#choose(channel, box.checked));
    picker.addEventListener('change', () => {
      this.#chosen.devices = { ...this.#chosen.devices, [channel]: picker.value };
      this.#changed(channel, 'device');
    });
    // Not every program tells when something was plugged in.
    picker.addEventListener('focus', () => void this.refresh());
    root.append(label, picker, asked, meter);
    this.#rows.set(channel, { box, name, picker, asked, meter });
    return root;
  }

  /** @param {Channel} channel @param {boolean} wanted */
  #choose(channel, wanted) {
    this.#chosen.channels = CHANNELS.filter((each) => (each === channel ? wanted : this.#chosen.channels.includes(each)));
    this.#list();
    this.#changed(channel, 'channel');
  }

  #list() {
    for (const [channel, { picker, asked, meter }] of this.#rows) {
      const heard = this.#chosen.channels.includes(channel);
      // A browser lets the reader choose what to share when it starts.
      const later = this.#host.kind === 'browser' && channel === 'them';
      asked.hidden = !later;
      picker.hidden = later;
      picker.disabled = !heard;
      meter.hidden = !heard;
      if (!later) this.#offer(picker, channel);
    }
  }

  /** @param {HTMLSelectElement} picker @param {Channel} channel */
  #offer(picker, channel) {
    const held = this.#chosen.devices[channel];
    const mine = this.#devices.filter((device) => device.channel === channel && device.id !== '');
    const offered = [{ id: '', label: t('sound.default') }, ...mine.map(({ id, label }, index) => ({ id, label: label || t('sound.unnamed', { number: index + 1 }) }))];
    if (held && !mine.some(({ id }) => id === held)) offered.push({ id: held, label: t('sound.absent') });
    const same = picker.options.length === offered.length && offered.every(({ id, label }, index) => picker.options[index]?.value === id && picker.options[index]?.textContent === label);
    if (!same) {
      picker.replaceChildren(
        ...offered.map(({ id, label }) => {
          const option = make('option', '', label);
          option.value = id;
          return option;
        }),
      );
    }
    picker.value = held;
  }
}
