/**
 * Conversations kept on this device, in IndexedDB: written line by line as they become final, the newest 200.
 *
 * @import { HeardLine } from './heard.js'
 */

import { inTime } from './heard.js';

const NAME = 'subtide.history';
const VERSION = 1;
/** The oldest conversations go when there are more. */
export const MOST = 200;

/**
 * @typedef {object} Conversation
 * @property {string} id
 * @property {number} beganMs Unix milliseconds.
 * @property {number} lastsMs From its first line to the end of its last.
 * @property {string[]} sources BCP-47 tags of the languages spoken.
 * @property {string[]} targets Those translated into.
 * @property {number} lines How many it has, gaps among them.
 */

export class Store {
  /** @param {IDBDatabase} db */
  constructor(db) {
    this.db = db;
    // Another window brings a newer version of the page: let it.
    db.onversionchange = () => db.close();
  }

  /** @param {string} [name] @returns {Promise<Store>} @throws {DOMException} where storage is blocked or full */
  static async open(name = NAME) {
    const request = indexedDB.open(name, VERSION);
    request.onupgradeneeded = () => {
      request.result.createObjectStore('conversations', { keyPath: 'id' }).createIndex('beganMs', 'beganMs');
      request.result.createObjectStore('lines', { keyPath: ['conversation', 'key'] });
    };
    return new Store(await answer(request));
  }

  /** @returns {Promise<Conversation[]>} newest first */
  async list() {
    /** @type {Conversation[]} */
    const all = await answer(this.db.transaction('conversations').objectStore('conversations').getAll());
    return all.sort((a, b) => b.beganMs - a.beganMs);
  }

  /** @param {string} id @returns {Promise<HeardLine[]>} in the order of speech */
  async lines(id) {
    /** @type {{ place: number, line: HeardLine }[]} */
    const all = await answer(this.db.transaction('lines').objectStore('lines').getAll(linesOf(id)));
    // A place is that of when the line was written; one that began before it may have come later.
    return inTime(all.sort((a, b) => a.place - b.place).map(({ line }) => line));
  }

  /**
   * Writes a conversation and those of its lines that are new or changed; all of it or nothing.
   * @param {Conversation} conversation
   * @param {readonly { place: number, line: HeardLine }[]} lines with their places in the order of speech
   */
  async keep(conversation, lines) {
    const transaction = this.db.transaction(['conversations', 'lines'], 'readwrite');
    const conversations = transaction.objectStore('conversations');
    const fresh = (await answer(conversations.getKey(conversation.id))) === undefined;
    conversations.put(conversation);
    const store = transaction.objectStore('lines');
    for (const { place, line } of lines) store.put({ conversation: conversation.id, key: line.key, place, line });
    if (fresh) await shrink(conversations, store);
    await finish(transaction);
  }

  /** @param {string} id */
  async remove(id) {
    const transaction = this.db.transaction(['conversations', 'lines'], 'readwrite');
    transaction.objectStore('conversations').delete(id);
    transaction.objectStore('lines').delete(linesOf(id));
    await finish(transaction);
  }

  async clear() {
    const transaction = this.db.transaction(['conversations', 'lines'], 'readwrite');
    transaction.objectStore('conversations').clear();
    transaction.objectStore('lines').clear();
    await finish(transaction);
  }

  close() {
    this.db.close();
  }
}

/** @param {string} id */
function linesOf(id) {
  // An array is greater than any string.
  return IDBKeyRange.bound([id], [id, []]);
}

/** @param {IDBObjectStore} conversations @param {IDBObjectStore} lines */
async function shrink(conversations, lines) {
  const over = (await answer(conversations.count())) - MOST;
  if (over <= 0) return;
  for (const id of await answer(conversations.index('beganMs').getAllKeys(null, over))) {
    conversations.delete(id);
    lines.delete(linesOf(String(id)));
  }
}

/** @template T @param {IDBRequest<T>} request @returns {Promise<T>} */
function answer(request) {
  return new Promise((done, failed) => {
    request.onsuccess = () => done(request.result);
    request.onerror = () => failed(request.error);
  });
}

/** @param {IDBTransaction} transaction @returns {Promise<void>} */
function finish(transaction) {
  return new Promise((done, failed) => {
    transaction.oncomplete = () => done();
    transaction.onabort = () => failed(transaction.error);
  });
}
