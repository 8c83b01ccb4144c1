// An OpenID Connect provider on this machine: the real protocol, four people who do not exist, no passwords.
//
//   node tests/oidc-provider/provider.mjs --port 9000
//
// prints the settings that make Subtide use it. It forgets everything when it ends. It listens on 127.0.0.1 only, and
// whoever reaches it can be any of the four: it is for trying and testing, for nothing else.

import { createServer } from 'node:http';
import { generateKeyPairSync, randomBytes } from 'node:crypto';
import { parseArgs } from 'node:util';

const HELP = `Usage: node provider.mjs [--port 9000] [--public-url http://localhost:5026]
                         [--client-id subtide] [--client-secret SECRET]

  --port           where the provider listens, on 127.0.0.1; 0 takes a free port
  --public-url     where browsers reach Subtide: its PUBLIC_URL
  --client-id      Subtide's name at the provider
  --client-secret  its secret; made up when absent`;

/** Who can sign in. A request whose `login_hint` is one of these names is not asked. */
const PEOPLE = {
  ann: { email: 'ann@example.com', email_verified: true, name: 'Ann Example' },
  bob: { email: 'bob@example.org', email_verified: true, name: 'Bob Example' },
  eve: { email: 'eve@example.com', email_verified: false, name: 'Eve Unverified' },
  nobody: { name: 'Nobody' },
};
/** Ends the sign-in without anybody. */
const NO = 'no';
const PAGE_HEADERS = {
  'content-type': 'text/html; charset=utf-8',
  'cache-control': 'no-store',
  // No form-action: browsers hold it against the redirects behind a form as well.
  'content-security-policy': "default-src 'none'; style-src 'unsafe-inline'; frame-ancestors 'none'",
};
const STYLE = `:root { color-scheme: light dark } body { font: 1.1rem/1.5 system-ui, sans-serif; max-width: 26rem;
margin: 12vh auto; padding: 0 1rem } button { font: inherit; width: 100%; margin: .3rem 0; padding: .6rem; cursor: pointer }`;

function settings() {
  const options = {
    port: { type: 'string', default: '9000' },
    'public-url': { type: 'string', default: 'http://localhost:5026' },
    'client-id': { type: 'string', default: 'subtide' },
    'client-secret': { type: 'string', default: randomBytes(24).toString('base64url') },
    help: { type: 'boolean', default: false },
  };
  const { values } = parseArgs({ options });
  if (values.help) {
    console.log(HELP);
    process.exit(0);
  }
  return values;
}

/** The library, or what to type when it is not there. */
async function library() {
  try {
    return (await import('oidc-provider')).Provider;
  } catch (error) {
    if (error.code !== 'ERR_MODULE_NOT_FOUND') throw error;
    console.error(`${error.message}\nRun \`npm ci\` in ${import.meta.dirname} first.`);
    process.exit(1);
  }
}

function configuration(values) {
  const origin = new URL(values['public-url']).origin;
  return {
    clients: [{
      client_id: values['client-id'],
      client_secret: values['client-secret'],
      grant_types: ['authorization_code'],
      response_types: ['code'],
      // `native` lets it come back to a loopback address at any port (RFC 8252 §7.3), besides the address of the page.
      application_type: 'native',
      redirect_uris: ['http://127.0.0.1/callback', 'http://[::1]/callback', `${origin}/auth/callback`],
    }],
    pkce: { required: () => true },
    scopes: ['openid', 'email', 'profile'],
    claims: { openid: ['sub'], email: ['email', 'email_verified'], profile: ['name'] },
    // E-mail and name in the ID token itself, as Google has it.
    conformIdTokenClaims: false,
    features: { devInteractions: { enabled: false } },
    interactions: { url: (_ctx, interaction) => `/people/${interaction.uid}` },
    findAccount: (_ctx, id) => PEOPLE[id] && { accountId: id, claims: () => ({ sub: id, ...PEOPLE[id] }) },
    loadExistingGrant: consented,
    jwks: { keys: [signingKey()] },
    cookies: { keys: [randomBytes(32).toString('base64url')] },
    ttl: { AuthorizationCode: 60, IdToken: 300, AccessToken: 300, Interaction: 300, Session: 3600, Grant: 3600 },
    renderError: (ctx, out) => {
      ctx.set(PAGE_HEADERS);
      ctx.body = page(`<h1>That did not work</h1><p>${escape(out.error)}: ${escape(out.error_description ?? '')}</p>`);
    },
  };
}

