import { z } from 'zod'
import { closestName } from '../closest-name.ts'

/**
 * The checks of a validation, in the order in which people read them. A further one is a line here, which gives
 * it its name in cluster files and verdicts, and its look in the list of activities/checks.ts.
 */
interface CheckFacts {
  /** `etcd`: members and files of the nodes. `api`: API servers; a cluster without one skips it. */
  readonly needs: 'etcd' | 'api'
  /** How long it may take, unless the cluster file says otherwise. */
  readonly limitMs: number
  /** Whether what failed may be well a moment later, by itself. */
  readonly settles: boolean
}

const SECOND = 1_000
const MINUTE = 60 * SECOND

export const CHECKS = {
  members: { needs: 'etcd', limitMs: 2 * MINUTE, settles: true },
  leader: { needs: 'etcd', limitMs: 2 * MINUTE, settles: true },
  hashes: { needs: 'etcd', limitMs: 2 * MINUTE, settles: false },
  alarms: { needs: 'etcd', limitMs: 30 * SECOND, settles: false },
  'write-probe': { needs: 'etcd', limitMs: MINUTE, settles: true },
  'etcd-certificates': { needs: 'etcd', limitMs: MINUTE, settles: false },
  'api-certificates': { needs: 'api', limitMs: MINUTE, settles: false },
  'api-servers': { needs: 'api', limitMs: 5 * MINUTE, settles: true },
  nodes: { needs: 'api', limitMs: 5 * MINUTE, settles: true },
  'kube-system-pods': { needs: 'api', limitMs: 10 * MINUTE, settles: true },
  'object-counts': { needs: 'etcd', limitMs: 10 * MINUTE, settles: false },
  secrets: { needs: 'api', limitMs: 5 * MINUTE, settles: true },
  'service-account-tokens': { needs: 'api', limitMs: 5 * MINUTE, settles: true },
  canary: { needs: 'api', limitMs: 5 * MINUTE, settles: false },
} as const satisfies Record<string, CheckFacts>

export type CheckName = keyof typeof CHECKS

/**
 * How often a failure is looked at again. After a recovery things come up one by one, and a check is patient until
 * its limit. By itself a validation tells how it is now; but a cluster on its knees fails a probe here and there,
 * so it looks a second time before it calls somebody.
 */
export function looksAgain(name: CheckName, patient: boolean): number {
  if (!CHECKS[name].settles) return 0
  return patient ? Infinity : 1
}

export function isCheckName(name: string): name is CheckName {
  return Object.hasOwn(CHECKS, name)
}

export const CHECK_NAMES: readonly CheckName[] = Object.keys(CHECKS).filter(isCheckName)

/** The name of a check as people type it. */
export const checkName = z.string().refine(isCheckName, { error: ({ input }) => unknownCheck(String(input)) })

/** What a request may ask of a validation, beside the cluster. */
export const validationWishes = z.object({
  against: z.string().optional(),
  skip: z.array(checkName).default([]),
  onBehalfOf: z.string().optional(),
  without: z.array(z.string()).default([]),
})
export type ValidationWishes = z.output<typeof validationWishes>

function unknownCheck(typed: string): string {
  const near = closestName(typed, CHECK_NAMES)
  const instead = near === null ? `the checks are ${CHECK_NAMES.join(', ')}` : `did you mean ${near}?`
  return `"${typed.slice(0, 60)}" is no check; ${instead}`
}

/** A check as one run is going to make it, or why it isn't going to. Recorded, so that an upgrade changes no run. */
export interface ListedCheck {
  readonly name: string
  readonly limitMs: number
  readonly skipped: string | null
}

/** What is known of a cluster's API servers, from the manifests on its nodes. */
export interface ApiServersSeen {
  readonly servers: readonly string[]
  readonly without: readonly string[]
  readonly unreached: readonly { readonly node: string; readonly reason: string }[]
}

/**
 * All checks, each with its limit or with the reason why it is left out: because the cluster file or the
 * request says so, or because there is no API server to ask. A node that can't be reached may have one, but
 * where no other has, it most likely hasn't either; it is named.
 */
export function listChecks(
  { skip, limits }: { skip: readonly string[]; limits: Readonly<Record<string, number | undefined>> },
  asked: readonly string[],
  seen: ApiServersSeen,
): ListedCheck[] {
  const noApi = withoutApiServer(seen)
  return CHECK_NAMES.map((name) => {
    const skipped = skip.includes(name)
      ? 'the cluster file says so (validate.skip)'
      : asked.includes(name)
        ? 'the request says so'
        : CHECKS[name].needs === 'api'
          ? noApi
          : null
    return { name, limitMs: limits[name] ?? CHECKS[name].limitMs, skipped }
  })
}

function withoutApiServer({ servers, without, unreached }: ApiServersSeen): string | null {
  if (servers.length > 0 || without.length === 0) return null
  const unknown = unreached.map(({ node }) => node).join(', ')
  return `no API server: ${without.join(', ')} have no kube-apiserver manifest${
    unknown === '' ? '' : `, and ${unknown} could not be reached`
  }`
}
