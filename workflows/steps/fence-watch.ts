import { CancellationScope, isCancellation, workflowInfo } from '@temporalio/workflow'
import { nodeOf, type ClusterConfig } from '../../domain/cluster-config.ts'
import { fenceJournal } from '../../domain/fence-text.ts'
import {
  fenceAction,
  judgeReturn,
  membersToldBy,
  staleLock,
  type Around,
  type FenceEnd,
  type FenceState,
  type FenceVerdict,
  type FenceWishes,
} from '../../domain/fence-watch.ts'
import type { FenceRequest } from '../../domain/messages.ts'
import type { NodeSurvey } from '../../domain/survey.ts'
import { causeOf, whyOf } from './failure.ts'
import { change, look } from './hands.ts'
import { fenceOf } from './request.ts'
import { utcNow, type Run } from './run.ts'

/** Soon at first, when hosts are switched on again one after the other; a host that is away for hours is repaired. */
const SOON_MS = 20_000
const LATER_MS = 60_000
const SOON_LOOKS = 180

/** The nodes of one fence, and what has become of each. */
export class FenceWatch {
  readonly #run: Run
  readonly #config: ClusterConfig
  readonly #owner: string
  readonly #states = new Map<string, FenceState>()
  readonly #ends: Map<string, FenceEnd>
  readonly #stopped: Set<string>
  readonly #warnings: Set<string>
  #wishes: FenceWishes
  #nodes: string[]
  #looks: number
  #stops: number

  constructor(run: Run, config: ClusterConfig, wishes: FenceWishes & { readonly nodes: readonly string[] }) {
    this.#run = run
    this.#config = config
    this.#wishes = wishes
    // A node that somebody took out of the cluster file is nobody's to watch any more.
    this.#nodes = wishes.nodes.filter((name) => nodeOf(config, name) !== undefined)
    this.#looks = wishes.watch.looks
    this.#stops = wishes.watch.stops
    this.#stopped = new Set(wishes.watch.stopped)
    this.#warnings = new Set(wishes.watch.warnings)
    this.#ends = new Map(Object.entries(wishes.watch.ends))
    const { workflowId, firstExecutionRunId } = workflowInfo()
    this.#owner = `${workflowId}/${firstExecutionRunId}`
  }

  /** A further restore went on without these nodes. What it says is the newer truth; nonsense changes nothing. */
  alsoWatch(request: unknown): void {
    let also: FenceWishes
    try {
      also = fenceOf(request)
    } catch (error) {
      return this.#warn(causeOf(error).message)
    }
    const known = (also.nodes ?? []).filter((name) => nodeOf(this.#config, name) !== undefined)
    this.#nodes = [...new Set([...this.#nodes, ...known])]
    for (const name of known) {
      this.#ends.delete(name)
      this.#stopped.delete(name)
    }
    this.#wishes = { ...this.#wishes, previousClusterId: also.previousClusterId, since: also.since }
  }

  /** Looks at every node once, and stops what must not run. */
  async look(): Promise<void> {
    this.#looks += 1
    await Promise.all(
      this.#nodes.map(async (name) => {
        const state = await this.#lookAt(name)
        this.#states.set(name, state)
        if (state === 'fenced' || state === 'member') this.#ends.set(name, state)
        // One that goes away again is still fenced; one that was started again and can't be stopped is not.
        if (state === 'to-fence') this.#ends.delete(name)
      }),
    )
  }

  isOver(): boolean {
    return this.#nodes.every((name) => this.#ends.has(name))
  }

  pauseMs(): number {
    return this.#looks <= SOON_LOOKS ? SOON_MS : LATER_MS
  }

  note(): string {
    return this.#nodes
      .map((name) => `${name}: ${this.#ends.get(name) ?? this.#states.get(name) ?? 'away'}`)
      .join(', ')
  }

