import { createHash } from 'node:crypto'
import { tokenPath } from '../../net/token.ts'
import { CA_PATH, type OfferedCa } from './request.ts'
import type { PlainResponse } from './response.ts'

const STYLE = `
:root{color-scheme:light dark;--line:light-dark(#d8dee4,#30363d);--dim:light-dark(#59636e,#9198a1);--box:light-dark(#f6f8fa,#151b23);--key:light-dark(#0b5cad,#79b8ff)}
body{font:16px/1.55 system-ui,sans-serif;max-width:44rem;margin:0 auto;padding:3rem 1.25rem;background:light-dark(#fff,#0d1117);color:light-dark(#1f2328,#f0f6fc)}
h1{font-size:1.7rem;margin:0 0 .3rem}h2{font-size:1.05rem;margin:2.2rem 0 .5rem}
p{margin:.4rem 0}.dim{color:var(--dim)}
pre,.url{font:14px/1.5 ui-monospace,Menlo,Consolas,monospace;background:var(--box);border:1px solid var(--line);border-radius:.4rem;padding:.6rem .8rem;overflow-x:auto}
.url{color:var(--key);user-select:all;margin:.5rem 0;display:block}
a{color:var(--key)}
footer{margin-top:3rem;border-top:1px solid var(--line);padding-top:.8rem;font-size:.9rem}`

const HEADERS = {
  'content-type': 'text/html; charset=utf-8',
  // nothing is loaded, nothing runs, nobody frames it
  'content-security-policy': `default-src 'none'; style-src 'sha256-${createHash('sha256').update(STYLE).digest('base64')}'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'`,
  'x-content-type-options': 'nosniff',
  'referrer-policy': 'no-referrer',
}

interface PageFacts {
  readonly authority: string
  readonly paths: readonly string[]
  readonly takesTokens: boolean
  readonly json: boolean
  readonly localCa: OfferedCa | null
}

/** What a browser shows to who opens the host itself. */
export function landingPage({ authority, takesTokens, json, localCa, ...offer }: PageFacts): PlainResponse {
  const host = escapeHtml(authority)
  const paths = takesTokens ? offer.paths.map((path) => tokenPath(path, 'TOKEN')) : offer.paths
  const urls = paths.map((path) => `https://${host}${escapeHtml(path)}`)
  const [url = ''] = urls
  const trust = localCa === null ? '' : '--cacert ca.pem '
  // curl would judge the other site by ca.pem too
  const scheme = localCa === null ? 'https' : 'http'
  const body = `<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width">
<title>Encrypted DNS at ${host}</title>
<style>${STYLE}</style>
<h1>Encrypted DNS</h1>
<p class="dim">This server answers DNS over HTTPS (RFC 8484). Its address for browsers and systems:</p>
${urls.map((each) => `<code class="url">${each}</code>`).join('\n')}
${takesTokens ? '<p>In place of TOKEN goes the one that you have been given.</p>' : ''}
${localCa === null ? '' : trustSection(localCa)}<h2>Firefox</h2>
<p>Settings → Privacy &amp; Security → DNS over HTTPS → Max Protection → Custom, and paste the address.</p>
<h2>Chrome, Edge, Brave</h2>
<p>Settings → Privacy and security → Security → Use secure DNS → Add custom DNS service provider, and paste the address.</p>
<h2>Command line</h2>
<pre>${localCa === null ? '' : fetching(host)}curl ${trust}--doh-url ${url} ${scheme}://example.com/
kdig @${escapeHtml(hostOf(authority))} ${portOf(authority)}${localCa === null ? '' : '+tls-ca=ca.pem '}+https=${escapeHtml(paths[0] ?? '')} example.com${json ? `\ncurl ${trust}'${url}?name=example.com&amp;type=AAAA'` : ''}</pre>
<footer class="dim">Atlas DNS Gateway. No cookies, no scripts.</footer>
</html>
`
  // the CA may be made anew, or a public one take its place
  const freshness = localCa === null ? 'max-age=3600' : 'no-cache'
  return { status: 200, headers: { ...HEADERS, 'cache-control': freshness, 'content-length': Buffer.byteLength(body) }, body }
}

/** The certificate of the local CA. */
export function caResponse({ pem }: OfferedCa): PlainResponse {
  // not application/pem-certificate-chain (RFC 8555 §9.1): by this older name iOS, Android and Firefox know what it is for
  const headers = { 'content-type': 'application/x-x509-ca-cert', 'x-content-type-options': 'nosniff', 'cache-control': 'no-cache' }
  return { status: 200, headers: { ...headers, 'content-length': Buffer.byteLength(pem) }, body: pem }
}

function trustSection({ fingerprint, names }: OfferedCa): string {
  return `<h2>Before it works</h2>
<p>The certificate of this server comes from a certificate authority of its own, which no device knows. Each one has to be told to trust it, by
installing <a href="${CA_PATH}">its certificate</a>. Only do so if this SHA-256 fingerprint is the one that <code>atlas-dns certs list</code> shows on
the server itself, because what you see here could come from anybody:</p>
<code class="url">${escapeHtml(fingerprint).replaceAll(':', ':<wbr>')}</code>
<p>Who trusts it lets it vouch for the following names, with what is below them, and addresses. That it can vouch for nothing else stands in its
certificate (as name constraints).</p>
<code class="url">${names.map(escapeHtml).join(', ')}</code>
<p>Private DNS on Android takes no such certificate: it needs one of a public authority.</p>
`
}

/** Without port, and without brackets. */
function hostOf(authority: string): string {
  return authority.replace(/:\d+$/, '').replaceAll(/[[\]]/g, '')
}

/** An option of kdig, which takes 443 without it. */
function portOf(authority: string): string {
  const port = /:(\d+)$/.exec(authority)?.[1]
  return port === undefined ? '' : `-p ${port} `
}

/** How a terminal gets the certificate, and its fingerprint. */
function fetching(host: string): string {
  return `curl --insecure -o ca.pem https://${host}${CA_PATH}\nopenssl x509 -in ca.pem -noout -fingerprint -sha256\n`
}

function escapeHtml(text: string): string {
  return text.replaceAll(/[&<>"']/g, (character) => `&#${character.charCodeAt(0)};`)
}
