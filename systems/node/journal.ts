import { readFileSync } from 'node:fs'
import { RequorumError } from '../../domain/failures.ts'
import { journalPath, NODE_STATE } from '../../domain/node-paths.ts'
import {
  MARKS,
  markPath,
  readRecord,
  recordPath,
  recordText,
  type Mark,
  type RecordedRecovery,
  type RecoveryRecord,
} from '../../domain/recovery-record.ts'
import { lastLine, type ControlPlaneNode } from './control-plane-node.ts'
import { reserveRoom, writeNodeFile } from './node.ts'

const RECORDED = readFileSync(new URL('./recorded.sh', import.meta.url), 'utf8')

/**
 * What is there before a recovery touches the node: the journal for people, room for the way back, and the record for
 * another run, of a recovery that one can go on with.
 */
export async function writeJournal(
  at: ControlPlaneNode,
  recovery: string,
  text: string,
  record?: RecoveryRecord,
): Promise<void> {
  await writeNodeFile(at, journalPath(recovery), text)
  if (record !== undefined) await writeNodeFile(at, recordPath(recovery), recordText(record))
  await reserveRoom(at)
}

/** Says on the node how far the recovery came. The first word stays: marked again, it says when it was so first. */
export async function markRecovery(
  at: ControlPlaneNode,
  recovery: string,
  mark: Mark,
  text: string,
): Promise<void> {
  const path = markPath(recovery, mark)
  const { code } = await at.shell.run(at.node, ['test', '-e', path])
  if (code !== 0) await writeNodeFile(at, path, `${text}\n`)
}

/** The recoveries that left a record on this node, newest first; of each what is needed to tell them apart. */
export async function recordedRecoveries(at: ControlPlaneNode): Promise<RecordedRecovery[]> {
  const { code, stdout, stderr } = await at.shell.script(at.node, RECORDED, [`${NODE_STATE}/recoveries`])
  if (code !== 0) throw unreadable(at, lastLine(stderr))
  return stdout
    .split('\n')
    .filter((line) => line !== '')
    .map((line) => {
      const [, ...fields] = line.split(' ')
      const said = new Map(
        fields.map((field) => {
          const end = field.indexOf('=')
          return [
            field.slice(0, end),
            Buffer.from(field.slice(end + 1), 'base64')
              .toString('utf8')
              .trim(),
          ]
        }),
      )
      const { record, digest } = readRecord(said.get('head') ?? '', at.node.name)
      const { recovery, runbook, owner, startedAt } = record
      const marks = Object.fromEntries(
        MARKS.flatMap((mark) => (said.has(mark) ? [[mark, said.get(mark)]] : [])),
      )
      return { recovery, runbook, owner, startedAt, digest, marks, lastDone: said.get('done') ?? '' }
    })
}

/** @throws RequorumError `record-unreadable` */
export async function readRecoveryRecord(at: ControlPlaneNode, recovery: string): Promise<RecoveryRecord> {
  const { code, stdout, stderr } = await at.shell.run(at.node, ['cat', '--', recordPath(recovery)])
  if (code !== 0) throw unreadable(at, lastLine(stderr))
  return readRecord(stdout, at.node.name).record
}

function unreadable(at: ControlPlaneNode, why: string): RequorumError {
  return new RequorumError('record-unreadable', {
    what: `The records of recoveries on ${at.node.name} can't be read.`,
    why,
    todo: `Look into ${NODE_STATE}/recoveries on ${at.node.name}.`,
  })
}
