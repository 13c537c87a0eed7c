import type { NodeAction } from './node-actions.ts'
import { recoveryDir } from './node-paths.ts'
import { ETCD } from './planned-node.ts'
import type { PlanStep } from './plan-step.ts'

/** Of the node and the recovery whose action is taken back. */
export interface Place {
  /** Where the recovery keeps what it keeps on the node. */
  readonly directory: string
  /** Where etcd's data belongs. */
  readonly dataDir: string
  /** Where data goes that the recovery made and nobody wants: nothing is deleted on the way back either. */
  readonly undone: string
}

type ActionOf<Kind extends NodeAction['kind']> = Extract<NodeAction, { kind: Kind }>

/** What takes an action back, harmless where the action never happened; or, in words, why nothing does. */
type WayBack<Action extends NodeAction> = (action: Action, place: Place) => NodeAction | string

/**
 * The way back of every kind of action. A kind without a line here does not compile: whoever adds one has to say how it
 * is undone, or why it is not.
 */
export const WAYS_BACK: { readonly [Kind in NodeAction['kind']]: WayBack<ActionOf<Kind>> } = {
  'stop-pods': ({ pods, from, to }) => ({ kind: 'start-pods', pods: pods.toReversed(), from: to, to: from }),
  'set-aside': ({ from, to }, { directory, undone }) => ({
    ...{ kind: 'put-back', aside: to, dataDir: from, undone, absent: `${directory}/data-was-absent` },
  }),
  'start-etcd': ({ kept, to }, place) => withdrawal(kept, to, place),
  'return-pods': ({ pods, to }, place) =>
    pods.some(({ pod }) => pod === ETCD)
      ? withdrawal(`${place.directory}/manifests/${ETCD}.yaml`, to, place)
      : 'all else starts when every node has the old etcd, and from there nothing is taken back',
  'start-pods': ({ pods, from, to }, place) =>
    pods.includes(ETCD)
      ? withdrawal(`${from}/${ETCD}.yaml`, to, place)
      : 'with the first API server the cluster is open: what clients write is lost only by a consent of its own',

  restore: () => 'what was restored goes aside when the old data is put back',
  'make-data-dir': () => 'the empty directory goes aside when the old data is put back',
  'plant-broken-log': () => 'the planted log goes aside when the old data is put back',
  'take-back': () => 'the old data goes back to where it lay when the data of now is put back',

  'remove-member': () => 'its data can never rejoin: from here there is only forward',
  'add-learner': () => 'the member is gone: from here there is only forward',
  'promote-member': () => 'the member is gone: from here there is only forward',
  'fence-pods': () =>
    'old members may never run beside the restored cluster; the journal there says how to end it',
  'remove-leases': () => 'API servers make their leases anew; the old ones name servers that are gone',
  compact: () => 'what is compacted is gone; a copy was saved before',
  defragment: () => 'it changes nothing but the size of a file',
  'remove-aside': () => 'what is removed is gone, which is what was consented to',

  'withdraw-etcd': () => 'it is part of a way back',
  'put-back': () => 'it is part of a way back',
}

/** The restored etcd's manifest is taken away again, and the etcd ended. */
function withdrawal(kept: string, from: string, { directory, dataDir }: Place): NodeAction {
  return { kind: 'withdraw-etcd', kept, from, to: `${directory}/manifests.undone`, dataDir }
}

/** What people call the parts of this way back. */
export type WayBackTitles = Readonly<Record<'withdraw-etcd' | 'put-back' | 'start-pods', string>>

/**
 * The way back from these steps, in reverse: each action by its line in {@link WAYS_BACK}, a step without any left out.
 *
 * @param undoneAt - where the data that the recovery made goes, when not beside the data directory as `.undone.<time>`
 */
export function stepsBack(
  recovery: string,
  steps: readonly PlanStep[],
  titles: WayBackTitles,
  undoneAt: (node: string) => string | null = () => null,
): PlanStep[] {
  const setAside = steps.flatMap(({ actions }) => actions)
  const placeOf = (at: string): Place => {
    const found = setAside.find(({ node, action }) => node === at && action.kind === 'set-aside')?.action
    const [dataDir, to] = found?.kind === 'set-aside' ? [found.from, found.to] : ['', '']
    return {
      directory: recoveryDir(recovery),
      dataDir,
      undone: undoneAt(at) ?? `${dataDir}.undone.${to.split('.').at(-1) ?? ''}`,
    }
  }
  return steps.toReversed().flatMap((step) => {
    const actions = step.actions.flatMap(({ node, action }) => {
      const back = wayBack(action, placeOf(node))
      return typeof back === 'string' ? [] : [{ node, action: back }]
    })
    const kind = actions[0]?.action.kind
    return kind === undefined ? [] : [{ title: titleOf(kind, titles), actions }]
  })
}

/** By its kind's line. A lookup by a union's own tag is more than the compiler follows. */
function wayBack<Kind extends NodeAction['kind']>(action: ActionOf<Kind>, place: Place): NodeAction | string {
  const way: WayBack<ActionOf<Kind>> = WAYS_BACK[action.kind]
  return way(action, place)
}

function titleOf(kind: NodeAction['kind'], titles: WayBackTitles): string {
  if (kind === 'withdraw-etcd' || kind === 'put-back' || kind === 'start-pods') return titles[kind]
  throw new Error(`No way back is called "${kind}".`)
}
