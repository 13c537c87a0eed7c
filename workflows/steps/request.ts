import { clusterName } from '../../domain/cluster-config.ts'
import { drillWishes, type DrillWishes } from '../../domain/drill-plan.ts'
import { RequorumError } from '../../domain/failures.ts'
import { restoreWishes } from '../../domain/fence.ts'
import { fenceWishes, type FenceWishes } from '../../domain/fence-watch.ts'
import { validationWishes, type ValidationWishes } from '../../domain/validation/checks.ts'
import { namedSnapshot } from '../../domain/snapshot.ts'
import { toFailure } from './failure.ts'

/** The cluster that a run is asked for, whatever was typed into the Temporal UI. Ends the run when it is none. */
export function clusterOf(request: unknown): string {
  const named =
    typeof request === 'object' && request !== null && 'cluster' in request ? request.cluster : undefined
  const cluster = clusterName.safeParse(named)
  if (cluster.success) return cluster.data
  throw toFailure(
    new RequorumError('input-invalid', {
      what: 'The input names no cluster.',
      why: `"cluster" has to be ${cluster.error.issues[0]?.message ?? 'a name'}`,
      todo: `Start it with the input {"cluster":"prod"}.`,
    }),
  )
}

/** What else a validation is asked for. @throws RequorumError `input-invalid` */
export function validationOf(request: unknown): ValidationWishes {
  const read = validationWishes.safeParse(request)
  if (read.success) return read.data
  const [issue] = read.error.issues
  throw new RequorumError('input-invalid', {
    what: "The input of the validation can't be read.",
    why: `"${issue?.path.join('.') ?? ''}": ${issue?.message ?? 'unknown'}`,
    todo: 'Start it with an input like {"cluster":"prod"} or {"cluster":"prod","skip":["canary"]}.',
  })
}

/** The snapshot that is asked for by its key; undefined for the newest. @throws RequorumError `input-invalid` */
export function namedSnapshotOf(request: unknown): string | undefined {
  return typeof request === 'object' && request !== null && 'snapshot' in request
    ? namedSnapshot(request.snapshot)
    : undefined
}

/** The nodes that a restore is told are off. @throws RequorumError `input-invalid` */
export function offOf(request: unknown): readonly string[] {
  const read = restoreWishes.safeParse(request)
  if (read.success) return read.data.off
  throw new RequorumError('input-invalid', {
    what: "The input of the restore can't be read.",
    why: `"off" has to be a list of names of nodes that are switched off or cut off`,
    todo: 'Start it with an input like {"cluster":"prod"} or {"cluster":"prod","off":["cp-03"]}.',
  })
}

/** What else a fence is told. @throws RequorumError `input-invalid` */
export function fenceOf(request: unknown): FenceWishes {
  const read = fenceWishes.safeParse(request)
  if (read.success) return read.data
  const [issue] = read.error.issues
  throw new RequorumError('input-invalid', {
    what: "The input of the fence can't be read.",
    why: `"${issue?.path.join('.') ?? ''}": ${issue?.message ?? 'unknown'}`,
    todo: 'Start it with an input like {"cluster":"prod"} or {"cluster":"prod","nodes":["cp-03"]}.',
  })
}

/** What a drill is asked for. @throws RequorumError `input-invalid` */
export function drillOf(request: unknown): DrillWishes {
  const read = drillWishes.safeParse(request)
  if (read.success) return read.data
  const [issue] = read.error.issues
  throw new RequorumError('input-invalid', {
    what: "The input of the drill can't be read. Nothing was touched.",
    why: [issue?.path.join('.'), issue?.message].filter(Boolean).join(': '),
    todo: 'Start it with an input like {"cluster":"lab"} or {"cluster":"lab","fault":"lose-all"}. Whether drills are allowed stands in the cluster file alone.',
  })
}
