import { sha256 as hash } from '@noble/hashes/sha2.js'
import { bytesToHex, utf8ToBytes } from '@noble/hashes/utils.js'
import type { NodeAction } from './node-actions.ts'
import { canonicalJson, planDigest, sha256, type PlanDigest, type Sha256 } from './values.ts'

/** What happens on every node at once before the next step begins: a step is a barrier. */
export interface PlanStep {
  readonly title: string
  readonly actions: readonly { readonly node: string; readonly action: NodeAction }[]
}

/** What a step needs to know of the plan that it is part of. */
export interface PlannedRecovery {
  readonly cluster: string
  /** Names the directories, units and receipts on the nodes. */
  readonly recovery: string
  readonly targets: readonly { readonly node: string; readonly address: string }[]
}

/** What people consent to: a digest over all of a plan and nothing else. */
export function digestOfWhole(plan: object): PlanDigest {
  return planDigest.parse(sha256OfText(canonicalJson(plan)))
}

export function sha256OfText(text: string): Sha256 {
  return sha256.parse(bytesToHex(hash(utf8ToBytes(text))))
}

/** What a step moves out of the way, and where it is kept. */
export function setAsideOf(step: PlanStep): { node: string; path: string }[] {
  return step.actions.flatMap(({ node, action }) =>
    action.kind === 'set-aside' ? [{ node, path: action.to }] : [],
  )
}