  goOn(): FenceRequest {
    const { previousClusterId, since } = this.#wishes
    const watch: FenceWishes['watch'] = {
      looks: this.#looks,
      stops: this.#stops,
      stopped: [...this.#stopped],
      ends: Object.fromEntries(this.#ends),
      warnings: [...this.#warnings],
    }
    const told = { cluster: this.#config.cluster, nodes: this.#nodes, previousClusterId, watch }
    return since === null ? told : { ...told, since }
  }

  verdict(): FenceVerdict {
    return {
      outcome: this.#nodes.length === 0 ? 'nothing-to-fence' : 'fenced',
      cluster: this.#config.cluster,
      nodes: this.#nodes.flatMap((node) => {
        const state = this.#ends.get(node)
        return state === undefined ? [] : [{ node, state }]
      }),
      warnings: [...this.#warnings],
    }
  }

  async #lookAt(name: string): Promise<FenceState> {
    const { state } = await this.#judge(name)
    if (state !== 'to-fence') return state
    try {
      // Half stopped is no safe place to stop at.
      return await CancellationScope.nonCancellable(() =>
        this.#run.step(`Keep the old member of ${name} from starting`, () => this.#stop(name), noteOf),
      )
    } catch (error) {
      const { code, message } = causeOf(error)
      // A recovery was quicker with the lock: it knows what it does.
      if (code === 'lock-held') return 'held'
      this.#warn(`${name} could not be fenced: ${message}`)
      return 'to-fence'
    }
  }

  /** With the node's lock, so that no recovery makes a member of it meanwhile; and looked at again with it in hand. */
  async #stop(name: string): Promise<FenceState> {
    const ref = { cluster: this.#config.cluster, node: name }
    const stale = staleLock((await this.#judge(name)).found, this.#wishes)
    if (stale !== null) {
      this.#warn(`${name} was still locked by ${stale}, from before the restore`)
      await look.unlockNode(ref, stale)
    }
    await look.lockNode(ref, this.#owner)
    try {
      const { state, found } = await this.#judge(name)
      if (state !== 'to-fence' || !found.reached) return state
      const { manifests } = this.#config.etcd
      await change.writeFenceJournal(ref, fenceJournal({ ...ref, manifests }, utcNow()))
      this.#stops += 1
      await change.performAction(
        ref,
        `fence-${this.#owner.slice(-8)}`,
        `stop-${this.#stops}`,
        fenceAction(this.#config, found),
      )
      this.#stopped.add(name)
      return 'fenced'
    } finally {
      await look.unlockNode(ref, this.#owner).catch((error: unknown) => {
        this.#warn(`${name} may still be locked by ${this.#owner}: ${causeOf(error).message}`)
      })
    }
  }

  async #judge(name: string): Promise<{ found: NodeSurvey; state: FenceState }> {
    const found = await this.#survey(name)
    if (!found.reached) return { found, state: 'away' }
    const around: Around = {
      members: await this.#members(),
      peerUrl: nodeOf(this.#config, name)?.peerUrl ?? '',
      owner: this.#owner,
      since: this.#wishes.since,
      previousClusterId: this.#wishes.previousClusterId,
      stoppedBefore: this.#stopped.has(name),
    }
    return { found, state: judgeReturn(found, around) }
  }

  /** The restored cluster's own list. Old members are not asked: together they might have a quorum of their own. */
  async #members() {
    const trusted = this.#config.nodes.filter(
      ({ name }) => !this.#nodes.includes(name) || this.#ends.get(name) === 'member',
    )
    return membersToldBy(await Promise.all(trusted.map(({ name }) => this.#survey(name))))
  }

  /** A node that refuses us is as far away as one that is off: somebody has to look at it. */
  async #survey(node: string): Promise<NodeSurvey> {
    try {
      return await look.surveyNode({ cluster: this.#config.cluster, node })
    } catch (error) {
      if (isCancellation(error)) throw error
      const reason = whyOf(error)
      this.#warn(`${node} can't be looked at: ${reason}`)
      return { node, reached: false, reason }
    }
  }

  /** Each thing once, however often it is met. */
  #warn(warning: string): void {
    const line = warning.split('\n').join(' ')
    if (this.#warnings.has(line) || this.#warnings.size >= MOST_WARNINGS) return
    this.#warnings.add(line)
    this.#run.warn([line])
  }
}

const MOST_WARNINGS = 20

function noteOf(state: FenceState): string {
  return state === 'fenced' ? 'its manifests are kept from starting, its data is untouched' : state
}
