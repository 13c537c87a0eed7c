import type { Inventory } from './snapshot.ts'
import { check, type Check } from './verdict.ts'

type Counted = Exclude<Inventory, { readonly skipped: string }>

/**
 * What a restored etcd holds against what the manifest promises. Of each key the counts and its revisions, version and lease
 * are compared, of some their values. What the manifest doesn't know is skipped, and says so.
 */
export function compareInventories(promised: Inventory, found: Inventory): Check[] {
  if ('skipped' in found)
    return [check('object counts', false, found.skipped), check('content', false, found.skipped)]
  if ('skipped' in promised) return notCompared(promised)
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
    compareContent(promised, found),
  ]
}

/** Of a manifest without an inventory: there is nothing to hold against. */
export function notCompared(promised: { readonly skipped: string }): Check[] {
  const why = `the manifest has no inventory: ${promised.skipped}`
  return [skipped('object counts', why), skipped('content', why)]
}

function compareContent(promised: Counted, found: Counted): Check {
  if (promised.metadata === undefined || promised.sample === undefined)
    return skipped('content', 'the manifest is an early one, with a digest that is not compared any more')
  const keys = promised.metadata === found.metadata
  const values = promised.sample === found.sample
  const word = (equal: boolean): string => (equal ? 'equal' : 'different')
  return check(
    'content',
    keys && values,
    `every key with its version, revisions and lease: ${word(keys)}; values of a sample: ${word(values)}`,
  )
}

function skipped(name: string, evidence: string): Check {
  return { name, verdict: 'skipped', evidence }
}
