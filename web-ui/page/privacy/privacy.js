/**
 * The page on privacy in the reader’s language, with the theme and contrast of the settings. Without this its English stands
 * as it is. It only reads: in the desktop client its window may ask the program for nothing.
 */

import { localise } from '../view/dom.js';
import { load } from '../view/settings.js';
import { speak } from '../words/t.js';

function dress() {
  const { language, theme, contrast } = load();
  speak(language, navigator.languages);
  Object.assign(document.documentElement.dataset, { theme, contrast });
  localise(document);
}

dress();
globalThis.addEventListener('storage', dress);
globalThis.addEventListener('languagechange', dress);
