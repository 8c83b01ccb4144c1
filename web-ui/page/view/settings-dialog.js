/**
 * The settings: a sheet over the page. What is chosen applies at once.
 *
 * @import { Key } from '../words/t.js'
 * @import { Settings } from './settings.js'
 */

import { DesktopSettings } from './desktop-settings.js';
import { listeningAddress } from '../overlay/look.js';
import { byId, label, localise, make, say } from './dom.js';
import { choose, pick, row, section, slide, toggle } from './fields.js';
import { GlossaryEditor } from './glossary-editor.js';
import { CaptionPreview, OverlayPreview } from './preview.js';
import { CONTRASTS, FONTS, LANGUAGES, LAYOUTS, MAX_OVERLAY_LINES, POSITIONS, SCALES, THEMES } from './settings.js';
import { tauri } from './tauri.js';
import { number, onSpoken, percent, t } from '../words/t.js';

/** @typedef {'looks' | 'glossary' | 'all'} Changed */

/** Keys and what they do, as controls.js has them. @type {[string[], Key][]} */
const KEYS = [
  [['Ctrl', 'Enter'], 'settings.keys.toggle'],
  [['Ctrl', 'Shift', 'Space'], 'settings.keys.pause'],
  [['Ctrl', ','], 'settings.keys.settings'],
  [['Ctrl', 'Shift', 'H'], 'settings.keys.history'],
  [['Esc'], 'settings.keys.close'],
];

export class SettingsDialog {
  #dialog = byId('settings', HTMLDialogElement);
  #settings;
  #changed;
  /** Put what is chosen into the fields. @type {(() => void)[]} */
  #fill = [];
  #desktop;