/** A key of this run's own: the library's is known to everybody. */
function signingKey() {
  const { privateKey } = generateKeyPairSync('rsa', { modulusLength: 2048 });
  return { ...privateKey.export({ format: 'jwk' }), use: 'sig', alg: 'RS256', kid: randomBytes(8).toString('hex') };
}

/** Whoever signs in agrees: there is one client, and it is the person's own. */
async function consented(ctx) {
  const { provider, client, session, params } = ctx.oidc;
  const grant = new provider.Grant({ clientId: client.clientId, accountId: session.accountId });
  grant.addOIDCScope(params.scope);
  await grant.save();
  return grant;
}

const escape = (text) => String(text).replace(/[&<>"']/g, (c) => `&#${c.charCodeAt(0)};`);

const page = (body) => `<!doctype html><html lang="en"><meta charset="utf-8">
<meta name="viewport" content="width=device-width"><title>Local sign-in</title><style>${STYLE}</style>
<main>${body}</main></html>`;

/** Asks who it is, unless the request or the pressed button says so. */
async function people(provider, request, response) {
  const { params } = await provider.interactionDetails(request, response);
  const chosen = request.method === 'POST' ? new URLSearchParams(await body(request)).get('who') : params.login_hint;
  if (chosen === NO) {
    const result = { error: 'access_denied', error_description: 'nobody wanted to sign in' };
    return provider.interactionFinished(request, response, result, { mergeWithLastSubmission: false });
  }
  if (Object.hasOwn(PEOPLE, chosen ?? '')) {
    // A native client's person is always asked to agree; pressing the button was that.
    const result = { login: { accountId: chosen }, consent: {} };
    return provider.interactionFinished(request, response, result, { mergeWithLastSubmission: false });
  }
  const button = (value, text) => `<button name="who" value="${value}">${escape(text)}</button>`;
  const buttons = Object.entries(PEOPLE).map(([id, { name, email }]) => button(id, email ? `${name}, ${email}` : name));
  response.writeHead(200, PAGE_HEADERS);
  response.end(page(`<h1>Who are you today?</h1><p>This provider runs on your own machine, for trying things out.</p>
<form method="post">${buttons.join('')}${button(NO, 'Rather not sign in')}</form>`));
}

/** At most a kilobyte: there is one short field in it. */
async function body(request) {
  let text = '';
  for await (const chunk of request) {
    text += chunk;
    if (text.length > 1024) throw new Error('the form is too long');
  }
  return text;
}

async function main() {
  const values = settings();
  const Provider = await library();
  const server = createServer();
  server.listen(Number(values.port), '127.0.0.1', () => {
    const issuer = `http://127.0.0.1:${server.address().port}`;
    const provider = new Provider(issuer, configuration(values));
    const protocol = provider.callback();
    server.on('request', (request, response) => {
      if (!request.url.startsWith('/people/')) return protocol(request, response);
      return people(provider, request, response).catch((error) => {
        response.writeHead(400, PAGE_HEADERS);
        response.end(page(`<h1>That did not work</h1><p>${escape(error.message)}: begin again.</p>`));
      });
    });
    console.log(`OIDC_ISSUER=${issuer}`);
    console.log(`OIDC_CLIENT_ID=${values['client-id']}`);
    console.log(`OIDC_CLIENT_SECRET=${values['client-secret']}`);
    console.log(`PUBLIC_URL=${new URL(values['public-url']).origin}`);
    console.error('Start the gateway with these settings; Ctrl-C ends the provider.');
  });
  server.on('error', (error) => {
    console.error(`127.0.0.1:${values.port} cannot be listened on: ${error.message}; choose another --port`);
    process.exit(1);
  });
}

await main();
