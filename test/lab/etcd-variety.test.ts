/** Clusters that are not as kubeadm leaves them: learners, many members, auth, and an etcd that is no static pod. */
import assert from 'node:assert/strict'
import { after, before, describe, test } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'
import { z } from 'zod'
import { atConsole } from '../../lab/hosts/console.ts'
import { destroyQuorum } from '../../lab/hosts/destroy-quorum.ts'
import { ETCDCTL } from '../../lab/hosts/etcdctl.ts'
import { proved, refusal } from './backup-runs.ts'
import { BucketAdmin } from './bucket-admin.ts'
import { requorum } from './command.ts'
import { ALL_VOTE, memberList, members } from './members.ts'
import { editClusterFile, useLab } from './use-lab.ts'

const nodes = z.array(z.looseObject({ name: z.string() }))
const store = z.looseObject({})
const PKI = '/etc/kubernetes/pki/etcd'
const own = useLab({ keys: 300 })

const at = async (host: string, commands: string): Promise<string> =>
  (await atConsole(own().lab.hosts, host, commands, [], { timeoutMs: 120_000 })).stdout

const asRoot = ETCDCTL.replace(/--cert=\S+/, '--cert=/root/as-root.crt').replace(
  /--key=\S+/,
  '--key=/root/as-root.key',
)

const addressOf = (host: string): string =>
  own().lab.hosts.hosts.find(({ name }) => name === host)?.address ?? ''

/** `etcd` of a host besides its static pod, as a systemd unit on other ports. */
function etcdUnit(host: string, name: string, port: number, options: readonly string[], unit = name): string {
  const [client, peer] = [`https://${addressOf(host)}:${port}`, `https://${addressOf(host)}:${port + 1}`]
  return `systemd-run --quiet --unit=etcd-${unit} etcd --name=${name} \
    --cert-file=${PKI}/server.crt --key-file=${PKI}/server.key --trusted-ca-file=${PKI}/ca.crt --client-cert-auth=true \
    --peer-cert-file=${PKI}/peer.crt --peer-key-file=${PKI}/peer.key --peer-trusted-ca-file=${PKI}/ca.crt \
    --peer-client-cert-auth=true --listen-client-urls=https://127.0.0.1:${port},${client} --advertise-client-urls=${client} \
    --listen-peer-urls=${peer} --initial-advertise-peer-urls=${peer} --listen-metrics-urls=http://127.0.0.1:${port + 2} \
    ${options.join(' ')}`
}

/** Adds a member that runs on a host besides the host's own. */
async function join(host: string, name: string, port: number, learner = ''): Promise<void> {
  const peer = `https://${addressOf(host)}:${port + 1}`
  // etcd refuses a change of members until all have been connected for a while.
  const added = await at(
    host,
    `until ${ETCDCTL} member add ${name} ${learner} --peer-urls=${peer} >/tmp/added; do sleep 0.5; done; cat /tmp/added`,
  )
  const initial = /ETCD_INITIAL_CLUSTER="([^"]+)"/.exec(added)?.[1] ?? ''
  await at(
    host,
    etcdUnit(host, name, port, [
      `--data-dir=/var/lib/etcd-${name}`,
      '--initial-cluster-state=existing',
      `--initial-cluster=${initial}`,
    ]),
  )
}

async function leave(host: string, name: string): Promise<void> {
  const { lab } = own()
  const id = (await memberList(lab)).find((words) => words[2] === name)?.[0] ?? ''
  await at(
    host,
    `until ${ETCDCTL} member remove ${id} >/dev/null; do sleep 0.5; done
     systemctl stop etcd-${name} || true; rm -rf /var/lib/etcd-${name}`,
  )
}

async function untilMembers(wanted: readonly string[]): Promise<void> {
  for (const deadline = Date.now() + 60_000; ; await sleep(200)) {
    const seen = await members(own().lab).catch(() => [])
    if (seen.join() === [...wanted].sort().join()) return
    assert.ok(Date.now() < deadline, `members: ${seen.join(', ')}`)
  }
}

const manifestOf = async (key: string) => (await BucketAdmin.of(own().lab)).manifest(key)

test('with a learner: it is no source, and the manifest knows it', async () => {
  const { operator } = own()
  await join('cp-01', 'extra', 12_379, '--learner')
  await untilMembers([...ALL_VOTE, 'extra learner'])
  const verdict = proved(await operator.backup())
  assert.deepEqual(verdict.warnings, [])
  assert.deepEqual((await manifestOf(verdict.key)).etcd.members.map(({ name }) => name).sort(), [
    ...['cp-01', 'cp-02', 'cp-03'],
    'extra',
  ])
  await leave('cp-01', 'extra')
  await untilMembers(ALL_VOTE)
})

test('of seven members: the snapshot is proved, and the manifest names all of them', async () => {
  const { operator } = own()
  const more = [
    ['cp-01', 'more-1', 12_379],
    ['cp-02', 'more-2', 12_379],
    ['cp-03', 'more-3', 12_379],
    ['cp-01', 'more-4', 13_379],
  ] as const
  const wanted = [...ALL_VOTE]
  for (const [host, name, port] of more) {
    await join(host, name, port)
    await untilMembers([...wanted, `${name} voter`])
    wanted.push(`${name} voter`)
  }
  const verdict = proved(await operator.backup())
  assert.equal((await manifestOf(verdict.key)).etcd.members.length, 7)
  for (const [host, name] of more) await leave(host, name)
  await untilMembers(ALL_VOTE)
})

