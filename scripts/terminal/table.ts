/** A column's head; numbers stand right, so that their digits line up. */
export type Column = string | { readonly head: string; readonly right: true }

/** A table as lines. Columns are as wide as their widest cell; the last one has no spaces behind it. */
export function table(columns: readonly Column[], rows: readonly (readonly string[])[]): string[] {
  const heads = columns.map((column) => (typeof column === 'string' ? column : column.head))
  const widths = heads.map((head, at) => Math.max(width(head), ...rows.map((row) => width(row[at] ?? ''))))
  const line = (cells: readonly string[]): string =>
    columns
      .map((column, at) => {
        const cell = cells[at] ?? ''
        const fill = ' '.repeat(Math.max(0, (widths[at] ?? 0) - width(cell)))
        return typeof column === 'string' ? cell + fill : fill + cell
      })
      .join('  ')
      .trimEnd()
  return [line(heads), ...rows.map(line)]
}

/** Names before values, the values lined up; further lines of a value stand under its first. */
export function facts(pairs: readonly (readonly [string, string])[], indent = ''): string[] {
  const wide = Math.max(...pairs.map(([name]) => width(name)))
  return pairs.flatMap(([name, value]) =>
    value
      .split('\n')
      .map((text, at) => `${indent}${at === 0 ? name.padEnd(wide) : ' '.repeat(wide)}  ${text}`.trimEnd()),
  )
}

export function indented(text: string, by = '  '): string {
  return text
    .split('\n')
    .map((line) => (line === '' ? '' : by + line))
    .join('\n')
}

/** Signs, not UTF-16 units: names may hold what is outside of the first plane. */
function width(text: string): number {
  return Array.from(text).length
}
