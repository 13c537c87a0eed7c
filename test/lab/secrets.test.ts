/** No secret leaves its place: looked for through a whole backup and a whole restore, wherever it could have gone. */
import assert from 'node:assert/strict'
import { readFile } from 'node:fs/promises'
import { test } from 'node:test'
import { atConsole } from '../../lab/hosts/console.ts'
import { destroyQuorum } from '../../lab/hosts/destroy-quorum.ts'
import { SECRET_CANARY } from '../../lab/hosts/kubernetes-values.ts'
import { readAll } from '../../lab/hosts/keyspace.ts'
import { watchProcesses } from '../secrets/processes.ts'
import { findIn, searchLab, secretsOf } from '../secrets/search.ts'
import { proved } from './backup-runs.ts'
import { requorum } from './command.ts'
import { useLab } from './use-lab.ts'

const own = useLab({ keys: 500 })

test('a backup and a restore leave no S3 secret, no private key and no content of a Secret where others can look', async (t) => {
  const { lab, operator } = own()
  const needles = await secretsOf(own().lab)
  const canaries = (await readAll(lab.hosts)).keys.filter(({ value }) =>
    Buffer.from(value, 'base64').includes(SECRET_CANARY),
  )
  assert.ok(canaries.length > 0, 'there is something to find')

  const watch = watchProcesses(lab, needles)
  proved(await operator.backup())
  await destroyQuorum(lab.hosts)
  const plan = await requorum(lab, 'plan', 'restore', lab.name)
  assert.equal(plan.code, 0, plan.error)
  const ended = await operator.restoreAndApprove()
  assert.ok('verdict' in ended, 'message' in ended ? ended.message : '')
  assert.equal(ended.verdict.outcome, 'restored')
  const snapshots = await requorum(lab, 'snapshots', lab.name)
  const seen = await watch.stop()
  t.diagnostic(`${seen.looks} looks at ${seen.processes} processes of the lab`)
  assert.deepEqual(seen.found, [])
  assert.ok(seen.looks > 5 && seen.sawEtcdctl, 'it looked while etcdctl ran on a node')

  assert.deepEqual(
    findIn(needles, 'what the command printed', plan.out + plan.error + snapshots.out + snapshots.error),
    [],
  )
  assert.deepEqual(findIn(needles, 'the verdict', JSON.stringify(ended.verdict)), [])

  const search = await searchLab(own(), needles)
  t.diagnostic(`${search.runs} histories, ${search.files} files, ${search.hosts} hosts`)
  assert.deepEqual(search.found, [])
  assert.ok(search.runs >= 4, 'backup, plan, restore and the fresh backup, with payloads that can be read')
  assert.ok(search.files > 3, 'database and logs')
  assert.equal(search.hosts, lab.hosts.hosts.length)
})

test('the search finds what is there: the canary in a snapshot, the secret in its own file', async () => {
  const { lab } = own()
  const needles = await secretsOf(lab)
  const credentials = await readFile(lab.store.credentialsFile, 'latin1')
  assert.equal(findIn(needles, 'credentials', credentials).length, 2)
  const { stdout } = await atConsole(
    lab.hosts,
    'cp-01',
    `for host in 1; do grep -c -a -F "$1" /var/lib/etcd/member/snap/db; done`,
    [SECRET_CANARY],
  )
  assert.ok(Number(stdout) > 0)
})
