import { personName } from '../../domain/consent.ts'

/**
 * An allowed-signers file (ssh-keygen(1), ALLOWED SIGNERS) as far as it says who is who. Of what OpenSSH allows
 * there, only lines that tie a key to one person count: lists, patterns and certificate authorities let one key
 * stand for several names, and two of them would pass for two people.
 */
export interface AllowedSigners {
  /** Each person once, in the order of the file. */
  readonly people: readonly string[]
  readonly faults: readonly LineFault[]
}

export interface LineFault {
  /** Counted from 1. */
  readonly line: number
  readonly what: string
}

const LINE =
  /^(?<name>"[^"]*"|\S+)\s+(?:(?<options>(?:"[^"]*"|[^\s"])+)\s+)?(?<key>(?:ssh|ecdsa|sk)-[a-z0-9@.-]+\s+[A-Za-z0-9+/]+=*)(?:\s|$)/

export function readAllowedSigners(text: string): AllowedSigners {
  const ownerOf = new Map<string, { name: string; line: number }>()
  const faults: LineFault[] = []
  for (const [index, raw] of text.split(/\r?\n/).entries()) {
    const line = index + 1
    const content = raw.trim()
    if (content === '' || content.startsWith('#')) continue
    const found = LINE.exec(content)?.groups
    const name = found?.['name']?.replaceAll('"', '')
    const key = found?.['key']?.replace(/\s+/, ' ')
    if (name === undefined || key === undefined) {
      faults.push({ line, what: 'is no name and key' })
      continue
    }
    const earlier = ownerOf.get(key)
    if (/(?:^|,)cert-authority(?:,|$)/i.test(found?.['options'] ?? '')) {
      faults.push({ line, what: 'names a certificate authority; only keys of people count' })
    } else if (/[,*?!]/.test(name) || !personName.safeParse(name).success) {
      faults.push({ line, what: `has to name one person, without lists and patterns: ${name.slice(0, 60)}` })
    } else if (earlier !== undefined && earlier.name !== name) {
      faults.push({ line, what: `has the key of ${earlier.name} (line ${earlier.line}) for ${name}` })
    } else {
      ownerOf.set(key, { name, line })
    }
  }
  return { people: [...new Set([...ownerOf.values()].map(({ name }) => name))], faults }
}
