import type { LifecycleRule } from '../../domain/retention.ts'

export interface Kept {
  readonly key: string
  readonly modifiedAt: string
  readonly tags: Readonly<Record<string, string>>
}

const DAY_MS = 86_400_000

/**
 * A double of what S3 does about a bucket's lifecycle rules, by its User Guide ("Managing the lifecycle of objects"): what is
 * left of these objects at that moment. In a bucket with versions an object that expires is hidden first, and goes when it has
 * not been current for as long as its rule says.
 */
export function leftAt(moment: Date, rules: readonly LifecycleRule[], objects: readonly Kept[]): string[] {
  const goneBy = ({ key, modifiedAt, tags }: Kept, { Filter, ...rule }: LifecycleRule): boolean => {
    const { Prefix, Tags } = 'And' in Filter ? Filter.And : { Prefix: Filter.Prefix, Tags: [] }
    if (!key.startsWith(Prefix) || !Tags.every(({ Key, Value }) => tags[Key] === Value)) return false
    if (!('Days' in rule.Expiration) || rule.NoncurrentVersionExpiration === undefined) return false
    const days = rule.Expiration.Days + rule.NoncurrentVersionExpiration.NoncurrentDays
    return moment.getTime() - Date.parse(modifiedAt) >= days * DAY_MS
  }
  return objects.filter((object) => !rules.some((rule) => goneBy(object, rule))).map(({ key }) => key)
}
