/** node-facts.sh as a real shell runs it, on a node of files in a temporary directory. */
import assert from 'node:assert/strict'
import { spawn, spawnSync } from 'node:child_process'
import {
  copyFileSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  renameSync,
  rmSync,
  utimesSync,
  writeFileSync,
} from 'node:fs'
import { createServer, type Server } from 'node:https'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, before, describe, test } from 'node:test'
import type { ReachedNode, Symptoms } from '../../domain/survey.ts'
import { surveyNode } from '../../systems/node/survey.ts'
import type { NodeShell } from '../../systems/ssh/node-shell.ts'
import { clusterConfig, kubeadmManifest } from './examples.ts'

const root = mkdtempSync(join(tmpdir(), 'requorum-facts-'))
const manifests = join(root, 'manifests')
const pki = join(root, 'pki')
const logs = join(root, 'etcd-pod-logs')
const fenced = join(root, 'fenced')
const etcdLog = (pod: string) => join(logs, `kube-system_etcd-${pod}/etcd`)

/** What the double of an API server says; the script and curl are real. */
let readyz: { status: number; body: string } = { status: 200, body: 'ok' }
let server: Server
let printed = ''

before(async () => {
  for (const dir of [manifests, pki, join(root, 'data/member/wal'), etcdLog('old'), etcdLog('new')]) {
    mkdirSync(dir, { recursive: true })
  }
  for (const name of ['server', 'peer', 'ca', 'client']) certificate(name)
  writeFileSync(
    join(manifests, 'etcd.yaml'),
    kubeadmManifest('cp-01')
      .replaceAll('/var/lib/etcd', join(root, 'data'))
      .replaceAll(/\/etc\/kubernetes\/pki\/etcd\/(\w+)\.crt/g, `${pki}/$1.crt`),
  )
  server = createServer(
    { cert: readFileSync(join(pki, 'server.crt')), key: readFileSync(join(pki, 'server.key')) },
    (request, response) => {
      const { status, body } = request.url === '/readyz' ? readyz : { status: 200, body: 'ok' }
      response.writeHead(status).end(body)
    },
  )
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
})
after(() => {
  server.close()
  rmSync(root, { recursive: true, force: true })
})

function certificate(name: string): void {
  const { status, stderr } = spawnSync(
    'openssl',
    [
      ...['req', '-x509', '-newkey', 'rsa:2048', '-nodes', '-days', '30', '-subj', `/CN=${name}`],
      ...['-addext', 'subjectAltName=DNS:kubernetes'],
      ...['-keyout', join(pki, `${name}.key`), '-out', join(pki, `${name}.crt`)],
    ],
    { encoding: 'utf8' },
  )
  assert.equal(status, 0, stderr)
  // As in the kubelet's own file: the key stands in the certificate's.
  const whole =
    readFileSync(join(pki, `${name}.key`), 'utf8') + readFileSync(join(pki, `${name}.crt`), 'utf8')
  writeFileSync(join(pki, `${name}.crt`), whole)
}

function apiServer(port: number, more: readonly string[] = []): void {
  const words = [`--secure-port=${port}`, `--client-ca-file=${pki}/server.crt`, ...more]
  const command = ['kube-apiserver', ...words].map((word) => `    - ${word}`).join('\n')
  writeFileSync(join(manifests, 'kube-apiserver.yaml'), `spec:\n  containers:\n  - command:\n${command}\n`)
}

const notUsed = (): never => {
  throw new Error('the survey only runs its script')
}

/** The shell of this machine in place of one behind SSH; the pod logs are in the temporary directory too. */
const shell: NodeShell = {
  run: notUsed,
  read: notUsed,
  write: notUsed,
  close: () => Promise.resolve(),
  script: (_node, script, args) =>
    new Promise((resolve, reject) => {
      const child = spawn('sh', ['-s', '--', ...args.slice(0, -3), logs, ...args.slice(-2, -1), fenced])
      let [stdout, stderr] = ['', '']
      child.stdout.setEncoding('utf8').on('data', (text: string) => (stdout += text))
      child.stderr.setEncoding('utf8').on('data', (text: string) => (stderr += text))
      child.once('error', reject)
      child.once('close', (code) => {
        printed = stdout
        resolve({ code: code ?? 255, stdout, stderr })
      })
      child.stdin.end(script)
    }),
}

async function look(): Promise<Symptoms> {
  const { symptoms } = await seen()
  assert.ok(symptoms)
  return symptoms
}

