import { readFileSync } from 'node:fs'
import type { NodeAction } from '../../domain/node-actions.ts'
import { SHA256 } from './sha256.ts'

const PRELUDE = SHA256 + read('prelude')
const MEMBER_LIST = read('member-list')
const CARRY_OUT = read('carry-out')

/**
 * What is run on a node for each kind of action: admit, execute and verify of its own (actions/<kind>.sh), between what
 * all of them share and the one order in which all are carried out. A kind without a line here does not compile, one
 * without its file does not load.
 */
export const ACTION_SCRIPTS: { readonly [Kind in NodeAction['kind']]: string } = {
  'stop-pods': scriptOf('stop-pods'),
  'fence-pods': scriptOf('fence-pods'),
  'set-aside': scriptOf('set-aside'),
  restore: scriptOf('restore'),
  'start-etcd': scriptOf('start-etcd'),
  'start-pods': scriptOf('start-pods'),
  'withdraw-etcd': scriptOf('withdraw-etcd'),
  'put-back': scriptOf('put-back'),
  'remove-leases': scriptOf('remove-leases'),
  'remove-member': scriptOf('remove-member', MEMBER_LIST),
  'make-data-dir': scriptOf('make-data-dir'),
  'add-learner': scriptOf('add-learner', MEMBER_LIST),
  'promote-member': scriptOf('promote-member', MEMBER_LIST),
  compact: scriptOf('compact'),
  defragment: scriptOf('defragment'),
  'remove-aside': scriptOf('remove-aside'),
  'take-back': scriptOf('take-back'),
  'return-pods': scriptOf('return-pods'),
  'plant-broken-log': scriptOf('plant-broken-log'),
}

/** `library`: functions that some kinds share. */
function scriptOf(kind: NodeAction['kind'], library = ''): string {
  return [PRELUDE, library, read(kind), CARRY_OUT].join('\n')
}

function read(name: string): string {
  return readFileSync(new URL(`./actions/${name}.sh`, import.meta.url), 'utf8')
}