  /** @param {Settings} settings changed as the reader chooses @param {(what: Changed) => void} changed */
  constructor(settings, changed) {
    this.#settings = settings;
    this.#changed = changed;
    const around = tauri();
    const host = make('div');
    host.id = 'host-settings';
    this.#desktop = around && new DesktopSettings(host, around);
    const close = make('button', 'quiet', '✕');
    close.type = 'button';
    label(close, 'settings.close');
    close.addEventListener('click', () => this.#dialog.close());
    const head = make('header', 'sheet-head');
    const title = say('h2', 'settings.title');
    title.id = 'settings-title';
    head.append(title, say('p', 'settings.applied', 'about'), close);
    const body = make('div', 'sheet-body');
    body.append(this.#captions(), this.#page(), this.#overlay(), this.#glossary(), this.#history(), keyboard(), this.#privacy(), host);
    this.#dialog.append(head, body);
    this.#dialog.addEventListener('click', (event) => event.target === this.#dialog && this.#dialog.close());
    onSpoken(() => this.refresh());
  }

  open() {
    if (this.#dialog.open) return;
    this.refresh();
    void this.#desktop?.load();
    this.#dialog.showModal();
  }

  /** Shows what is chosen now. */
  refresh() {
    for (const fill of this.#fill) fill();
    localise(this.#dialog);
  }

  /** @template {keyof Settings} K @param {K} key @param {Settings[K]} value @param {Changed} [what] */
  #set(key, value, what = 'looks') {
    this.#settings[key] = value;
    this.#changed(what);
    this.refresh();
  }

  /** @param {Partial<Settings['overlay']>} part */
  #setOverlay(part) {
    this.#set('overlay', { ...this.#settings.overlay, ...part });
  }

  #captions() {
    const settings = this.#settings;
    const preview = new CaptionPreview();
    const size = slide({ min: 0, max: SCALES.length - 1, step: 1 }, sizeText, (scale) => this.#set('scale', scale));
    const font = pick(FONTS, (value) => t(`settings.font.${value}`), (value) => this.#set('font', value));
    const layout = choose('layout', LAYOUTS, (value) => `settings.layout.${value}`, (value) => this.#set('layout', value));
    this.#fill.push(() => preview.draw(settings), () => size.set(settings.scale), () => font.set(settings.font), () => layout.set(settings.layout));
    return section('settings.captions', preview.root, row('settings.size', size.root), row('settings.font', font.root), row('settings.layout', layout.root));
  }

  #page() {
    const settings = this.#settings;
    const name = (/** @type {string} */ tag) => (tag === 'auto' ? t('settings.language.auto') : NAMES[tag] ?? tag);
    const language = pick(LANGUAGES, name, (value) => this.#set('language', value));
    const theme = choose('theme', THEMES, (value) => `settings.theme.${value}`, (value) => this.#set('theme', value));
    const contrast = choose('contrast', CONTRASTS, (value) => `settings.contrast.${value}`, (value) => this.#set('contrast', value));
    this.#fill.push(() => language.set(settings.language), () => theme.set(settings.theme), () => contrast.set(settings.contrast));
    return section('settings.page', row('settings.language', language.root), row('settings.theme', theme.root), row('settings.contrast', contrast.root));
  }

  #overlay() {
    const held = () => this.#settings.overlay;
    const preview = new OverlayPreview();
    const lines = slide({ min: 1, max: MAX_OVERLAY_LINES, step: 1 }, (value) => number(value), (value) => this.#setOverlay({ lines: value }));
    const size = slide({ min: 0, max: SCALES.length - 1, step: 1 }, sizeText, (scale) => this.#setOverlay({ scale }));
    const position = choose('position', POSITIONS, (value) => `settings.overlay.position.${value}`, (value) => this.#setOverlay({ position: value }));
    const opacity = slide({ min: 0, max: 1, step: 0.05 }, percent, (value) => this.#setOverlay({ opacity: value }));
    const width = slide({ min: 20, max: 100, step: 5 }, (value) => percent(value / 100), (value) => this.#setOverlay({ width: value }));
    const colour = make('input');
    colour.type = 'color';
    colour.addEventListener('input', () => this.#setOverlay({ colour: colour.value }));
    this.#fill.push(
      () => preview.draw(this.#settings),
      () => lines.set(held().lines),
      () => size.set(held().scale),
      () => position.set(held().position),
      () => opacity.set(held().opacity),
      () => width.set(held().width),
      () => (colour.value = held().colour),
    );
    const rows = [
      row('settings.overlay.lines', lines.root),
      row('settings.overlay.size', size.root),
      row('settings.overlay.position', position.root),
      row('settings.overlay.opacity', opacity.root),
      row('settings.overlay.colour', colour),
      row('settings.overlay.width', width.root),
    ];
    return section('settings.overlay', say('p', 'settings.overlay.about', 'about'), preview.root, ...rows, ...(tauri() ? [] : [this.#ways()]));
  }

  #glossary() {
    const editor = new GlossaryEditor(this.#settings, () => this.#changed('glossary'));
    this.#fill.push(() => editor.draw());
    return section('settings.glossary', say('p', 'settings.glossary.about', 'about'), editor.root);
  }

  #history() {
    const keep = toggle('settings.keep', (on) => this.#set('keepHistory', on));
    keep.box.id = 'keep-history';
    this.#fill.push(() => (keep.box.checked = this.#settings.keepHistory));
    return section('settings.history', keep.root, say('p', 'settings.keep.about', 'about'));
  }

  #privacy() {
    const more = say('a', 'settings.privacy.more');
    more.href = 'privacy/index.html';
    more.target = '_blank';
    more.rel = 'noopener';
    const text = make('p', 'plain');
    text.append(say('span', tauri() ? 'settings.privacy.desktop' : 'settings.privacy.sound'), ' ', say('span', 'settings.privacy.rest'), ' ', more);
    return section('settings.privacy', text);
  }

  /** How to get at the overlay from a browser. */
  #ways() {
    const list = make('div', 'ways');
    const open = say('a', 'settings.overlay.open', 'quiet');
    open.href = 'overlay/';
    open.target = '_blank';
    // Not noopener: windows of one browsing context group tell each other what is drawn even where storage is partitioned.
    open.rel = 'opener';
    const address = make('input');
    address.readOnly = true;
    address.dir = 'ltr';
    this.#fill.push(() => (address.value = listeningAddress(this.#settings, location.href)));
    address.addEventListener('focus', () => address.select());
    label(address, 'settings.overlay.obs');
    const obs = make('div', 'obs');
    obs.append(say('p', 'settings.overlay.obs', 'about'), address);
    list.append(open, obs);
    return list;
  }
}

/** What the page's languages are called, each in itself. @type {Record<string, string>} */
const NAMES = { en: 'English', ar: 'العربية', es: 'Español', hi: 'हिन्दी', zh: '中文' };

/** @param {number} scale */
function sizeText(scale) {
  return percent(SCALES[scale] ?? 1);
}

function keyboard() {
  const list = make('dl', 'keys');
  for (const [keys, key] of KEYS) {
    const pair = make('div');
    const pressed = make('dd');
    pressed.dir = 'ltr';
    keys.forEach((each, index) => pressed.append(...(index ? [' + '] : []), make('kbd', '', each)));
    pair.append(say('dt', key), pressed);
    list.append(pair);
  }
  return section('settings.keys', list);
}
