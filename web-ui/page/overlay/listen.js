/**
 * An overlay that listens by itself, with nobody to press Start: OBS opens it as a browser source with `?listen=me`. It begins
 * again by itself too, when a session has ended.
 *
 * @import { Settings } from '../view/settings.js'
 * @import { Shown } from '../host/shown.js'
 * @import { Look } from './look.js'
 */

import { Conversation } from '../captions/conversation.js';
import { chooseHost } from '../host/choose.js';
import { MOST_LINES } from '../host/shown.js';
import { soundMessage } from '../sound/faults.js';
import { Streams } from '../sound/streams.js';
import { closedMessage, noticeMessage } from '../words/messages.js';
import { t } from '../words/t.js';
import { heardAs } from './look.js';

const CHANNEL = 'me';
/** Before it begins again, milliseconds: at first, and at most. Each time in vain doubles it. */
const AGAIN_MS = 2000;
const AGAIN_MOST_MS = 60_000;

export class Listening {
  #settings;
  #look;
  #draw;
  #conversation = new Conversation();
  #host;
  #streams;
  /** What keeps it from listening; empty while nothing does. */
  #fault = '';
  #wait = AGAIN_MS;
  /** Newest notice of the server's that was there before this session. */
  #told = 0;

  /** @param {Settings} settings @param {Look} look as the address says @param {(shown: Shown, fault: string) => void} draw */
  constructor(settings, look, draw) {
    this.#settings = settings;
    this.#look = look;
    this.#draw = draw;
    this.#host = chooseHost();
    const { kind } = this.#host;
    this.#streams = new Streams(this.#host, {
      changed: () => this.#show(),
      begun: (channel) => this.#conversation.open(channel, Date.now()),
      event: (channel, event) => {
        if (event.type === 'started') this.#open();
        if (this.#conversation.apply(channel, event)) this.#show();
      },
      anew: (channel, fromMs) => {
        this.#conversation.breakOff(channel, fromMs);
        this.#show();
      },
      level: (channel, _peak, heardMs) => this.#conversation.heard(channel, Date.now(), heardMs),
      moved: () => {},
      lost: () => {},
      // `ended` follows.
      gone: (channel, fault) => (this.#fault = soundMessage(kind, channel, fault).title),
      failed: (channel, fault) => this.#later(soundMessage(kind, channel, fault).title),
      ended: (channel, closed) => {
        this.#conversation.closeChannel(channel);
        const notice = this.#conversation.notices().slice(this.#told).at(-1);
        this.#later(closedMessage(closed)?.title ?? (notice ? noticeMessage(notice).title : this.#fault), closed.retryAfterMs);
      },
    });
  }

  /** Begins to listen. */
  async begin() {
    await this.#host.person.begin();
    const { offered, person, unclear } = this.#host.person.state;
    if (offered && !person && !unclear) {
      this.#later(t('page.phase.signed_out'));
      return;
    }
    const { glossary, devices } = this.#settings;
    const { source, targets } = heardAs(this.#settings, this.#look);
    this.#told = this.#conversation.notices().length;
    this.#conversation.expect(targets);
    this.#conversation.begin();
    this.#streams.open({ channel: CHANNEL, device: devices[CHANNEL], source, targets, glossary });
  }

  /** Languages or terms have changed. */
  update() {
    const { source, targets } = heardAs(this.#settings, this.#look);
    const { glossary } = this.#settings;
    this.#conversation.expect(targets);
    this.#streams.update({ source, targets, glossary });
    this.#show();
  }

  #open() {
    this.#fault = '';
    this.#wait = AGAIN_MS;
  }

  /** Says why it does not listen, and begins again after a while. @param {string} why @param {number} [leastMs] */
  #later(why, leastMs = 0) {
    this.#fault = why;
    this.#show();
    setTimeout(() => void this.begin(), Math.max(leastMs, this.#wait));
    this.#wait = Math.min(AGAIN_MOST_MS, this.#wait * 2);
  }

  #show() {
    const { stage } = this.#streams;
    const state = stage ?? (this.#fault ? 'failed' : 'idle');
    const { targets } = heardAs(this.#settings, this.#look);
    const shown = { lines: this.#conversation.newest(MOST_LINES), targets, labels: false, state, behindMs: this.#conversation.behindMs };
    this.#draw(shown, stage === 'open' || stage === 'reconnecting' ? '' : this.#fault);
  }
}
