import { isAlias, isMap, isScalar, isSeq, LineCounter, parseDocument, visit, type Document } from 'yaml'
import { z } from 'zod'
import { closestName, plainName } from './closest-name.ts'
import { clusterSchema, type ClusterConfig } from './cluster-config.ts'
import { reasonOf, RequorumError } from './failures.ts'

/**
 * A cluster's YAML file as text, read into its config. Every mistake is found in one reading and named by
 * file, line, column and field; lines and columns count from 1.
 */
export interface Finding {
  readonly line: number
  readonly column: number
  /** As in `nodes[0].address`; null when the text isn't YAML at all. */
  readonly field: string | null
  readonly what: string
}

type Path = readonly (string | number)[]

/**
 * @param fileName as it is shown in messages; its last part has to be `<cluster>.yaml`.
 * @throws RequorumError `config-invalid`, which lists every finding.
 */
export function parseClusterFile(text: string, fileName: string): ClusterConfig {
  const read = readClusterFile(text, fileName)
  if (read.config !== null) return read.config
  throw configInvalid(fileName, read.findings)
}

/** The same without the throw, for those who want to look at more than one file. */
export function readClusterFile(
  text: string,
  fileName: string,
): { config: ClusterConfig; findings: readonly [] } | { config: null; findings: readonly Finding[] } {
  const lines = new LineCounter()
  const document = parseDocument(text, { lineCounter: lines, prettyErrors: false })
  const at = (offset: number): { line: number; column: number } => {
    const { line, col } = lines.linePos(offset)
    return { line: Math.max(1, line), column: Math.max(1, col) }
  }
  const finding = (path: Path, what: string, offset = placeOf(document, path)): Finding => ({
    ...at(offset),
    field: fieldName(path),
    what,
  })

  const syntax = syntaxFindings(document, text, at)
  if (syntax.length > 0) return { config: null, findings: syntax }
  let content: unknown
  try {
    content = document.toJS()
  } catch (error) {
    // Aliases of aliases that would grow without end: the library counts them and gives up.
    return { config: null, findings: [finding([], reasonOf(error))] }
  }
  const parsed = clusterSchema.safeParse(content)
  const findings = parsed.success
    ? []
    : parsed.error.issues.flatMap((issue) => {
        const path = issue.path.map((part) => (typeof part === 'number' ? part : String(part)))
        return issue.code === 'unrecognized_keys'
          ? issue.keys.map((key) =>
              finding([...path, key], unknownField(path, key), placeOfKey(document, [...path, key])),
            )
          : [finding(path, whatIsWrong(issue, valueAt(content, path)))]
      })

  const named = valueAt(content, ['cluster'])
  const file = fileName.slice(fileName.lastIndexOf('/') + 1)
  if (typeof named === 'string' && file !== `${named}.yaml`) {
    const todo = `has to be the file's name without .yaml, and the file is called ${file}`
    findings.push(finding(['cluster'], `"${cut(named)}" ${todo}`))
  }
  if (parsed.success && findings.length === 0) return { config: parsed.data, findings: [] }
  return { config: null, findings: findings.sort((a, b) => a.line - b.line || a.column - b.column) }
}

/** Where a field's value stands, for findings that only the file system can make; 1:1 when it isn't there. */
export function placeOfField(text: string, path: Path): { line: number; column: number } {
  const lines = new LineCounter()
  const document = parseDocument(text, { lineCounter: lines, prettyErrors: false })
  const { line, col } = lines.linePos(placeOf(document, path))
  return { line: Math.max(1, line), column: Math.max(1, col) }
}

export function findingLine(fileName: string, finding: Finding): string {
  return `${fileName}:${finding.line}:${finding.column} ${finding.field ?? 'not YAML'}: ${finding.what}`
}

export function configInvalid(fileName: string, findings: readonly Finding[]): RequorumError {
  const count = findings.length === 1 ? 'a mistake' : `${findings.length} mistakes`
  return new RequorumError('config-invalid', {
    what: `${fileName} has ${count}.`,
    why: findings.map((one) => findingLine(fileName, one)).join('\n'),
    todo: 'Correct the file, then look again with `requorum config check`.',
  })
}

function syntaxFindings(
  document: Document.Parsed,
  text: string,
  at: (offset: number) => { line: number; column: number },
): Finding[] {
  const findings = [...document.errors, ...document.warnings].map((error): Finding => {
    const [from] = error.pos
    if (error.code === 'MULTIPLE_DOCS') {
      return { ...at(from), field: null, what: 'a second document begins here; one file is one cluster' }
    }
    if (error.code !== 'DUPLICATE_KEY') return { ...at(from), field: null, what: error.message }
    const key = /^[^\s:]*/.exec(text.slice(from))?.[0] ?? ''
    return { ...at(from), field: key, what: 'stands here a second time in the same place' }
  })
  visit(document, {
    Alias(_key, alias) {
      if (alias.resolve(document) !== undefined) return
      findings.push({
        ...at(alias.range?.[0] ?? 0),
        field: null,
        what: `*${alias.source} stands for nothing`,
      })
    },
  })
  return findings
}

/** The offset of the value at `path`, or of the nearest thing around it that is there. */
function placeOf(document: Document.Parsed, path: Path): number {
  return walk(document, path).value
}

function placeOfKey(document: Document.Parsed, path: Path): number {
  return walk(document, path).key
}

