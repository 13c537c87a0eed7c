/** The validation of a control plane that kubeadm made: what is well, and each wound under the name of its check. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'
import { historyToJSON } from '@temporalio/common/lib/proto-utils.js'
import { TASK_QUEUE, validationWorkflowId, type ValidationRequest } from '../../domain/messages.ts'
import { CHECK_NAMES } from '../../domain/validation/checks.ts'
import type { ValidationVerdict } from '../../domain/validation/verdict.ts'
import { atConsole } from '../../lab/hosts/console.ts'
import { kubectl } from '../../lab/hosts/kubeadm/workload.ts'
import { endOf } from '../../lab/operator.ts'
import { proved } from '../lab/backup-runs.ts'
import { requorum } from '../lab/command.ts'
import { etcdctl } from '../lab/recoveries.ts'
import { editClusterFile, everyHost } from '../lab/use-lab.ts'
import { sharedLab } from './shared-lab.ts'

const own = sharedLab()
const hostAt = (index: number): string => own().lab.hosts.hosts[index]?.name ?? ''

let runs = 0
async function start(more: Partial<ValidationRequest> = {}) {
  const { lab, operator } = own()
  runs += 1
  return operator.client.workflow.start('validate', {
    taskQueue: TASK_QUEUE,
    workflowId: validationWorkflowId(lab.name, `test-${runs}`),
    args: [{ cluster: lab.name, ...more }],
  })
}

async function verdict(more: Partial<ValidationRequest> = {}): Promise<ValidationVerdict> {
  const end = await endOf<ValidationVerdict>(await start(more))
  assert.ok('verdict' in end, JSON.stringify(end))
  return end.verdict
}

/** Makes only these checks. */
function only(...names: readonly string[]): Promise<ValidationVerdict> {
  return verdict({ skip: CHECK_NAMES.filter((name) => !names.includes(name)) })
}

function found({ checks }: ValidationVerdict, name: string): string {
  const one = checks.find((made) => made.name === name)
  return one === undefined ? `${name} is not in the verdict` : `${one.verdict}: ${one.evidence}`
}

/** What a canary would leave: its namespace. */
async function canaries(): Promise<string[]> {
  const names = await kubectl(own().lab.hosts, ['get', 'namespaces', '--output=name'])
  return names.split('\n').filter((name) => name.includes('requorum'))
}