async function seen(): Promise<ReachedNode> {
  const base = clusterConfig({ backup: { directory: join(root, 'backups') } })
  const etcd = {
    ...base.etcd,
    manifests,
    dataDir: join(root, 'data'),
    caCert: `${pki}/ca.crt`,
    cert: `${pki}/client.crt`,
  }
  const config = { ...base, etcd }
  const node = config.nodes[0]
  assert.ok(node)
  const found = await surveyNode(
    { shell, config, node },
    () => new Date(),
    async () => ({
      answers: false,
      reason: 'nobody is asked here',
    }),
    { probeApiServer: true },
  )
  assert.ok(found.reached)
  return found
}

describe('manifests that are kept from starting', () => {
  test('are told apart from those that the kubelet has, and etcd’s says where its data is', async () => {
    assert.equal((await seen()).fenced, undefined)
    mkdirSync(fenced)
    renameSync(join(manifests, 'etcd.yaml'), join(fenced, 'etcd.yaml'))
    writeFileSync(join(fenced, 'kube-scheduler.yaml'), '')
    try {
      const node = await seen()
      assert.equal(node.etcdManifest, null)
      assert.deepEqual(node.fenced?.pods, ['etcd', 'kube-scheduler'])
      assert.equal(node.fenced?.etcdManifest, readFileSync(join(fenced, 'etcd.yaml'), 'utf8'))
      assert.equal(node.dataDir.path, join(root, 'data'))
      assert.equal(node.symptoms?.certificates[0]?.name, 'etcd-server')
    } finally {
      renameSync(join(fenced, 'etcd.yaml'), join(manifests, 'etcd.yaml'))
      rmSync(fenced, { recursive: true })
    }
  })
})

