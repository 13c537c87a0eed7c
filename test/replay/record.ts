/**
 * Records the histories that replay.test.ts replays, on a lab of its own: `npm run histories`.
 *
 * The version of package.json becomes part of the file names. Until the first release its files are written anew, in
 * the commit that changes a workflow; afterwards what was released stays, and a change is a patch or a new version.
 */
import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { historyToJSON } from '@temporalio/common/lib/proto-utils.js'
import { TASK_QUEUE } from '../../domain/messages.ts'
import packageFile from '../../package.json' with { type: 'json' }
import { destroyQuorum } from '../../lab/hosts/destroy-quorum.ts'
import { seedKeyspace } from '../../lab/hosts/keyspace.ts'
import { labDown, labUp } from '../../lab/lab.ts'
import { Operator } from '../../lab/operator.ts'

const release = packageFile.version

const dir = await mkdtemp(join(tmpdir(), 'requorum-record-'))
await mkdir(new URL('./histories/', import.meta.url), { recursive: true })
const say = (line: string): void => void process.stdout.write(`${line}\n`)
try {
  const lab = await labUp({ name: 'replay', dir, say })
  const operator = await Operator.of(lab)
  const keep = async (kind: string, workflowId: string): Promise<void> => {
    const history = historyToJSON(await operator.client.workflow.getHandle(workflowId).fetchHistory())
    const file = new URL(`./histories/${kind}-${release}.json`, import.meta.url)
    await writeFile(file, history)
    say(`recorded ${kind}: ${(history.length / 1024).toFixed(0)} KiB`)
  }

  await seedKeyspace(lab.hosts, { keys: 300, seed: 7 })
  await operator.backup()
  for await (const { workflowId, type } of operator.client.workflow.list()) {
    if (type === 'backup') await keep('backup', workflowId)
  }
  for (const type of ['validate', 'diagnose']) {
    const workflowId = `${type}/replay`
    await operator.client.workflow.execute(type, {
      taskQueue: TASK_QUEUE,
      workflowId,
      args: [{ cluster: 'replay' }],
    })
    await keep(type, workflowId)
  }
  await destroyQuorum(lab.hosts)
  await operator.startRestore()
  const destroy = await operator.untilCheckpoint('destroy')
  if (destroy === undefined) throw new Error('The restore ended before it asked for consent.')
  // A wrong decision first: what people send belongs to what has to replay.
  await operator.signal({ checkpoint: 'destroy', decision: 'approve', plan: '00000000', by: 'eve' })
  while ((await operator.progress()).decisionsSeen === 0)
    await new Promise((resolve) => setTimeout(resolve, 100))
  await keep('restore-waiting', 'recovery/replay')
  await operator.decide(destroy, 'approve')
  const accept = await operator.untilCheckpoint('accept')
  if (accept === undefined) throw new Error('The restore ended before it asked to be accepted.')
  await operator.decide(accept, 'approve')
  await operator.result()
  await keep('restore-done', 'recovery/replay')
  await operator.close()
} finally {
  await labDown({ name: 'replay', dir, say })
  await rm(dir, { recursive: true, force: true })
}
