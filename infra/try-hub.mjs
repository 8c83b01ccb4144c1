/**
 * A hub for try-compose.sh: one model, `try/speech`, made of the files of a directory, told and served as `subtide models pull` asks
 * for it. The first transfer of the weights breaks off in the middle, as they do.
 *
 * node try-hub.mjs DIRECTORY PORT          one line on stdout for each request
 */

import { createHash } from 'node:crypto';
import { readFileSync, readdirSync, statSync } from 'node:fs';
import { createServer } from 'node:http';
import { join } from 'node:path';

const [directory, port] = process.argv.slice(2);
const MODEL = 'try/speech';
const COMMIT = '0123456789abcdef0123456789abcdef01234567';
const WEIGHTS = '.safetensors';
const files = new Map(
  readdirSync(directory)
    .filter((name) => statSync(join(directory, name)).isFile())
    .map((name) => [name, readFileSync(join(directory, name))]),
);
let broken = false;

/** A file as the hub lists it: its SHA-256 where it is large, else git's SHA-1 of it. */
function sibling([rfilename, bytes]) {
  const size = bytes.length;
  const blobId = createHash('sha1').update(`blob ${size}\0`).update(bytes).digest('hex');
  const sha256 = () => createHash('sha256').update(bytes).digest('hex');
  return rfilename.endsWith(WEIGHTS) ? { rfilename, size, blobId, lfs: { sha256: sha256(), size, pointerSize: 134 } } : { rfilename, size, blobId };
}

createServer((request, response) => {
  const path = decodeURIComponent(new URL(request.url, 'http://hub').pathname);
  console.log(`${request.method} ${path} ${request.headers.range ?? ''}`);
  if (path === `/api/models/${MODEL}/revision/main`) {
    response.setHeader('content-type', 'application/json');
    response.end(JSON.stringify({ id: MODEL, sha: COMMIT, siblings: [...files].map(sibling) }));
    return;
  }
  const prefix = `/${MODEL}/resolve/${COMMIT}/`;
  const bytes = path.startsWith(prefix) ? files.get(path.slice(prefix.length)) : undefined;
  if (!bytes) {
    response.writeHead(404).end();
    return;
  }
  const from = Number(/^bytes=(\d+)-$/.exec(request.headers.range ?? '')?.[1] ?? 0);
  response.writeHead(from > 0 ? 206 : 200, { 'content-length': bytes.length - from });
  if (path.endsWith(WEIGHTS) && !broken) {
    broken = true;
    response.write(bytes.subarray(from, Math.floor(bytes.length / 2)), () => setTimeout(() => response.destroy(), 200));
    return;
  }
  response.end(bytes.subarray(from));
}).listen(Number(port), '0.0.0.0');
