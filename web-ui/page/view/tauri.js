/**
 * What the looks of the page use of the desktop client: commands and events. In a browser there is none.
 *
 * @typedef {object} Tauri
 * @property {{ invoke: (command: string, args?: Record<string, unknown>) => Promise<any> }} core
 * @property {{ emit: (name: string, payload: unknown) => Promise<void>,
 *   listen: (name: string, told: (event: { payload: any }) => void) => Promise<() => void> }} event
 */

/** @returns {Tauri | null} */
export function tauri() {
  const around = /** @type {{ __TAURI__?: Tauri }} */ (/** @type {unknown} */ (globalThis)).__TAURI__;
  return around ?? null;
}
