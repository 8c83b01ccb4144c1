/** The languages offered, and what they are called. No DOM. */

/** Offered in the lists; anything else can be typed as a BCP-47 tag. */
export const OFFERED = ['en', 'es', 'fr', 'de', 'it', 'pt', 'nl', 'pl', 'uk', 'ru', 'tr', 'ar', 'fa', 'he', 'hi', 'zh', 'ja', 'ko'];

/** Most bytes of a tag the server takes. */
const MAX_TAG_BYTES = 35;

/**
 * @param {string} text as typed
 * @returns {string | null} the tag in canonical case, or null when it is none
 */
export function parseTag(text) {
  const typed = text.trim();
  if (typed === '' || typed.length > MAX_TAG_BYTES) return null;
  try {
    return Intl.getCanonicalLocales(typed)[0] ?? null;
  } catch {
    return null;
  }
}

/**
 * @param {string} tag
 * @returns {string} its name in the language itself, such as `español`; the tag when nobody knows
 */
export function nameOf(tag) {
  try {
    const name = new Intl.DisplayNames([tag, 'en'], { type: 'language' }).of(tag) ?? tag;
    return name.charAt(0).toLocaleUpperCase(tag) + name.slice(1);
  } catch {
    return tag;
  }
}
