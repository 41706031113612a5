/** Whether 16 octets are an IPv4 address in its mapped form, ::ffff:a.b.c.d (RFC 4291 §2.5.5.2), which stands in the last four. */
export function isIpv4(address: Uint8Array): boolean {
  for (let i = 0; i < 10; i++) if (address[i] !== 0) return false
  return address[10] === 0xff && address[11] === 0xff
}

export const ADDRESS_LENGTH = 16
export const IPV4_AT = 12
