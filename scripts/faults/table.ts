/** A test by its file and its name, with or without what is around it: `test/lab/x.test.ts › a suite › a name`. */
export interface TestReference {
  readonly file: string
  readonly name: string
}

/** A fault, what has to come of it, and the tests that show it. */
export interface Fault {
  readonly fault: string
  readonly expected: string
  /** Several where one fault has several faces; all have to pass. */
  readonly tests: readonly TestReference[]
  /** What runs just these: files, each with the names that are run of it, as a regular expression. */
  readonly runs: readonly { readonly file: string; readonly grep?: string }[]
}

const COLUMNS = ['fault', 'expected', 'test file › test name', 'command']
/** Between the tests, and between the commands, of one row. */
const NEXT = /\s*<br>\s*/

/** The sets that the tables are of, in their order. */
export function faultSets(markdown: string): string[] {
  const headings = [...markdown.matchAll(/^## (.+)$/gm)].map(([, heading = '']) =>
    heading.trim().toLowerCase(),
  )
  return ['recovery', ...headings]
}

/**
 * The rows of test/faults/README.md, which is the one place that says which test stands for which fault.
 *
 * @param set - the text of the heading (`## …`) above its tables, whatever its case; tables above the first of these
 *   headings are of the set `recovery`
 * @throws Error for a row that can't be read, by its words; a set that is not there has no rows
 */
export function readFaults(markdown: string, set: string): Fault[] {
  const [first = '', ...others] = markdown.split(/^## /m)
  const section = [`recovery\n${first}`, ...others]
    .filter((part) => part.split('\n')[0]?.trim().toLowerCase() === set.toLowerCase())
    .join('\n')
  const rows = section
    .split('\n')
    .filter((line) => line.startsWith('|'))
    .map(cellsOf)
    .filter((cells) => !cells.every((cell) => /^:?-+:?$/.test(cell)))
  return rows.filter((cells) => cells.join() !== COLUMNS.join()).map(readRow)
}

function readRow(cells: readonly string[]): Fault {
  const [fault = '', expected = '', tests = '', command = ''] = cells
  const refuse = (what: string): never => {
    throw new Error(`The row "${fault}" of the faults ${what}.`)
  }
  if (cells.length !== COLUMNS.length || cells.includes(''))
    refuse(`has not the columns ${COLUMNS.join(', ')}`)
  const read: Fault = {
    fault,
    expected,
    tests: tests.split(NEXT).map((text) => {
      const [, file = '', name = ''] =
        /^`?(test\/\S+\.test\.ts)`? › (.+)$/.exec(text) ?? refuse(`names no test: ${text}`)
      return { file, name }
    }),
    runs: command.split(NEXT).map((text) => {
      const [, file = '', grep] =
        /^`npm test -- (\S+)(?: --grep '(.+)')?`$/.exec(text) ?? refuse(`has another command: ${text}`)
      return { file, ...(grep === undefined ? {} : { grep }) }
    }),
  }
  const run = new Set(read.runs.map(({ file }) => file))
  const stray = read.tests.find(({ file }) => !run.has(file))
  return stray === undefined ? read : refuse(`has no command that runs ${stray.file}`)
}

/** Cells as they read; `\|` is a bar in one. */
function cellsOf(line: string): string[] {
  return line
    .trim()
    .replace(/^\||\|$/g, '')
    .split(/(?<!\\)\|/)
    .map((cell) => cell.trim().replaceAll('\\|', '|'))
}

/** Whether a test of this full name (`suite › name`) is one that is meant: itself, or one below it. */
export function isMeant({ name }: TestReference, fullName: string): boolean {
  return ` › ${fullName} › `.includes(` › ${name} › `)
}

/** The patterns of all runs of one file as one; undefined runs all of it. */
export function patternOf(runs: Fault['runs']): string | undefined {
  const patterns = [...new Set(runs.map(({ grep }) => grep))]
  if (patterns.includes(undefined)) return undefined
  return patterns.map((pattern) => `(?:${pattern ?? ''})`).join('|')
}

/** What a source file calls its suites and tests, as patterns: `${…}` in a name may be anything. */
export function titlesIn(source: string): RegExp[] {
  const calls =
    /\b(?:describe|test|it)(?:\.\w+)?\(\s*('(?:[^'\\]|\\.)*'|"(?:[^"\\]|\\.)*"|`(?:[^`\\]|\\.)*`)/g
  return [...source.matchAll(calls)].map(([, quoted = '']) => {
    const text = quoted.slice(1, -1).replaceAll(/\\(['"`])/g, '$1')
    const parts = quoted.startsWith('`') ? withoutHoles(text) : [text]
    return new RegExp(`^${parts.map((part) => escaped(part)).join('.*')}$`)
  })
}

/** The parts of a template between its `${…}`, which may have braces in them. */
function withoutHoles(text: string): string[] {
  const parts = ['']
  for (let at = 0, depth = 0; at < text.length; at++) {
    if (depth === 0 && text.startsWith('${', at)) {
      depth = 1
      at += 1
      parts.push('')
    } else if (depth > 0) {
      if (text[at] === '{') depth += 1
      if (text[at] === '}') depth -= 1
    } else parts.push(`${parts.pop() ?? ''}${text[at] ?? ''}`)
  }
  return parts
}

function escaped(text: string): string {
  return text.replaceAll(/[.*+?^${}()|[\]\\/]/g, '\\$&')
}
