import { appendFileSync, existsSync, readFileSync, writeFileSync } from 'node:fs'
import { AsyncLocalStorage } from 'node:async_hooks'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import type { ActivityInterceptorsFactory } from '@temporalio/worker'
import { z } from 'zod'
import type { Systems } from '../activities/systems.ts'
import { RequorumError } from '../domain/failures.ts'

/** Where an activity is, as the crash sweep names it. */
const place = z.object({
  /** The workflow type, the activity type, what of it, and which one with these names in its run, from 1. */
  workflow: z.string(),
  activity: z.string(),
  what: z.string(),
  nth: z.number(),
  /** null for any node, and for what concerns the whole cluster. */
  node: z.string().nullable(),
})
const armed = place.extend({
  where: z.enum(['before', 'middle', 'after']),
  /** Of the calls to a node, the store or the schedule that the activity makes, the one that is its middle. */
  call: z.number(),
  /** `kill`: this worker is gone, as by a power cut. `hold`: it stands still until FILE.go is there. */
  act: z.enum(['kill', 'hold']),
})
/** A line of FILE.trace: an activity that came to its end, and how many calls it made. */
export const traced = place.extend({ calls: z.number() })

export type Armed = z.infer<typeof armed>
export type Traced = z.infer<typeof traced>

/** One activity that is at work in this worker. */
interface AtWork {
  readonly at: z.infer<typeof place>
  readonly armed: Armed | null
  calls: number
}

export interface Failpoints {
  readonly interceptor: ActivityInterceptorsFactory
  around(systems: Systems): Systems
}

/**
 * Places at which a worker of the lab ends or stands still, for the crash sweep: named in FILE, which is read at
 * each activity; FILE.tripped is written when it came there, and from then on nothing trips any more. Every
 * activity that ends is noted in FILE.trace.
 *
 * @param file - REQUORUM_FAILPOINTS; undefined in every worker that works for people.
 * @returns null without a file.
 * @throws RequorumError `input-invalid` in a home that is not a lab's.
 */
export function failpointsFrom(file: string | undefined, home: string): Failpoints | null {
  if (file === undefined) return null
  if (!existsSync(join(home, 'hosts.json'))) {
    throw new RequorumError('input-invalid', {
      what: 'REQUORUM_FAILPOINTS is set, and this is no lab.',
      why: 'a worker that ends on purpose has no business with a real cluster',
      todo: 'Unset it.',
    })
  }
  const current = new AsyncLocalStorage<AtWork>()
  const seen = new Map<string, string[]>()

  const reach = async (where: Armed['where'], { at, armed: point }: AtWork, call = 0): Promise<void> => {
    if (point?.where !== where || (where === 'middle' && point.call !== call)) return
    try {
      writeFileSync(`${file}.tripped`, at.node ?? '', { flag: 'wx' })
    } catch {
      return
    }
    if (point.act === 'kill') process.kill(process.pid, 'SIGKILL')
    while (!existsSync(`${file}.go`)) await sleep(20)
  }

  /** Counts the calls of a system; at its failpoint a call has begun and its end is not known. */
  const counted = <System extends object>(system: System): System =>
    new Proxy(system, {
      get(target, name) {
        const member: unknown = Reflect.get(target, name)
        const work = current.getStore()
        if (typeof member !== 'function' || work === undefined) return member
        return (...args: unknown[]): unknown => {
          const answer: unknown = Reflect.apply(member, target, args)
          if (!(answer instanceof Promise)) return answer
          // One call may make others before it is answered: a store's put opens what it sends.
          const mine = (work.calls += 1)
          return begun(system, args, answer)
            .then(() => reach('middle', work, mine))
            .then(() => answer)
        }
      },
    })

  return {
    interceptor: ({ info }) => ({
      inbound: {
        async execute(input, next) {
          const names = {
            workflow: info.workflowType ?? '',
            activity: info.activityType,
            ...subject(input.args),
          }
          const key = JSON.stringify([info.workflowExecution?.runId, names])
          const ids = seen.get(key) ?? []
          seen.set(key, ids)
          if (!ids.includes(info.activityId)) ids.push(info.activityId)
          const at = { ...names, nth: ids.indexOf(info.activityId) + 1 }
          const work: AtWork = { at, armed: pointAt(file, at), calls: 0 }
          await reach('before', work)
          const result = await current.run(work, () => next(input))
          appendFileSync(`${file}.trace`, `${JSON.stringify({ ...at, calls: work.calls })}\n`)
          await reach('after', work)
          return result
        },
      },
    }),
    around: (systems) => ({
      ...systems,
      shellFor: (config) => counted(systems.shellFor(config)),
      storeFor: (config) => counted(systems.storeFor(config)),
      schedules: counted(systems.schedules),
    }),
  }
}

/** The failpoint of the file when it is at this place. */
function pointAt(file: string, at: z.infer<typeof place>): Armed | null {
  if (!existsSync(file) || existsSync(`${file}.tripped`)) return null
  // eslint-disable-next-line no-restricted-properties -- the sweep's own file; nothing of etcd's is in it
  const point = armed.parse(JSON.parse(readFileSync(file, 'utf8')))
  const { workflow, activity, what, nth, node } = point
  const here = workflow === at.workflow && activity === at.activity && what === at.what && nth === at.nth
  return here && (node === null || node === at.node) ? point : null
}

/** Which node an activity is about, and for an action the step that it is. */
function subject(args: readonly unknown[]): { node: string | null; what: string } {
  const [ref] = args
  const node = typeof ref === 'object' && ref !== null && 'node' in ref ? ref.node : null
  // The name of a step or of a mark; a journal's text stands at the same place.
  const step = args.length === 4 && typeof args[2] === 'string' && !args[2].includes('\n') ? args[2] : ''
  return { node: typeof node === 'string' ? node : null, what: step }
}

/** A step that outlives its call has begun when its start is on the node; any other call when it was answered. */
async function begun(shell: object, args: readonly unknown[], answer: Promise<unknown>): Promise<void> {
  let over = false
  const ended = answer.then(
    () => (over = true),
    () => (over = true),
  )
  const [node, script, words] = args
  if (
    typeof script !== 'string' ||
    !script.endsWith('begin "$@"') ||
    !Array.isArray(words) ||
    !('run' in shell)
  ) {
    await ended
    return
  }
  const started = ['sh', '-c', 'ls /var/lib/requorum/steps/"$1"/*.started', 'sh', words[0]]
  while (!over) {
    // eslint-disable-next-line @typescript-eslint/consistent-type-assertions -- any shell has it
    const look: unknown = await Reflect.apply(shell.run as () => unknown, shell, [node, started])
    if (typeof look === 'object' && look !== null && 'code' in look && look.code === 0) return
  }
}
