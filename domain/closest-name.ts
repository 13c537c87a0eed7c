/** The name that was probably meant: the nearest by letters, or null when none is near. */
export function closestName(typed: string, names: readonly string[]): string | null {
  const limit = Math.max(1, Math.floor(plainName(typed).length / 3))
  const ranked = names
    .map((name) => ({ name, away: distance(plainName(typed), plainName(name)) }))
    .filter(({ away }) => away <= limit)
    .sort((a, b) => a.away - b.away)
  return ranked[0]?.name ?? null
}

/** A name without what people mix up in it: case, hyphens, underscores. */
export function plainName(name: string): string {
  return name.toLowerCase().replaceAll(/[-_]/g, '')
}

/** Edits between two words: a letter more, fewer, other, or two neighbours swapped. */
function distance(a: string, b: string): number {
  const rows: number[][] = [Array.from({ length: b.length + 1 }, (_, column) => column)]
  const cell = (row: number, column: number): number => rows[row]?.[column] ?? Infinity
  for (let row = 1; row <= a.length; row += 1) {
    rows.push([row])
    for (let column = 1; column <= b.length; column += 1) {
      const same = a[row - 1] === b[column - 1] ? 0 : 1
      const swapped = a[row - 1] === b[column - 2] && a[row - 2] === b[column - 1]
      rows[row]?.push(
        Math.min(
          cell(row - 1, column) + 1,
          cell(row, column - 1) + 1,
          cell(row - 1, column - 1) + same,
          swapped ? cell(row - 2, column - 2) + 1 : Infinity,
        ),
      )
    }
  }
  return cell(a.length, b.length)
}
