import type { ObjectStore, ObjectVersion, StoreCallOptions } from './object-store.ts'

/**
 * One way to fail, for fault tests.
 *
 * `before`: nothing reaches the store. `after`: the store has done it and the caller never learns: the lost
 * answer. For `versions` that means before the first entry and after the last one.
 */
export interface StoreFailpoint {
  readonly method: keyof ObjectStore
  readonly when: 'before' | 'after'
  /** Made anew for each failure, so that each has its own stack. */
  readonly error: () => Error
  /** How many calls fail; 1 by default. Calls that it doesn't match aren't counted. */
  readonly times?: number
  /** Only calls for such a key or prefix; `check` has none and always matches. */
  readonly match?: RegExp
}

export interface FailingStore extends ObjectStore {
  /** How often each failpoint has fired, in the order of the table: a test that never failed proves nothing. */
  fired(): readonly number[]
}

/**
 * The real store with the failpoints of a table in front of it. Of several that match a call the first that has
 * failures left fires.
 */
export function failingStore(real: ObjectStore, failpoints: readonly StoreFailpoint[]): FailingStore {
  const fired = failpoints.map(() => 0)

  const failAt = (when: StoreFailpoint['when'], method: keyof ObjectStore, key: string): void => {
    for (const [at, point] of failpoints.entries()) {
      if (point.when !== when || point.method !== method) continue
      if (point.match !== undefined && method !== 'check' && !point.match.test(key)) continue
      const sofar = fired[at] ?? 0
      if (sofar >= (point.times ?? 1)) continue
      fired[at] = sofar + 1
      throw point.error()
    }
  }

  const around = async <T>(method: keyof ObjectStore, key: string, call: () => Promise<T>): Promise<T> => {
    failAt('before', method, key)
    const result = await call()
    failAt('after', method, key)
    return result
  }

  async function* versions(prefix: string, options?: StoreCallOptions): AsyncGenerator<ObjectVersion> {
    failAt('before', 'versions', prefix)
    yield* real.versions(prefix, options)
    failAt('after', 'versions', prefix)
  }

  return {
    fired: () => [...fired],
    versions,
    put: (object, options) => around('put', object.key, () => real.put(object, options)),
    putBy: (object, send, options) => around('putBy', object.key, () => real.putBy(object, send, options)),
    getBy: (key, versionId, send, options) =>
      around('getBy', key, () => real.getBy(key, versionId, send, options)),
    putParts: (object, carrier, options) =>
      around('putParts', object.key, () => real.putParts(object, carrier, options)),
    abandonParts: (prefix, before, options) =>
      around('abandonParts', prefix, () => real.abandonParts(prefix, before, options)),
    putText: (key, text, options) => around('putText', key, () => real.putText(key, text, options)),
    head: (key, versionId, options) => around('head', key, () => real.head(key, versionId, options)),
    readText: (key, versionId, maxBytes, options) =>
      around('readText', key, () => real.readText(key, versionId, maxBytes, options)),
    copy: (from, key, options) => around('copy', key, () => real.copy(from, key, options)),
    tag: (key, versionId, name, value, options) =>
      around('tag', key, () => real.tag(key, versionId, name, value, options)),
    tags: (key, versionId, options) => around('tags', key, () => real.tags(key, versionId, options)),
    check: (options) => around('check', '', () => real.check(options)),
    open: async (key, versionId, options) => {
      failAt('before', 'open', key)
      const opened = await real.open(key, versionId, options)
      try {
        failAt('after', 'open', key)
      } catch (error) {
        // Nobody will ever read it.
        opened.body.destroy()
        throw error
      }
      return opened
    },
  }
}
