/** How loud sound looks. No DOM. */

/** Louder than this and the recogniser hears distortion. */
const CLIPPING = 0.99;
/** Quietest level a meter shows, in decibels below full scale. */
const FLOOR_DB = 60;

/** @param {number} peak 0 to 1 @returns {{ shown: string, percent: string, clipping: boolean }} `shown` is 0 to 1 of the meter's length */
export function meterOf(peak) {
  const db = peak > 0 ? 20 * Math.log10(peak) : -FLOOR_DB;
  const shown = Math.max(0, Math.min(1, 1 + db / FLOOR_DB));
  return { shown: shown.toFixed(3), percent: String(Math.round(shown * 100)), clipping: peak >= CLIPPING };
}
