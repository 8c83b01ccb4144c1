/** Whether everything can be reached and left by the keyboard. */

import assert from 'node:assert/strict';

/**
 * Presses Tab until the whole page was walked through.
 * @param {import('playwright-core').Page} page
 * @returns {Promise<{ controls: number, unreachable: string[], unmarked: string[] }>} controls that never get the focus, and
 *   those that do not show that they have it
 */
export async function walk(page) {
  const controls = await page.evaluate(begin);
  /** @type {Set<number>} */
  const reached = new Set();
  /** @type {Set<number>} */
  const unmarked = new Set();
  let idle = 0;
  // A step more for the browser's own places between the last control and the first.
  for (let step = 0; step < 2 * controls.length + 10 && idle < 4; step += 1) {
    await page.keyboard.press('Tab');
    const { at, marked } = await page.evaluate('globalThis.subtideWalk.look()');
    idle = at < 0 || reached.has(at) ? idle + 1 : 0;
    if (at < 0) continue;
    reached.add(at);
    if (!marked) unmarked.add(at);
  }
  const groups = new Set([...reached].map((at) => controls[at]?.group).filter(Boolean));
  const missed = controls.filter(({ group }, at) => !reached.has(at) && !(group && groups.has(group)));
  const names = (/** @type {{ name: string }[]} */ list) => list.map(({ name }) => name);
  return { controls: controls.length, unreachable: names(missed), unmarked: names(controls.filter((_, at) => unmarked.has(at))) };
}

/** In the page: lists what should get the focus, and how it looks without. */
function begin() {
  const inside = [...document.querySelectorAll('dialog')].filter((dialog) => dialog.matches(':modal')).at(-1) ?? document.body;
  if (document.activeElement instanceof HTMLElement) document.activeElement.blur();
  const kinds = 'a[href], button, input, select, textarea, summary, audio[controls], [tabindex]';
  const composite = '[role=listbox], [role=tablist], [role=menu], [role=radiogroup], [role=toolbar], [role=grid], [role=tree]';
  const wanted = (/** @type {Element} */ element) => {
    if (!element.checkVisibility({ visibilityProperty: true }) || element.matches(':disabled, [type=hidden]') || element.closest('[inert]')) return false;
    // Arrows lead through the parts of one control.
    return element.getAttribute('tabindex') !== '-1' || (element.matches(kinds.replace(', [tabindex]', '')) && !element.closest(composite));
  };
  const elements = [...inside.querySelectorAll(kinds)].filter(wanted);
  /** What can show the focus: the control, what surrounds it closely, and what stands behind a hidden one. */
  const bearers = (/** @type {Element} */ element) => [element, element.parentElement, element.nextElementSibling, element.closest('label')].filter((one) => one instanceof Element);
  const style = (/** @type {Element} */ element) => {
    const { outlineStyle, outlineWidth, outlineColor, boxShadow, borderColor, borderWidth, backgroundColor } = getComputedStyle(element);
    const outline = outlineStyle === 'none' || outlineWidth === '0px' ? 'none' : `${outlineStyle} ${outlineWidth} ${outlineColor}`;
    return [outline, boxShadow, borderColor, borderWidth, backgroundColor].join(';');
  };
  const plain = new Map(elements.map((element) => [element, bearers(element).map(style)]));
  const name = (/** @type {Element} */ element) => {
    const { id, tagName, className } = element;
    const text = (element.getAttribute('aria-label') ?? element.textContent ?? '').trim().slice(0, 30);
    return `${tagName.toLowerCase()}${id ? `#${id}` : ''}${!id && typeof className === 'string' && className ? `.${className.split(' ')[0]}` : ''} "${text}"`;
  };
  Object.assign(globalThis, {
    subtideWalk: {
      look() {
        const active = document.activeElement;
        const at = active ? elements.indexOf(active) : -1;
        const before = active && plain.get(active);
        if (!active || !before) return { at, marked: false };
        const marked = active.matches(':focus-visible') && bearers(active).some((bearer, n) => style(bearer) !== before[n]);
        return { at, marked };
      },
    },
  });
  return elements.map((element) => {
    const group = element instanceof HTMLInputElement && element.type === 'radio' ? `radio ${element.name}` : '';
    return { name: name(element), group };
  });
}

/**
 * Opens a dialog by the keyboard alone, does something in it, leaves it by Escape, and is back where it was.
 * @param {import('playwright-core').Page} page @param {string} opener @param {string} dialog
 * @param {() => Promise<void>} [within]
 */
export async function visit(page, opener, dialog, within = async () => {}) {
  await page.locator(opener).focus();
  await page.keyboard.press('Enter');
  const open = page.locator(`${dialog}[open]`);
  await open.waitFor();
  const inside = await page.evaluate((selector) => document.querySelector(selector)?.contains(document.activeElement), dialog);
  assert.ok(inside, `${dialog}: the focus is outside`);
  await within();
  await page.keyboard.press('Escape');
  await open.waitFor({ state: 'detached' });
  const back = await page.evaluate((selector) => document.activeElement?.matches(selector), opener);
  assert.ok(back, `${dialog}: after Escape the focus is not back at ${opener}`);
}
