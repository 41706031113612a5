import { createHash } from 'node:crypto'
import { tokenPath } from '../../net/token.ts'
import type { PlainResponse } from './response.ts'

const STYLE = `
:root{color-scheme:light dark;--line:light-dark(#d8dee4,#30363d);--dim:light-dark(#59636e,#9198a1);--box:light-dark(#f6f8fa,#151b23);--key:light-dark(#0b5cad,#79b8ff)}
body{font:16px/1.55 system-ui,sans-serif;max-width:44rem;margin:0 auto;padding:3rem 1.25rem;background:light-dark(#fff,#0d1117);color:light-dark(#1f2328,#f0f6fc)}
h1{font-size:1.7rem;margin:0 0 .3rem}h2{font-size:1.05rem;margin:2.2rem 0 .5rem}
p{margin:.4rem 0}.dim{color:var(--dim)}
pre,.url{font:14px/1.5 ui-monospace,Menlo,Consolas,monospace;background:var(--box);border:1px solid var(--line);border-radius:.4rem;padding:.6rem .8rem;overflow-x:auto}
.url{color:var(--key);user-select:all;margin:.5rem 0;display:block}
footer{margin-top:3rem;border-top:1px solid var(--line);padding-top:.8rem;font-size:.9rem}`

const HEADERS = {
  'content-type': 'text/html; charset=utf-8',
  // nothing is loaded, nothing runs, nobody frames it
  'content-security-policy': `default-src 'none'; style-src 'sha256-${createHash('sha256').update(STYLE).digest('base64')}'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'`,
  'x-content-type-options': 'nosniff',
  'referrer-policy': 'no-referrer',
  'cache-control': 'max-age=3600',
}

interface PageFacts {
  readonly authority: string
  readonly paths: readonly string[]
  readonly takesTokens: boolean
  readonly json: boolean
}

/** What a browser shows to who opens the host itself. */
export function landingPage({ authority, takesTokens, json, ...offer }: PageFacts): PlainResponse {
  const host = escapeHtml(authority)
  const paths = takesTokens ? offer.paths.map((path) => tokenPath(path, 'TOKEN')) : offer.paths
  const urls = paths.map((path) => `https://${host}${escapeHtml(path)}`)
  const [url = ''] = urls
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
<h2>Firefox</h2>
<p>Settings → Privacy &amp; Security → DNS over HTTPS → Max Protection → Custom, and paste the address.</p>
<h2>Chrome, Edge, Brave</h2>
<p>Settings → Privacy and security → Security → Use secure DNS → Add custom DNS service provider, and paste the address.</p>
<h2>Command line</h2>
<pre>curl --doh-url ${url} https://example.com/
kdig @${escapeHtml(hostOf(authority))} +https=${escapeHtml(paths[0] ?? '')} example.com${json ? `\ncurl '${url}?name=example.com&amp;type=AAAA'` : ''}</pre>
<footer class="dim">Atlas DNS Gateway. No cookies, no scripts.</footer>
</html>
`
  return { status: 200, headers: { ...HEADERS, 'content-length': Buffer.byteLength(body) }, body }
}

/** Without port, and without brackets. */
function hostOf(authority: string): string {
  return authority.replace(/:\d+$/, '').replaceAll(/[[\]]/g, '')
}

function escapeHtml(text: string): string {
  return text.replaceAll(/[&<>"']/g, (character) => `&#${character.charCodeAt(0)};`)
}
