/**
 * The overlay's page: captions of another window over whatever is behind; or of its own, where its address says
 * `?listen=me`. In the desktop client it is a window that can be moved, hidden, and made to let clicks through.
 *
 * @import { Shown } from '../host/shown.js'
 */

import { NAME } from '../host/shown.js';
import { byId, localise } from '../view/dom.js';
import { follow, load } from '../view/settings.js';
import { tauri } from '../view/tauri.js';
import { speak, t } from '../words/t.js';
import { Listening } from './listen.js';
import { lookAsked, lookOf } from './look.js';
import { Stage } from './stage.js';
import { Tools } from './tools.js';

/** A page that shows captions answers sooner than this. */
const ANSWERED_MS = 1500;

const settings = load();
const asked = new URLSearchParams(location.search);
const desktop = tauri();
const stage = new Stage(byId('stage', HTMLElement), 'overlay-lines');
const tools = desktop && new Tools(desktop);
/** Whether captions were ever shown here. */
let begun = false;

/** @returns {import('./look.js').Look} */
function dress() {
  speak(settings.language, navigator.languages);
  localise(document);
  document.title = t('overlay.title');
  const { look, faults } = lookAsked(lookOf(settings), asked, (value) => CSS.supports('color', value));
  for (const fault of faults) console.warn(`Subtide overlay: ${fault}`);
  stage.dress(look);
  return look;
}

/** @param {Shown} shown */
function draw(shown) {
  stage.draw(shown);
  tools?.state(shown.state);
  begun ||= shown.lines.length > 0;
  if (!begun && shown.state === 'idle') stage.hint(t('overlay.ready'));
}

/** Follows the captions of another window. */
function watch() {
  let answered = false;
  const take = (/** @type {Partial<Shown> & { hello?: boolean }} */ said) => {
    if (said?.hello || !Array.isArray(said?.lines)) return;
    answered = true;
    draw(/** @type {Shown} */ (said));
  };
  if (desktop) {
    void desktop.event.listen(NAME, ({ payload }) => take(payload)).then(() => desktop.event.emit(NAME, { hello: true }));
  } else {
    const channel = new BroadcastChannel(NAME);
    channel.onmessage = ({ data }) => take(data);
    channel.postMessage({ hello: true });
  }
  setTimeout(() => !answered && stage.hint(t(desktop ? 'overlay.ready' : 'overlay.waiting')), ANSWERED_MS);
}

const look = dress();
const listening = look.listen ? new Listening(settings, look, (shown, fault) => stage.draw(shown, fault)) : null;
follow(settings, () => {
  dress();
  listening?.update();
});
if (listening) void listening.begin();
else watch();
