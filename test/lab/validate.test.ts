/** The validation of etcd on real members: what is well, and each wound under the name of its check. */
import assert from 'node:assert/strict'
import { after, test } from 'node:test'
import { TASK_QUEUE, validationWorkflowId, type ValidationRequest } from '../../domain/messages.ts'
import { CHECKS, CHECK_NAMES } from '../../domain/validation/checks.ts'
import type { ValidationVerdict } from '../../domain/validation/verdict.ts'
import { atConsole } from '../../lab/hosts/console.ts'
import { EtcdGateway } from '../../lab/hosts/etcd-gateway.ts'
import { findFault } from '../../lab/hosts/faults.ts'
import { readAll } from '../../lab/hosts/keyspace.ts'
import { z } from 'zod'
import { endOf } from '../../lab/operator.ts'
import { proved, refusal } from './backup-runs.ts'
import { requorum } from './command.ts'
import { etcdctl } from './recoveries.ts'
import { editClusterFile, everyHost, useLab, wakeUp } from './use-lab.ts'

const own = useLab({ keys: 400 })
const API_CHECKS = CHECK_NAMES.filter((name) => CHECKS[name].needs === 'api')

let runs = 0
async function ended(more: Partial<ValidationRequest> = {}) {
  const { lab, operator } = own()
  runs += 1
  const handle = await operator.client.workflow.start('validate', {
    taskQueue: TASK_QUEUE,
    workflowId: validationWorkflowId(lab.name, `test-${runs}`),
    args: [{ cluster: lab.name, ...more }],
  })
  return endOf<ValidationVerdict>(handle)
}

async function verdict(more: Partial<ValidationRequest> = {}): Promise<ValidationVerdict> {
  const end = await ended(more)
  assert.ok('verdict' in end, JSON.stringify(end))
  return end.verdict
}

function found({ checks }: ValidationVerdict, name: string): string {
  const one = checks.find((made) => made.name === name)
  return one === undefined ? `${name} is not in the verdict` : `${one.verdict}: ${one.evidence}`
}

/** The names of the checks that ended so. */
function those({ checks }: ValidationVerdict, word: string): string[] {
  return checks.filter(({ verdict: judged }) => judged === word).map(({ name }) => name)
}

function hostAt(index: number): string {
  return own().lab.hosts.hosts[index]?.name ?? ''
}

after(async () => {
  // Every test leaves the cluster as it found it: no key, no file.
  const { lab } = own()
  const left = await everyHost(lab, async (host) => {
    const { stdout } = await atConsole(lab.hosts, host, 'find /run -maxdepth 1 -name "requorum-[cs]*"')
    return stdout
  })
  assert.deepEqual(left, ['', '', ''])
})

test('a healthy cluster without a snapshot: etcd is checked, the counts and the API say why they are not', async () => {
  const { lab } = own()
  const before = await readAll(lab.hosts)
  const seen = await verdict()
  assert.equal(seen.outcome, 'healthy', JSON.stringify(seen.checks, null, 1))
  assert.deepEqual(those(seen, 'pass'), [
    'members',
    'leader',
    'hashes',
    'alarms',
    'write-probe',
    'etcd-certificates',
  ])
  for (const name of API_CHECKS)
    assert.match(found(seen, name), /^skipped: no API server: .* have no kube-apiserver manifest$/)
  assert.match(found(seen, 'object-counts'), /^skipped: there is no proved snapshot/)
  assert.match(
    found(seen, 'etcd-certificates'),
    /^pass: 12 certificates good; the first to end is .*, in 36[45] days/,
  )
  assert.deepEqual((await readAll(lab.hosts)).keys, before.keys, 'not a key is left behind')
})

test('counts against the newest snapshot are explained: created, deleted, gone altogether', async () => {
  const { lab, operator } = own()
  const { key } = proved(await operator.backup())
  const same = await verdict()
  assert.equal(same.against, key)
  assert.match(
    found(same, 'object-counts'),
    /^pass: \d+ objects of \d+ kinds against .*none more, none fewer/,
  )

  const [host] = [hostAt(0)]
  await etcdctl(lab, host, 'put', '/registry/deployments/default/new', 'x')
  await etcdctl(lab, host, 'put', '/registry/pods/requorum-canary-1a2b3c4d/canary', 'x')
  assert.match(found(await verdict(), 'object-counts'), /^pass: .*since then deployments: 1 created; events/)

  const secret = (await readAll(lab.hosts)).keys
    .map((one) => Buffer.from(one.key, 'base64').toString('utf8'))
    .find((name) => name.startsWith('/registry/secrets/'))
  await etcdctl(lab, host, 'del', secret ?? '')
  assert.match(found(await verdict(), 'object-counts'), /^warn: secrets: 1 deleted; otherwise /)

  await etcdctl(lab, host, 'del', '--prefix', '/registry/configmaps/')
  const lost = await verdict()
  assert.equal(lost.outcome, 'unhealthy')
  assert.match(found(lost, 'object-counts'), /^fail: configmaps: all \d+ are gone/)

  proved(await operator.backup())
  assert.match(found(await verdict(), 'object-counts'), /^pass: /)
  const old = await verdict({ against: key })
  assert.equal(old.against, key)
  assert.match(found(old, 'object-counts'), /^fail: /)
})