describe('what a survey sees besides', () => {
  test('is the dates of every certificate, by its name, and no key', async () => {
    const { certificates } = await look()
    assert.deepEqual(
      certificates.map(({ name, path }) => `${name} ${path.slice(pki.length + 1)}`),
      [
        'etcd-server server.crt',
        'etcd-peer peer.crt',
        'etcd-ca ca.crt',
        'etcd-peer-ca ca.crt',
        'etcd-client-ca ca.crt',
        'etcd-client client.crt',
      ],
    )
    for (const { valid } of certificates) {
      assert.ok(valid)
      const days = (Date.parse(valid.until) - Date.parse(valid.from)) / 86_400_000
      assert.equal(Math.round(days), 30)
    }
    const decoded = printed.split(/[\s=]/).map((word) => Buffer.from(word, 'base64').toString('utf8'))
    assert.doesNotMatch(`${printed}${decoded.join('')}`, /PRIVATE KEY/)
  })

  test('is that a certificate is missing or none', async () => {
    const peer = readFileSync(join(pki, 'peer.crt'))
    writeFileSync(join(pki, 'peer.crt'), 'not a certificate')
    const { certificates } = await look()
    writeFileSync(join(pki, 'peer.crt'), peer)
    assert.equal(certificates.find(({ name }) => name === 'etcd-peer')?.valid, null)
  })

  test('is the filesystem below the data, and the node’s time with a doubt below the look’s own length', async () => {
    const began = Date.now()
    const { dataDisk, clock, clockErrorMs } = await look()
    assert.ok(dataDisk.sizeBytes > dataDisk.freeBytes && dataDisk.freeBytes > 0)
    assert.ok(clockErrorMs <= Date.now() - began)
    assert.ok(Math.abs(Date.parse(clock) - Date.now()) < 60_000)
  })

  test('is what the youngest etcd does, and since when, where one runs', async () => {
    const nobody = await look()
    // Other tests and labs of this machine may run one.
    if (nobody.etcdAgeSeconds !== null) return
    // A process by that name, as the kernel has it, that works on this node's data directory.
    copyFileSync('/bin/sh', join(root, 'etcd'))
    const child = spawn(join(root, 'etcd'), ['-c', 'read line', `--data-dir=${join(root, 'data')}`])
    try {
      const { etcdAgeSeconds, etcdState } = await look()
      assert.ok(etcdAgeSeconds !== null && etcdAgeSeconds < 30, String(etcdAgeSeconds))
      assert.equal(etcdState, 'S')
      child.kill('SIGSTOP')
      assert.equal((await look()).etcdState, 'T')
    } finally {
      child.kill('SIGKILL')
    }
  })

  test('is that its peers have removed it, which etcd ends with as a warning', async () => {
    const removed =
      '{"level":"warn","ts":"2026-11-22T02:14:05.1Z","caller":"etcdserver/server.go:1155","msg":"server error","error":"the member has been permanently removed from the cluster"}'
    writeFileSync(
      join(etcdLog('old'), '0.log'),
      `${removed}\n{"level":"warn","msg":"data-dir used by this member must be removed"}\n`,
    )
    const { etcdLog: log } = await look()
    rmSync(join(etcdLog('old'), '0.log'))
    assert.equal(log?.fatal, 'server error: the member has been permanently removed from the cluster')
  })

  test('is the last words of etcd, from the newest log and the one before, whatever pod it was', async () => {
    assert.equal((await look()).etcdLog, null)
    const fatal =
      '{"level":"fatal","ts":"2026-11-22T02:14:05.1Z","caller":"etcdserver/server.go:1","msg":"failed to recover v3 backend from snapshot","error":"failed to find database snapshot file (snap: snapshot file doesn\'t exist)","stacktrace":"go.etcd.io/etcd/server/v3/etcdmain.Main"}'
    const panic = [
      '2026-11-22T02:15:05.1Z stderr F {"level":"info","msg":"opened backend db"}',
      '2026-11-22T02:15:06.1Z stderr F panic: runtime error: slice bounds out of range [:4096]',
      '2026-11-22T02:15:06.1Z stderr F goroutine 1 [running]:',
      '2026-11-22T02:15:06.1Z stderr F go.etcd.io/bbolt.(*freelist).read(0xc0001)',
      '',
    ]
    writeFileSync(join(etcdLog('old'), '3.log'), `${fatal}\n`)
    utimesSync(join(etcdLog('old'), '3.log'), 1_000, 1_000)
    writeFileSync(join(etcdLog('new'), '0.log'), panic.join('\n'))
    assert.deepEqual((await look()).etcdLog, {
      restarts: 0,
      fatal: 'panic: runtime error: slice bounds out of range [:4096] [in go.etcd.io/bbolt]',
      fatalBefore:
        "failed to recover v3 backend from snapshot: failed to find database snapshot file (snap: snapshot file doesn't exist)",
    })
    writeFileSync(join(etcdLog('new'), '7.log'), '{"level":"info","msg":"serving client traffic"}\n')
    utimesSync(join(etcdLog('new'), '7.log'), Date.now() / 1_000 + 5, Date.now() / 1_000 + 5)
    const running = (await look()).etcdLog
    assert.equal(running?.restarts, 7)
    assert.equal(running.fatal, null)
    assert.match(running.fatalBefore ?? '', /slice bounds/)
  })
})

describe('an API server', () => {
  const port = () => {
    const address = server.address()
    return typeof address === 'object' && address !== null ? address.port : 0
  }

  test('is asked nothing where there is none', async () => {
    assert.equal((await look()).apiServer, null)
  })

  test('is asked by the name in its certificate, and well', async () => {
    apiServer(port(), ['--bind-address=0.0.0.0'])
    const { apiServer: seen } = await look()
    assert.deepEqual(seen?.readyz, { status: 200, why: '' })
    assert.deepEqual(seen.livez, { status: 200, why: '' })
  })

  test('that isn’t ready tells which checks fail, and no more', async () => {
    apiServer(port())
    readyz = {
      status: 500,
      body: '[+]ping ok\n[-]etcd failed: reason withheld\n[-]rbac failed\nreadyz check failed\n',
    }
    const { apiServer: seen } = await look()
    assert.deepEqual(seen?.readyz, {
      status: 500,
      why: '[-]etcd failed: reason withheld; [-]rbac failed',
    })
  })

  test('that is not there, or isn’t the one that its authority signed, gives no answer', async () => {
    apiServer(1)
    const gone = (await look()).apiServer?.readyz
    assert.equal(gone?.status, 0)
    assert.match(gone.why, /curl: \(7\)/)
    apiServer(port(), [])
    writeFileSync(
      join(manifests, 'kube-apiserver.yaml'),
      readFileSync(join(manifests, 'kube-apiserver.yaml'), 'utf8').replace('/server.crt', '/peer.crt'),
    )
    const stranger = (await look()).apiServer?.readyz
    assert.equal(stranger?.status, 0)
    assert.match(stranger.why, /curl: \(60\)/)
  })
})
