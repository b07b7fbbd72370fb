// OpenID's certified `oidc-provider` with one client and whoever signs in, for tests of federation.
//
//     node openid_provider.mjs PACKAGE PORT CLIENT_ID CLIENT_SECRET REDIRECT_URI...
import { pathToFileURL } from 'node:url';

const [entry, port, client_id, client_secret, ...redirect_uris] = process.argv.slice(2);
const { default: Provider } = await import(pathToFileURL(entry));
const provider = new Provider(`http://127.0.0.1:${port}`, {
  clients: [{ client_id, client_secret, redirect_uris, grant_types: ['authorization_code'], response_types: ['code'] }],
  claims: { openid: ['sub'], email: ['email', 'email_verified'], groups: ['groups'] },
  scopes: ['openid', 'email', 'groups'],
  cookies: { keys: ['a key of cookies in a test'] },
  findAccount: (_, id) => ({
    accountId: id,
    claims: () => ({ sub: id, email: `${id}@example.com`, email_verified: id !== 'unverified', groups: ['staff', `of-${id}`] }),
  }),
});
provider.listen(Number(port), '127.0.0.1');