describe('with auth enabled', () => {
  before(async () => {
    // A certificate's CN is the user, where no name and password are given.
    await everyCertificate('root')
    await at('cp-01', `${ETCDCTL} user add root --no-password && ${ETCDCTL} user grant-role root root`)
    await at('cp-01', `${ETCDCTL} auth enable`)
  })
  after(async () => {
    await at('cp-01', `${asRoot} auth disable`)
  })

  test('a certificate of a user without rights is refused, with etcd’s own reason', async () => {
    const message = refusal(await own().operator.backup(), 'no-source')
    assert.match(message, /permission denied|user name is empty|user name not found|auth/)
  })

  test('a certificate of root saves a snapshot, which can be rehearsed, and restored with all its users', async () => {
    const { lab, operator } = own()
    const putBack = await editClusterFile(lab, (file) => {
      file['etcd'] = { cert: '/root/as-root.crt', key: '/root/as-root.key' }
    })
    try {
      const { key, warnings } = proved(await operator.backup())
      assert.deepEqual(warnings, [])
      assert.ok('keys' in (await manifestOf(key)).inventory)
      const { code, out, error } = await requorum(lab, 'rehearse', lab.name)
      assert.equal(code, 0, out + error)
      assert.match(out, /^pass +content /m)
      await destroyQuorum(lab.hosts)
      const ended = await operator.restoreAndApprove()
      assert.ok('verdict' in ended, JSON.stringify(ended))
      assert.equal(ended.verdict.outcome, 'restored')
      assert.deepEqual(
        ended.verdict.checks.filter(({ verdict }) => verdict === 'fail'),
        [],
      )
      assert.match(await at('cp-02', `${asRoot} auth status`), /Authentication Status: true/)
    } finally {
      await putBack()
    }
  })
})

test('one member as a systemd unit, with directories, ports and certificates of its own and its WAL apart', async () => {
  const { lab, operator } = own()
  const peerUrl = `https://${addressOf('cp-01')}:14380`
  await at(
    'cp-01',
    `mv /etc/kubernetes/manifests/etcd.yaml /root/ && mkdir -p /srv/etcd/pki && cp ${PKI}/* /srv/etcd/pki/`,
  )
  await at(
    'cp-01',
    etcdUnit(
      ...(['cp-01', 'cp-01', 14_379] as const),
      ['--data-dir=/srv/etcd/data', '--wal-dir=/srv/etcd/wal', `--initial-cluster=cp-01=${peerUrl}`],
      'alone',
    ),
  )
  const putBack = await editClusterFile(lab, (file) => {
    file['nodes'] = nodes
      .parse(file['nodes'])
      .flatMap((node) => (node.name === 'cp-01' ? { ...node, peerUrl } : []))
    file['etcd'] = {
      ...{ dataDir: '/srv/etcd/data', clientUrl: 'https://127.0.0.1:14379', caCert: '/srv/etcd/pki/ca.crt' },
      ...{ cert: '/srv/etcd/pki/healthcheck-client.crt', key: '/srv/etcd/pki/healthcheck-client.key' },
    }
    file['store'] = { ...store.parse(file['store']), prefix: 'alone/' }
  })
  try {
    const alone = `${ETCDCTL} --endpoints=https://127.0.0.1:14379`
    await at('cp-01', `until ${alone} put /registry/pods/default/web pod >/dev/null; do sleep 0.5; done`)
    const verdict = proved(await operator.backup())
    assert.match(verdict.key, /^alone\/daily\//)
    assert.equal((await manifestOf(verdict.key)).etcd.members.length, 1)
    const rehearsed = await requorum(lab, 'rehearse', lab.name)
    assert.equal(rehearsed.code, 0, rehearsed.out + rehearsed.error)
    // What can't be restored by its runbook is told before anything is touched.
    const planned = await requorum(lab, 'plan', 'restore', lab.name)
    assert.notEqual(planned.code, 0)
    assert.match(planned.out + planned.error, /static pod|manifest/)
  } finally {
    await putBack()
    await at(
      'cp-01',
      'systemctl stop etcd-alone; rm -rf /srv/etcd; mv /root/etcd.yaml /etc/kubernetes/manifests/',
    )
  }
  await untilMembers(ALL_VOTE)
})

/** A client certificate for this user on every host, signed by etcd's authority. */
async function everyCertificate(user: string): Promise<void> {
  for (const { name } of own().lab.hosts.hosts)
    await at(
      name,
      `umask 077; cd /root
       openssl req -new -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -subj /CN=${user} -keyout as-${user}.key -out as-${user}.csr 2>/dev/null
       openssl x509 -req -in as-${user}.csr -CA ${PKI}/ca.crt -CAkey ${PKI}/ca.key -CAcreateserial -days 2 -out as-${user}.crt 2>/dev/null
       chmod 600 as-${user}.*`,
    )
}
