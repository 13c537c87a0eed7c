/** What a node does about fencing, by the real shell: knocking at others, and keeping an old member from starting. */
import assert from 'node:assert/strict'
import { spawn } from 'node:child_process'
import { createServer } from 'node:net'
import { join } from 'node:path'
import { after, describe, test } from 'node:test'
import type { FencePods } from '../../domain/node-actions.ts'
import { knockFrom } from '../../systems/node/knock.ts'
import type { NodeShell } from '../../systems/ssh/node-shell.ts'
import { clusterConfig } from './examples.ts'
import { NO_ISOLATION, NodeOnDisk } from './node-on-disk.ts'

const config = clusterConfig()
const node = config.nodes[0]
assert.ok(node)
const never = (): Promise<never> => Promise.reject(new Error('nobody asks for this'))

function shellWith(env: Record<string, string>): NodeShell {
  return {
    ...{ run: never, read: never, write: never, close: () => Promise.resolve() },
    script: (_node, script, args) =>
      new Promise((resolve) => {
        const child = spawn('/bin/sh', ['-s', '--', ...args], { env })
        let stdout = ''
        child.stdout.setEncoding('utf8').on('data', (text: string) => (stdout += text))
        child.once('close', (code) => resolve({ code: code ?? 255, stdout, stderr: '' }))
        child.stdin.end(script)
      }),
  }
}

describe('a node that knocks', () => {
  const { signal } = new AbortController()
  const knock = (what: string, host: string, port: number) => ({ node: 'cp-03', what, host, port })

  test('hears a door that opens, by IPv6 too, and none that is shut', async () => {
    const servers = await Promise.all(
      ['127.0.0.1', '::1'].map(
        (host) =>
          new Promise<number>((resolve, reject) => {
            const server = createServer((socket) => socket.destroy())
            after(() => server.close())
            server.once('error', reject)
            server.listen(0, host, () => {
              const bound = server.address()
              resolve(typeof bound === 'object' ? (bound?.port ?? 0) : 0)
            })
          }),
      ),
    )
    const [four = 0, six = 0] = servers
    const doors = [
      knock('shut', '127.0.0.1', 1),
      knock('by IPv4', '127.0.0.1', four),
      knock('by IPv6', '::1', six),
    ]
    const heard = await knockFrom(
      { shell: shellWith({ PATH: process.env['PATH'] ?? '' }), config, node },
      doors,
      signal,
    )
    assert.deepEqual(
      heard.map(({ what, from }) => `${what} from ${from}`),
      ['by IPv4 from cp-01', 'by IPv6 from cp-01'],
    )
  })

  test('without bash says so, and is not taken for one that heard nothing', async () => {
    await assert.rejects(
      knockFrom({ shell: shellWith({ PATH: '/nowhere' }), config, node }, [knock('x', '::1', 1)], signal),
      /cp-01 has no bash/,
    )
  })
})

describe('an old member', { skip: NO_ISOLATION }, () => {
  const there = new NodeOnDisk({ pods: ['etcd', 'kube-apiserver', 'keepalived'] })
  after(() => there.remove())
  const fence: FencePods = {
    kind: 'fence-pods',
    pods: ['kube-apiserver', 'kube-controller-manager', 'kube-scheduler', 'etcd'],
    from: there.manifests,
    to: join(there.root, 'state/fenced/manifests'),
    dataDir: there.dataDir,
    kill: ['kube-apiserver', 'kube-controller-manager', 'kube-scheduler'],
  }
  const kept = 'state/fenced/manifests'
  const moved = (entries: Record<string, string>): ReadonlyMap<string, string> =>
    new Map(Object.entries(entries).map(([path, entry]) => [path.split('/').at(-1) ?? '', entry]))

  test('has its manifests kept as they were, however often it is done; others and its data stay', () => {
    const [manifests, data] = [there.state('manifests'), there.state('lib')]
    for (let times = 0; times < 2; times += 1) {
      const ended = there.perform(fence)
      assert.equal(ended.code, 0, ended.stderr)
      const now = moved({ ...there.state('manifests'), ...there.state(kept) })
      for (const pod of ['etcd', 'kube-apiserver', 'keepalived']) {
        assert.equal(now.get(`${pod}.yaml`), manifests[`manifests/${pod}.yaml`], pod)
      }
      assert.equal(there.exists('manifests/keepalived.yaml'), true)
      assert.equal(there.exists('manifests/etcd.yaml'), false)
      assert.equal(there.exists(`${kept}/etcd.yaml`), true)
      assert.deepEqual(there.state('lib'), data)
    }
  })

  test('that somebody starts with another manifest is fenced too, and both manifests are kept', () => {
    const before = there.read(`${kept}/etcd.yaml`)
    there.write('manifests/etcd.yaml', `${before}# changed\n`)
    const ended = there.perform(fence)
    assert.equal(ended.code, 0, ended.stderr)
    assert.equal(there.exists('manifests/etcd.yaml'), false)
    assert.equal(there.read(`${kept}/etcd.yaml`), `${before}# changed\n`)
    const earlier = Object.keys(there.state(kept)).filter((path) => path.includes('.before-'))
    assert.equal(earlier.length, 1)
    assert.equal(there.read(earlier[0] ?? ''), before)
  })
})
