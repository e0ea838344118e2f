// A provider that people sign on with: the certified oidc-provider, with its own pages for signing in and consent.
//
//   node oidc_provider.mjs MODULES PORT REDIRECT REMOVED
//
// MODULES is the folder that holds oidc-provider, REMOVED a file with the names of people who are gone, one a line.
// Whoever signs in as NAME is a member of the group `devs`.
import { existsSync, readFileSync } from 'node:fs'
import { pathToFileURL } from 'node:url'

const [modules, port, redirect, removed] = process.argv.slice(2)
const { Provider } = await import(pathToFileURL(`${modules}/oidc-provider/lib/index.js`))
const issuer = `http://127.0.0.1:${port}`
const isGone = (name) => existsSync(removed) && readFileSync(removed, 'utf8').split('\n').includes(name)

const provider = new Provider(issuer, {
  clients: [
    {
      client_id: 'entrepot',
      client_secret: 'the secret of the registry',
      redirect_uris: [redirect],
      grant_types: ['authorization_code', 'refresh_token'],
      response_types: ['code'],
    },
  ],
  claims: { openid: ['sub'], profile: ['preferred_username'], email: ['email', 'email_verified'], groups: ['groups'] },
  scopes: ['openid', 'profile', 'email', 'groups', 'offline_access'],
  pkce: { required: () => true },
  issueRefreshToken: async (_, client) => client.grantTypeAllowed('refresh_token'),
  findAccount: async (_, name) => {
    if (isGone(name)) return undefined
    return {
      accountId: name,
      claims: async () => ({
        sub: name,
        preferred_username: name,
        email: `${name}@example.com`,
        email_verified: true,
        groups: ['devs'],
      }),
    }
  },
})
provider.listen(Number(port), '127.0.0.1', () => console.log(`listening at ${issuer}`))