function walk(document: Document.Parsed, path: Path): { key: number; value: number } {
  let node: unknown = document.contents
  let place = { key: 0, value: startOf(node) ?? 0 }
  for (const part of path) {
    if (isAlias(node)) node = node.resolve(document)
    if (isMap(node)) {
      const pair = node.items.find((item) => isScalar(item.key) && String(item.key.value) === String(part))
      if (pair === undefined) break
      const key = startOf(pair.key) ?? place.value
      // A section or list that lacks something is best shown by its own name.
      place = { key, value: isMap(pair.value) || isSeq(pair.value) ? key : (startOf(pair.value) ?? key) }
      node = pair.value
    } else if (isSeq(node) && typeof part === 'number') {
      node = node.items[part]
      const start = startOf(node) ?? place.value
      place = { key: start, value: start }
    } else break
  }
  return place
}

function startOf(node: unknown): number | undefined {
  return isScalar(node) || isMap(node) || isSeq(node) || isAlias(node) ? node.range?.[0] : undefined
}

function fieldName(path: Path): string {
  const name = path.reduce<string>(
    (text, part) => (typeof part === 'number' ? `${text}[${part}]` : text === '' ? part : `${text}.${part}`),
    '',
  )
  return name === '' ? 'the file' : name
}

function valueAt(content: unknown, path: Path): unknown {
  return path.reduce<unknown>(
    (value, part) =>
      typeof value === 'object' && value !== null && Object.hasOwn(value, part)
        ? Object.entries(value).find(([key]) => key === String(part))?.[1]
        : undefined,
    content,
  )
}

const KINDS: Readonly<Record<string, string>> = {
  string: 'text',
  number: 'a number',
  int: 'a whole number',
  boolean: 'true or false',
  object: 'a section with fields',
  array: 'a list',
}

function kindOf(value: unknown): string {
  if (value === null) return 'empty'
  return KINDS[Array.isArray(value) ? 'array' : typeof value] ?? typeof value
}

function whatIsWrong(issue: z.core.$ZodIssue, value: unknown): string {
  // Our own messages in the schema are phrases of what a value has to be; zod's begin with a capital.
  const ours = !/^(Invalid|Too|Unrecognized)\b/.test(issue.message)
  switch (issue.code) {
    case 'invalid_type': {
      const wanted = KINDS[issue.expected] ?? issue.expected
      if (value === undefined) return `is missing; it has to be ${wanted}`
      const quotes =
        issue.expected === 'string' && typeof value !== 'object' ? ` (put "${cut(value)}" in quotes)` : ''
      return `has to be ${wanted}, and is ${kindOf(value)}${quotes}`
    }
    case 'invalid_format': {
      const wanted = ours
        ? issue.message
        : issue.format === 'url'
          ? 'a URL with http or https'
          : `text like ${issue.pattern ?? issue.format}`
      return `"${cut(value)}" has to be ${wanted}`
    }
    case 'invalid_value':
      return `"${cut(value)}" has to be ${issue.values.map((one) => `"${String(one)}"`).join(' or ')}`
    case 'too_small':
      return sizeOf(issue.origin, `at least ${issue.minimum}`, value)
    case 'too_big':
      return sizeOf(issue.origin, `at most ${issue.maximum}`, value)
    default:
      return issue.message
  }
}

function sizeOf(origin: string, limit: string, value: unknown): string {
  if (origin === 'array')
    return `has to have ${limit}, and has ${Array.isArray(value) ? value.length : 'none'}`
  if (origin === 'string') return value === '' ? 'is empty' : `has to have ${limit} characters`
  return `has to be ${limit}, and is ${cut(value)}`
}

function cut(value: unknown): string {
  const text = String(value)
  return text.length > 60 ? `${text.slice(0, 60)}…` : text
}

function unknownField(path: Path, key: string): string {
  const known = knownFields()
  const section = path.filter((part) => typeof part === 'string').join('.')
  const siblings = known.filter((field) => field.section === section).map((field) => field.name)
  const near = closestName(key, siblings)
  if (near !== null) return `is unknown; did you mean ${near}?`
  const elsewhere = known.filter((field) => plainName(field.name) === plainName(key) && field.section !== '')
  if (elsewhere.length === 1 && elsewhere[0] !== undefined) {
    return `is unknown here; it belongs to the section ${elsewhere[0].section}`
  }
  return `is unknown; ${section === '' ? 'a cluster file' : section} has ${siblings.join(', ')}`
}

interface KnownField {
  readonly section: string
  readonly name: string
}

let fields: KnownField[] | undefined

/** Every field that the schema knows, read from the schema itself. */
function knownFields(): KnownField[] {
  fields ??= fieldsOf(z.toJSONSchema(clusterSchema, { io: 'input', unrepresentable: 'any' }), '')
  return fields
}

function fieldsOf(schema: z.core.JSONSchema._JSONSchema | undefined, section: string): KnownField[] {
  if (typeof schema !== 'object') return []
  const inList = Array.isArray(schema.items) ? [] : fieldsOf(schema.items, section)
  const own = Object.entries(schema.properties ?? {}).flatMap(([name, inner]) => [
    { section, name },
    ...fieldsOf(inner, section === '' ? name : `${section}.${name}`),
  ])
  return [...own, ...inList]
}