test('a healthy cluster passes every check, and nothing is left behind', async () => {
  const { lab, operator } = own()
  proved(await operator.backup())
  // An administrator's kubectl keeps its cache there; ours must not.
  await everyHost(lab, (host) => atConsole(lab.hosts, host, 'rm -rf /root/.kube'))
  const seen = await verdict({ onBehalfOf: 'the lab, which has only just come up' })
  assert.equal(seen.outcome, 'healthy', JSON.stringify(seen.checks, null, 1))
  assert.deepEqual(
    seen.checks.map(({ verdict: judged }) => judged),
    CHECK_NAMES.map(() => 'pass'),
  )
  assert.match(found(seen, 'api-servers'), /^pass: 3 API servers ready .* each with \d\d checks of its own$/)
  assert.match(found(seen, 'nodes'), /^pass: 3 nodes Ready$/)
  assert.match(found(seen, 'api-certificates'), /^pass: 15 certificates good/)
  assert.match(
    found(seen, 'secrets'),
    /^pass: \d+ Secrets read whole from etcd, one by one, through 3 API servers$/,
  )
  assert.match(found(seen, 'service-account-tokens'), /cp-01's by cp-02, cp-02's by cp-03, cp-03's by cp-01$/)
  assert.match(
    found(seen, 'canary'),
    /^pass: Deployment ready after [\d.]+ s, canary\.\S+\.svc\.cluster\.local resolved by \S+ to \S+ after [\d.]+ s, endpoint answered after [\d.]+ s, asked from cp-01; removed after [\d.]+ s$/,
  )
  const left = await everyHost(lab, async (host) => {
    const { stdout } = await atConsole(
      lab.hosts,
      host,
      'ls -d /root/.kube 2>/dev/null || true; find /run -maxdepth 1 -name "requorum-[cst]*"',
    )
    return stdout
  })
  assert.deepEqual(left, ['', '', ''])
  assert.deepEqual(await canaries(), [])
})

test('no Secret and no token enters the history of a run', async () => {
  const { lab, operator } = own()
  const content = 'a-secret-that-stays-where-it-is'
  await kubectl(lab.hosts, ['create', 'secret', 'generic', 'kept', `--from-literal=word=${content}`])
  const handle = await start()
  await handle.result()
  const history = historyToJSON(await operator.client.workflow.getHandle(handle.workflowId).fetchHistory())
  // Payloads are base64 in it.
  const text = history.replaceAll(/"data": "([A-Za-z0-9+/=]+)"/g, (_all, data: string) =>
    Buffer.from(data, 'base64').toString('utf8'),
  )
  assert.match(text, /Secrets read whole/)
  assert.ok(!text.includes(content))
  assert.ok(!text.includes(Buffer.from(content).toString('base64')))
  assert.doesNotMatch(text, /eyJ[\w-]+\.eyJ/)
  await kubectl(lab.hosts, ['delete', 'secret', 'kept'])
})

test('what changed since the snapshot is explained by the ordinary life of a cluster', async () => {
  const { lab, operator } = own()
  proved(await operator.backup())
  await kubectl(lab.hosts, ['delete', 'pod', '--namespace=kube-system', '--selector=k8s-app=kube-dns'])
  await kubectl(lab.hosts, ['create', 'configmap', 'new'])
  const seen = await only('object-counts')
  assert.match(
    found(seen, 'object-counts'),
    /^pass: .*since then .*configmaps: 1 created.*pods: \d created, 2 deleted/,
  )
  await kubectl(lab.hosts, ['delete', 'configmap', 'new', 'kube-root-ca.crt'])
  await eventually('CoreDNS', async () => {
    const ready = await kubectl(lab.hosts, [
      'get',
      'deployment',
      'coredns',
      '-n',
      'kube-system',
      '-o',
      'jsonpath={.status.readyReplicas}',
    ])
    return ready === '2' ? true : undefined
  })
})

test('an API server that hangs fails by its node, and the others are asked all the same', async () => {
  const { lab } = own()
  const hung = hostAt(1)
  await atConsole(lab.hosts, hung, 'pkill -STOP -x kube-apiserver')
  try {
    const seen = await only('api-servers', 'nodes')
    assert.match(found(seen, 'api-servers'), new RegExp(`^fail: ${hung} doesn't say that it is ready: .`))
  } finally {
    await atConsole(lab.hosts, hung, 'pkill -CONT -x kube-apiserver')
  }
  await eventually('readiness', async () => {
    const seen = await only('api-servers')
    return seen.outcome === 'healthy' ? true : undefined
  })
})

test('a Secret that the API server can not decrypt fails, without a word of it', async () => {
  const { lab } = own()
  // As it would lie there encrypted with a key that was lost: no API server here has any.
  const key = '/registry/secrets/default/lost'
  await etcdctl(lab, hostAt(0), 'put', key, 'k8s:enc:aescbc:v1:key1:ciphertext-of-the-lost')
  try {
    const seen = await only('secrets')
    assert.match(found(seen, 'secrets'), /^fail: cp-01 .*cp-02 .*cp-03 /)
    assert.match(found(seen, 'secrets'), /transform|decrypt|encrypt/i)
    assert.doesNotMatch(JSON.stringify(seen), /ciphertext-of/)
  } finally {
    await etcdctl(lab, hostAt(0), 'del', key)
  }
  assert.match(found(await only('secrets'), 'secrets'), /^pass: /)
})

test('another service-account key on one node: its tokens and its verdicts fail by their pair', async () => {
  const { lab } = own()
  const odd = hostAt(2)
  const restart = async (): Promise<void> => {
    await atConsole(lab.hosts, odd, 'pkill -KILL -x kube-apiserver')
    await sleep(2_000)
    await eventually('the API server', async () => {
      const seen = await only('api-servers')
      return seen.outcome === 'healthy' ? true : undefined
    })
  }
  await atConsole(
    lab.hosts,
    odd,
    `cd /etc/kubernetes/pki && cp -p sa.key /root/sa.key && cp -p sa.pub /root/sa.pub
     openssl genrsa -out sa.key 2048 2>/dev/null && openssl rsa -in sa.key -pubout -out sa.pub 2>/dev/null`,
  )
  try {
    await restart()
    const seen = await only('service-account-tokens')
    assert.match(
      found(seen, 'service-account-tokens'),
      /^fail: cp-03 doesn't accept a token of cp-02: .*; cp-01 doesn't accept a token of cp-03: .*invalid bearer token/,
    )
  } finally {
    await atConsole(lab.hosts, odd, 'cp -p /root/sa.key /root/sa.pub /etc/kubernetes/pki/')
    await restart()
  }
  assert.match(found(await only('service-account-tokens'), 'service-account-tokens'), /^pass: /)
})

test('without CoreDNS the canary comes up and does not resolve; it is taken away, when cancelled too', async () => {
  const { lab } = own()
  const putBack = await editClusterFile(lab, (file) => (file['validate'] = { limits: { canary: '150s' } }))
  const scale = (to: number) =>
    kubectl(lab.hosts, ['scale', 'deployment', 'coredns', '--namespace=kube-system', `--replicas=${to}`])
  await scale(0)
  const pods = ['get', 'pods', '--namespace=kube-system', '--selector=k8s-app=kube-dns', '--output=name']
  await eventually('the end of CoreDNS', async () =>
    (await kubectl(lab.hosts, pods)).trim() === '' ? true : undefined,
  )
  try {
    assert.match(
      found(await only('canary'), 'canary'),
      /^fail: Deployment ready after .*, then its Service doesn't resolve: .*; removed after/,
    )
    assert.deepEqual(await canaries(), [])

    const handle = await start({ skip: CHECK_NAMES.filter((name) => name !== 'canary') })
    await eventually('the canary', async () => ((await canaries()).length > 0 ? true : undefined), 60_000)
    await handle.cancel()
    await assert.rejects(handle.result())
    assert.equal((await handle.describe()).status.name, 'CANCELLED')
    assert.deepEqual(await canaries(), [])
  } finally {
    await scale(2)
    await putBack()
  }
})

test('a canary of a run that was killed is removed by the next, and one that is at work is not', async () => {
  const { lab } = own()
  const namespace = (name: string, until: number): unknown => ({
    apiVersion: 'v1',
    kind: 'Namespace',
    metadata: {
      name,
      labels: { 'requorum.io/canary': 'x' },
      annotations: { 'requorum.io/until': String(until) },
    },
  })
  const now = Math.floor(Date.now() / 1_000)
  for (const object of [
    namespace('requorum-canary-dead', now - 1),
    namespace('requorum-canary-alive', now + 900),
  ]) {
    await kubectl(lab.hosts, ['create', '--filename=-'], JSON.stringify(object))
  }
  const seen = await eventually('CoreDNS and a good canary', async () => {
    const made = await only('canary')
    return made.outcome === 'healthy' ? made : undefined
  })
  assert.match(found(seen, 'canary'), /^pass: /)
  assert.deepEqual(await canaries(), ['namespace/requorum-canary-alive'])
  await kubectl(lab.hosts, ['delete', 'namespace', 'requorum-canary-alive'])
})

test('a kubelet that is gone: its node fails when the cluster has noticed', async () => {
  const { lab } = own()
  const gone = hostAt(2)
  await atConsole(lab.hosts, gone, 'systemctl stop kubelet')
  try {
    const seen = await eventually('a node that is not Ready', async () => {
      const made = await only('nodes')
      return made.outcome === 'unhealthy' ? made : undefined
    })
    assert.equal(found(seen, 'nodes'), `fail: not Ready: ${gone} (NodeStatusUnknown) of 3 nodes`)
  } finally {
    await atConsole(lab.hosts, gone, 'systemctl start kubelet')
  }
})

test('a validation on behalf of a recovery waits for what still comes up', async () => {
  const seen = await verdict({ onBehalfOf: 'recovery/test/1', skip: ['canary', 'object-counts'] })
  assert.equal(seen.outcome, 'healthy', JSON.stringify(seen.checks, null, 1))
})

test('the command prints it all and ends with 0', async () => {
  const { lab } = own()
  const { code, out, error } = await requorum(lab, 'validate', lab.name, '--skip', 'object-counts')
  assert.equal(code, 0, error + out)
  assert.match(out, /^pass +canary +\d+(?:\.\d)? s +Deployment ready/m)
  assert.match(out, /HEALTHY: \S+, 13 passed, 1 skipped/)
})

/** Asks until the answer is there. What throws meanwhile is an answer that isn't there yet. */
async function eventually<Answer>(
  what: string,
  ask: () => Promise<Answer | undefined>,
  limitMs = 240_000,
): Promise<Answer> {
  const deadline = Date.now() + limitMs
  for (;;) {
    const late = Date.now() > deadline
    const answer = await ask().catch((error: unknown) => {
      if (late) throw error
      return undefined
    })
    if (answer !== undefined) return answer
    if (late) throw new Error(`${what} did not come about within ${limitMs / 1_000} s.`)
    await sleep(1_000)
  }
}
