import type { Inventory } from './snapshot.ts'
import { check, type Check } from './verdict.ts'

/**
 * What a restored etcd holds against what the manifest promises. The digest covers every key, value, version, revision and
 * lease; the counts say where to look when it differs. What the manifest doesn't know is skipped, and says so.
 */
export function compareInventories(promised: Inventory, found: Inventory): Check[] {
  if ('skipped' in found)
    return [check('object counts', false, found.skipped), check('content', false, found.skipped)]
  if ('skipped' in promised) {
    const why = `${found.keys} keys; the manifest has none to compare with: ${promised.skipped}`
    return [skipped('object counts', why), skipped('content', why)]
  }
  const kinds = new Set([...Object.keys(promised.kinds), ...Object.keys(found.kinds)])
  const different = [...kinds].filter((kind) => promised.kinds[kind] !== found.kinds[kind])
  const counted = [
    ...(promised.keys === found.keys ? [] : [`keys: ${found.keys} instead of ${promised.keys}`]),
    ...different.map((kind) => `${kind}: ${found.kinds[kind] ?? 0} instead of ${promised.kinds[kind] ?? 0}`),
  ]
  return [
    check(
      'object counts',
      counted.length === 0,
      counted.length === 0 ? `${found.keys} keys of ${kinds.size} kinds` : counted.join('; '),
    ),
    compareDigests(promised.keyValues, found.keyValues),
  ]
}

function compareDigests(promised: string | undefined, found: string | undefined): Check {
  if (promised === undefined || found === undefined)
    return skipped('content', 'the manifest is an early one, with a digest that is not compared any more')
  const equal = promised === found
  return check(
    'content',
    equal,
    `every key, value, version, revision and lease: SHA-256 ${found.slice(0, 16)}…${equal ? '' : `, the manifest says ${promised.slice(0, 16)}…`}`,
  )
}

function skipped(name: string, evidence: string): Check {
  return { name, verdict: 'skipped', evidence }
}