test('a snapshot that is not in the catalogue, or a check that there is none of, is refused at once', async () => {
  assert.match(refusal(await ended({ against: 'daily/none.db' }), 'input-invalid'), /daily\/none\.db/)
  assert.match(refusal(await ended({ skip: ['leaders'] }), 'input-invalid'), /did you mean leader\?/)
})

test('the command: progress, a table, the verdict last; with 0 when healthy', async () => {
  const { lab } = own()
  const { code, out, error } = await requorum(lab, 'validate', lab.name, '--skip', 'hashes')
  assert.equal(code, 0, error)
  assert.match(out, /✓ Check members .*: 3 voters/)
  assert.match(out, /^pass +leader +.* leads in term \d+$/m)
  assert.match(out, /^skipped +hashes +- +the request says so$/m)
  assert.match(out, /HEALTHY: \S+, 6 passed, 8 skipped; held against daily\/\S+\.\n$/)
})

test('what the cluster file leaves out is left out, and says so', async () => {
  const { lab } = own()
  const putBack = await editClusterFile(lab, (file) => (file['validate'] = { skip: ['write-probe'] }))
  try {
    assert.equal(found(await verdict(), 'write-probe'), 'skipped: the cluster file says so (validate.skip)')
  } finally {
    await putBack()
  }
})

test('a member that is down: the members fail, the others hold and say that it was not asked', async () => {
  const { lab } = own()
  const down = hostAt(2)
  await atConsole(lab.hosts, down, "systemctl stop kubelet; systemctl stop 'static-pod-etcd-*'")
  try {
    const seen = await verdict()
    assert.equal(seen.outcome, 'unhealthy')
    assert.deepEqual(those(seen, 'fail'), ['members'])
    assert.match(found(seen, 'members'), new RegExp(`^fail: ${down} doesn't answer: .`))
    assert.match(found(seen, 'hashes'), new RegExp(`^warn: .*; not asked: ${down}`))
    assert.match(found(seen, 'leader'), new RegExp(`^warn: not asked: ${down}; otherwise `))
    assert.match(found(seen, 'etcd-certificates'), new RegExp(`^warn: ${down}: etcd server: nothing answers`))
    assert.match(found(seen, 'write-probe'), /^pass: /)

    const { code, out } = await requorum(lab, 'validate', lab.name)
    assert.equal(code, 1)
    assert.match(out, /^FAIL +members /m)
  } finally {
    await wakeUp(lab)
  }
})

test('after a recovery a member that is still starting is waited for', async () => {
  const { lab } = own()
  const late = hostAt(1)
  await atConsole(lab.hosts, late, "systemctl stop kubelet; systemctl stop 'static-pod-etcd-*'")
  const waiting = verdict({ onBehalfOf: 'recovery/test/1' })
  await new Promise((resolve) => setTimeout(resolve, 6_000))
  await wakeUp(lab)
  const seen = await waiting
  assert.match(found(seen, 'members'), /^pass: /)
  assert.ok((seen.checks.find(({ name }) => name === 'members')?.seconds ?? 0) > 5)
})

test('a node that nobody reaches is named by every check that needs it, and the run comes to its end', async () => {
  const { lab } = own()
  const cut = findFault('cut-network')
  const gone = hostAt(2)
  await cut.inject(lab.hosts, gone)
  try {
    const seen = await verdict()
    assert.equal(seen.outcome, 'unhealthy')
    assert.match(found(seen, 'members'), new RegExp(`^fail: .*${gone}`))
    assert.match(found(seen, 'etcd-certificates'), new RegExp(`^fail: ${gone}: etcd: .`))
    assert.match(
      found(seen, 'nodes'),
      new RegExp(`^skipped: no API server: .*, and ${gone} could not be reached`),
    )
    assert.equal(seen.checks.length, CHECK_NAMES.length)
  } finally {
    await cut.mend?.(lab.hosts, gone)
    await wakeUp(lab)
  }
})

test('an alarm: it is named with its node, and the write probe meets it', async () => {
  const { lab } = own()
  const gateway = await EtcdGateway.connect(lab.hosts)
  const full = hostAt(0)
  const status = await etcdctl(lab, full, 'endpoint', 'status', '--write-out=fields')
  const memberID = /"MemberID" : (\d+)/.exec(status)?.[1]
  const alarm = (action: string) =>
    gateway.call('/v3/maintenance/alarm', { action, alarm: 'NOSPACE', memberID }, z.any())
  try {
    await alarm('ACTIVATE')
    const seen = await verdict()
    assert.equal(seen.outcome, 'unhealthy')
    assert.equal(found(seen, 'alarms'), `fail: NOSPACE on ${full}`)
    assert.match(found(seen, 'write-probe'), /^fail: .*database space exceeded/)
  } finally {
    await alarm('DEACTIVATE')
    gateway.close()
  }
})

test('a cluster that lost its quorum fails in all that needs one, and the validation still ends with a verdict', async () => {
  const { lab } = own()
  for (const host of [hostAt(1), hostAt(2)]) {
    await atConsole(lab.hosts, host, "systemctl stop kubelet; systemctl stop 'static-pod-etcd-*'")
  }
  try {
    const seen = await verdict()
    assert.equal(seen.outcome, 'unhealthy')
    for (const name of ['members', 'leader', 'alarms', 'write-probe', 'object-counts']) {
      assert.match(found(seen, name), /^fail: ./, name)
    }
  } finally {
    await wakeUp(lab)
  }
})
