/** The PEM blocks (RFC 7468) of certificates in `text`, in their order; whatever stands between them is left out. */
export function certificateBlocks(text: string): readonly string[] {
  // [^-]* keeps the search linear: base64 has no hyphen
  return text.match(/-----BEGIN CERTIFICATE-----[^-]*-----END CERTIFICATE-----/g) ?? []
}

/** The first unencrypted private key in `text`: PKCS #8, or the older forms with RSA or EC in the label. */
export function privateKeyBlock(text: string): string | null {
  return /-----BEGIN ((?:RSA |EC )?PRIVATE KEY)-----[^-]*-----END \1-----/.exec(text)?.[0] ?? null
}

export function hasEncryptedKey(text: string): boolean {
  return /-----BEGIN ENCRYPTED PRIVATE KEY-----|^Proc-Type: 4,ENCRYPTED/m.test(text)
}

export function isPem(text: string): boolean {
  return text.includes('-----BEGIN ')
}
