/**
 * One DNS question over TCP (RFC 1035), as bytes that a shell can send: nodes of a control plane have no `dig`.
 */
const TYPE_A = 1
const TYPE_AAAA = 28
const CLASS_IN = 1
/** Any will do: one connection carries one question. */
const QUERY_ID = 0x7251
const RECURSION_DESIRED = 0x0100

/** The question for a name's address in hex, with the length before it that TCP wants. */
export function dnsQuestion(name: string, family: 4 | 6): string {
  const labels = name.split('.').filter(Boolean)
  const body = [
    ...[QUERY_ID, RECURSION_DESIRED, 1, 0, 0, 0].flatMap(word),
    ...labels.flatMap((label) => [label.length, ...Array.from(label, (char) => char.charCodeAt(0))]),
    0,
    ...word(family === 4 ? TYPE_A : TYPE_AAAA),
    ...word(CLASS_IN),
  ]
  return hex([...word(body.length), ...body])
}

export type DnsAnswer = { readonly addresses: readonly string[] } | { readonly refused: string }

const RESPONSE_CODES = [
  'no error',
  'format error',
  'server failure',
  'no such name',
  'not implemented',
  'refused',
]

/** The addresses in an answer's bytes (hex, without the length), each as hex; or the words for why there is none. */
export function readDnsAnswer(message: string): DnsAnswer {
  const bytes = bytesOf(message)
  const at = (offset: number): number => bytes[offset] ?? 0
  const wordAt = (offset: number): number => at(offset) * 256 + at(offset + 1)
  if (bytes.length < 12 || wordAt(0) !== QUERY_ID)
    return { refused: 'what came is no answer to the question' }
  const code = at(3) & 0x0f
  if (code !== 0) return { refused: RESPONSE_CODES[code] ?? `response code ${code}` }

  const afterName = (from: number): number => {
    let offset = from
    while (at(offset) !== 0) {
      // Two high bits: the rest of the name stands elsewhere, and two bytes say where.
      if (at(offset) >= 0xc0) return offset + 2
      offset += at(offset) + 1
    }
    return offset + 1
  }
  let offset = 12
  for (let left = wordAt(4); left > 0; left -= 1) offset = afterName(offset) + 4
  const addresses: string[] = []
  for (let left = wordAt(6); left > 0 && offset < bytes.length; left -= 1) {
    const record = afterName(offset)
    const length = wordAt(record + 8)
    const type = wordAt(record)
    if (type === TYPE_A || type === TYPE_AAAA) {
      addresses.push(hex(bytes.slice(record + 10, record + 10 + length)))
    }
    offset = record + 10 + length
  }
  return addresses.length === 0 ? { refused: 'the answer holds no address' } : { addresses }
}

/** An IPv4 or IPv6 address as hex, however it is written; null when it is neither. */
export function addressHex(address: string): string | null {
  if (/^\d+\.\d+\.\d+\.\d+$/.test(address)) return hex(address.split('.').map(Number))
  if (!address.includes(':')) return null
  const [before = '', after] = address.split('::')
  const groups = (text: string | undefined): string[] => (text ?? '').split(':').filter(Boolean)
  const [head, tail] = [groups(before), groups(after)]
  const fill = after === undefined ? 0 : 8 - head.length - tail.length
  const all = [...head, ...Array.from({ length: Math.max(0, fill) }, () => '0'), ...tail]
  return all.length === 8 ? all.map((group) => group.padStart(4, '0').toLowerCase()).join('') : null
}

export function textHex(text: string): string {
  return hex(Array.from(text, (char) => char.charCodeAt(0)))
}

export function hexText(digits: string): string {
  return String.fromCharCode(...bytesOf(digits))
}

function bytesOf(digits: string): number[] {
  return (digits.match(/[0-9a-f]{2}/gi) ?? []).map((pair) => Number.parseInt(pair, 16))
}

function word(value: number): number[] {
  return [value >> 8, value & 0xff]
}

function hex(bytes: readonly number[]): string {
  return bytes.map((byte) => byte.toString(16).padStart(2, '0')).join('')
}
