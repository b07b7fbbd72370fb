// OpenID's certified `oidc-provider`: client credentials, an ES256 JWT for a resource indicator, all in memory.
//
//     node oidc_tokens.mjs PACKAGE PORT CLIENT SECRET RESOURCE
import { generateKeyPairSync } from 'node:crypto';
import { pathToFileURL } from 'node:url';

const [entry, port, client_id, client_secret, resource] = process.argv.slice(2);
const { default: Provider } = await import(pathToFileURL(entry));
const { privateKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' });
const key = { ...privateKey.export({ format: 'jwk' }), kid: 'bench', use: 'sig', alg: 'ES256' };
const provider = new Provider(`http://127.0.0.1:${port}`, {
  jwks: { keys: [key] },
  clients: [{
    client_id,
    client_secret,
    token_endpoint_auth_method: 'client_secret_post',
    grant_types: ['client_credentials'],
    redirect_uris: [],
    response_types: [],
    id_token_signed_response_alg: 'ES256',
  }],
  cookies: { keys: ['a key of cookies in a bench'] },
  scopes: ['work:use'],
  features: {
    devInteractions: { enabled: false },
    clientCredentials: { enabled: true },
    resourceIndicators: {
      enabled: true,
      getResourceServerInfo: () => ({
        scope: 'work:use',
        audience: resource,
        accessTokenTTL: 300,
        accessTokenFormat: 'jwt',
        jwt: { sign: { alg: 'ES256' } },
      }),
    },
  },
});
provider.listen(Number(port), '127.0.0.1');
