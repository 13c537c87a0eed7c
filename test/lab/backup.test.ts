/** Backups of a small cluster, end to end: what is stored, what a snapshot has to prove, and what refuses one. */
import assert from 'node:assert/strict'
import { createHash } from 'node:crypto'
import { beforeEach, test } from 'node:test'
import { z } from 'zod'
import type { SnapshotManifest } from '../../domain/snapshot.ts'
import { atConsole } from '../../lab/hosts/console.ts'
import { EtcdGateway, memberList } from '../../lab/hosts/etcd-gateway.ts'
import { findFault } from '../../lab/hosts/faults.ts'
import { readAll, seedKeyspace, type WholeKeyspace } from '../../lab/hosts/keyspace.ts'
import { killWorker, startWorker } from '../../lab/services/worker.ts'
import { openCatalogue } from '../../workers/wiring.ts'
import { proved, refusal, startBackup } from './backup-runs.ts'
import { BucketAdmin } from './bucket-admin.ts'
import { StoreDoor } from './store-door.ts'
import { editClusterFile, everyHost, useLab, wakeUp } from './use-lab.ts'

const BACKUPS = '/var/lib/etcd-backups'
const SA_PUB = '-----BEGIN PUBLIC KEY-----\nthe lab has none of its own\n-----END PUBLIC KEY-----\n'
const own = useLab({ keys: 600 })
let bucket: BucketAdmin
beforeEach(async () => {
  bucket ??= await BucketAdmin.of(own().lab)
})

test('a backup stores the snapshot encrypted, whole and pinned, and its manifest says what is true', async (t) => {
  const { lab, operator } = own()
  await everyHost(lab, (host) =>
    atConsole(lab.hosts, host, 'cat >/etc/kubernetes/pki/sa.pub', [], { input: SA_PUB }),
  )
  const keyspace = await readAll(lab.hosts)
  const began = performance.now()
  const verdict = proved(await operator.backup())
  t.diagnostic(`backup of ${verdict.totalKeys} keys: ${((performance.now() - began) / 1000).toFixed(1)} s`)

  const stored = await bucket.head(verdict.key, verdict.versionId)
  const content = await bucket.get(verdict.key, verdict.versionId)
  const sum = createHash('sha256').update(content)
  assert.equal(stored.get('x-amz-server-side-encryption'), 'aws:kms')
  assert.equal(stored.get('x-amz-server-side-encryption-aws-kms-key-id'), lab.store.kmsKeyId)
  assert.equal(stored.get('content-length'), String(content.length))
  assert.equal(stored.get('x-amz-checksum-sha256'), sum.copy().digest('base64'))
  assert.equal(stored.get('x-amz-version-id'), verdict.versionId)

  const manifest = await bucket.manifest(verdict.key)
  assert.deepEqual(
    {
      key: manifest.key,
      versionId: manifest.versionId,
      sha256: manifest.sha256,
      sizeBytes: manifest.sizeBytes,
    },
    {
      key: verdict.key,
      versionId: verdict.versionId,
      sha256: sum.digest('hex'),
      sizeBytes: content.length,
    },
  )
  assert.equal(verdict.broughtBy, verdict.source, 'the node stored it by itself')
  assert.equal(manifest.cluster, lab.name)
  assert.equal(BigInt(manifest.revision), keyspace.revision)
  assert.deepEqual(await membersSaid(manifest), await membersThere())
  assert.equal(manifest.etcd.version, lab.hosts.etcdVersion)
  const counted = countOf(keyspace)
  assert.ok('keys' in manifest.inventory, 'the inventory was taken')
  const { keys, leased, kinds } = manifest.inventory
  assert.deepEqual({ keys, leased, kinds }, counted)
  assert.equal(verdict.liveKeys, keys)
  assert.deepEqual(manifest.keyFingerprints, {
    saPub: createHash('sha256').update(SA_PUB).digest('hex'),
    encryptionConfig: null,
  })
  assert.deepEqual(
    (await bucket.keys('')).filter((key) => !key.startsWith('daily/')),
    ['monthly/', 'monthly/'].map((area, at) =>
      verdict.key.replace('daily/', area).replace(/db$/, at === 0 ? 'db' : 'json'),
    ),
    'beside it the copy of the month, and nothing else',
  )
})

test('the local copy is the stored one, and only root can read it', async () => {
  const { lab } = own()
  const manifest = await newest()
  const { stdout } = await atConsole(
    lab.hosts,
    manifest.source.node,
    `stat -c '%U:%G %a %F' ${BACKUPS} ${BACKUPS}/*; ls -A ${BACKUPS} | wc -l; cat ${BACKUPS}/*.db | sha256sum`,
  )
  assert.deepEqual(stdout.trimEnd().split('\n'), [
    'root:root 700 directory',
    'root:root 600 regular file',
    '1',
    `${manifest.sha256}  -`,
  ])
})

test('a follower is the source, not the leader', async () => {
  const { operator } = own()
  const verdict = proved(await operator.backup())
  assert.notEqual(verdict.source, await leader())
  assert.deepEqual(verdict.warnings, [])
})

test('with a node that nobody reaches another one serves, and the verdict warns', async (t) => {
  const { lab, operator } = own()
  const usual = proved(await operator.backup()).source
  const cut = findFault('cut-network')
  await cut.inject(lab.hosts, usual)
  try {
    const began = performance.now()
    const verdict = proved(await operator.backup())
    t.diagnostic(`with ${usual} cut off: ${((performance.now() - began) / 1000).toFixed(1)} s`)
    assert.notEqual(verdict.source, usual)
    assert.equal(verdict.warnings.length, 1)
    assert.match(verdict.warnings[0] ?? '', new RegExp(`^${usual} could not be reached: .`))
  } finally {
    await cut.mend?.(lab.hosts, usual)
  }
})

test('without quorum there is no source, and the failure names each node with its reason', async (t) => {
  const { lab, operator } = own()
  await wakeUp(lab)
  const before = await bucket.keys('')
  const stop = findFault('stop-etcd')
  const [first, ...others] = lab.hosts.hosts.map((host) => host.name)
  await Promise.all(others.map((host) => stop.inject(lab.hosts, host)))
  try {
    const began = performance.now()
    const failure = refusal(await operator.backup(), 'no-source')
    t.diagnostic(`refused after ${((performance.now() - began) / 1000).toFixed(1)} s: ${failure}`)
    for (const host of [first ?? '', ...others]) assert.match(failure, new RegExp(`${host}: .`))
    assert.deepEqual(await bucket.keys(''), before)
  } finally {
    await Promise.all(others.map(async (host) => stop.mend?.(lab.hosts, host)))
    await wakeUp(lab)
  }
})

test('a node that a recovery holds refuses the backup, before anything is saved', async () => {
  const { lab, operator } = own()
  const [, held = ''] = lab.hosts.hosts.map((host) => host.name)
  const lock = '/var/lib/requorum/lock'
  await atConsole(
    lab.hosts,
    held,
    `mkdir -p -m 700 /var/lib/requorum; printf 'recovery/x/1\\n2026-01-01T00:00:00Z\\n' >${lock}`,
  )
  try {
    const copies = await localCopies()
    const failure = refusal(await operator.backup(), 'recovery-running')
    assert.match(failure, new RegExp(held))
    assert.match(failure, /recovery\/x\/1/)
    assert.deepEqual(await localCopies(), copies)
  } finally {
    await atConsole(lab.hosts, held, `rm -f ${lock}`)
  }
})

test('a worker killed between store and commit: no backup is listed until the next worker has committed it', async () => {
  const { lab } = own()
  const door = await StoreDoor.before(lab)
  try {
    const listed = await catalogued()
    const commit = door.hold('request', (method, path) => method === 'PUT' && path.includes('.json'))
    const run = await startBackup(own())
    await commit.arrived
    await killWorker(lab.dir)
    commit.drop()
    const object = (await bucket.keys('daily/')).filter((key) => key.endsWith('.db') && !listed.includes(key))
    assert.equal(object.length, 1, 'the object is there')
    assert.deepEqual(await catalogued(), listed, 'and is no backup')
    await startWorker(lab.dir, () => undefined)
    const verdict = proved(await run.ended)
    assert.deepEqual([verdict.key], object)
    assert.deepEqual(await catalogued(), [verdict.key, ...listed])
    assert.deepEqual(await versionsOf(verdict.key), [verdict.versionId])
    assert.equal((await versionsOf(verdict.key.replace('.db', '.json'))).length, 1)
  } finally {
    await startWorker(lab.dir, () => undefined)
    await door.close()
  }
})

test('a worker killed before it heard that the object is stored: the next one knows it by its checksum, and stores no other', async () => {
  const { lab } = own()
  const door = await StoreDoor.before(lab)
  try {
    const listed = await catalogued()
    const stored = door.hold('answer', (method, path) => method === 'PUT' && path.includes('.db'))
    const run = await startBackup(own())
    await stored.arrived
    await killWorker(lab.dir)
    stored.drop()
    assert.deepEqual(await catalogued(), listed)
    await startWorker(lab.dir, () => undefined)
    const verdict = proved(await run.ended)
    assert.deepEqual(await versionsOf(verdict.key), [verdict.versionId])
    assert.deepEqual(await catalogued(), [verdict.key, ...listed])
  } finally {
    await startWorker(lab.dir, () => undefined)
    await door.close()
  }
})

test('local copies are pruned to the newest few, and never one that the store does not hold; a save that lost its node goes', async () => {
  const { lab, operator } = own()
  const putBack = await editClusterFile(lab, (file) => (file['backup'] = { keepLocal: 2 }))
  const unproved = 'snapshot-20200102T030405Z.db'
  const ofNow = '.snapshot-20200102T040000Z.db.partial.part'
  try {
    await everyHost(lab, (host) =>
      atConsole(
        lab.hosts,
        host,
        `umask 077; mkdir -p ${BACKUPS}; rm -f ${BACKUPS}/*
        echo not stored >${BACKUPS}/${unproved}; echo mine >${BACKUPS}/notes.txt
        touch -d '2 days ago' ${BACKUPS}/.${unproved}.partial.part; echo a save >${BACKUPS}/${ofNow}`,
      ),
    )
    const copies = new Map<string, string[]>()
    for (;;) {
      const { source, key, pruned } = proved(await operator.backup())
      // Another leader can make another node the source: one of them serves three times in the end.
      const mine = [...(copies.get(source) ?? []), key.slice('daily/'.length)]
      copies.set(source, mine)
      assert.deepEqual(pruned, mine.slice(0, -2).slice(-1))
      const { stdout } = await atConsole(lab.hosts, source, `ls -A ${BACKUPS}`)
      assert.deepEqual(
        stdout.trimEnd().split('\n').sort(),
        [ofNow, 'notes.txt', unproved, ...mine.slice(-2)].sort(),
      )
      if (mine.length === 3) break
    }
  } finally {
    await everyHost(lab, (host) =>
      atConsole(
        lab.hosts,
        host,
        // A node that served nobody has its lost save still.
        `cd ${BACKUPS} && rm -f ${unproved} notes.txt ${ofNow} .${unproved}.partial.part`,
      ),
    )
    await putBack()
  }
})

test('a cluster that lost most of its keys: the snapshot goes to quarantine, the good ones stay, the next good one is fine', async () => {
  const { lab, operator } = own()
  proved(await operator.backup())
  const daily = await bucket.keys('daily/')
  await etcd('/v3/kv/deleterange', { key: 'AA==', range_end: 'AA==' })
  const failure = refusal(await operator.backup(), 'snapshot-implausible')
  assert.match(failure, /keys/)
  assert.deepEqual(await bucket.keys('daily/'), daily)
  const [snapshot = '', reasons = '', ...rest] = await bucket.keys('quarantine/')
  assert.match(snapshot, /^quarantine\/snapshot-\d{8}T\d{6}Z\.db$/)
  assert.equal(reasons, snapshot.replace('.db', '.reasons.json'))
  assert.deepEqual(rest, [])
  assert.match((await bucket.get(reasons)).toString('utf8'), /keys where \d+ are usual/)

  await seedKeyspace(lab.hosts, { keys: 600, seed: 2 })
  const verdict = proved(await operator.backup())
  assert.ok((await bucket.keys('daily/')).includes(verdict.key))
})

test('a cluster whose history was compacted holds fewer revisions and as many keys: that is plausible', async () => {
  const { lab, operator } = own()
  const { keys, revision } = await readAll(lab.hosts)
  for (let version = 0; version < 30; version++) {
    const success = keys.slice(0, 120).map(({ key }) => ({ request_put: { key, value: 'AA==' } }))
    await etcd('/v3/kv/txn', { success })
  }
  const long = proved(await operator.backup())
  await etcd('/v3/kv/compaction', { revision: String(revision + 29n), physical: true })
  const short = proved(await operator.backup())
  assert.ok(short.totalKeys < long.totalKeys, `${short.totalKeys} entries after ${long.totalKeys}`)
})

test('runs of backups by hand leave no step, partial file or scratch directory at work on any node', async () => {
  const { lab } = own()
  const left = await everyHost(lab, async (host) => {
    const { stdout } = await atConsole(
      lab.hosts,
      host,
      `systemctl list-units --no-legend --plain 'requorum-*'; find /run -name 'requorum-inventory*'; find ${BACKUPS} -name '*.part*' 2>/dev/null || true`,
    )
    return stdout.trim()
  })
  assert.deepEqual(left, ['', '', ''])
})

async function catalogued(): Promise<string[]> {
  const { lab } = own()
  const { proved: found } = await openCatalogue(lab.dir, lab.name)
  return found.map((snapshot) => snapshot.key)
}

async function newest(): Promise<SnapshotManifest> {
  const keys = (await bucket.keys('daily/')).filter((key) => key.endsWith('.db'))
  return bucket.manifest(keys.at(-1) ?? '')
}

async function versionsOf(key: string): Promise<string[]> {
  return (await bucket.versions(key)).map(({ versionId }) => versionId)
}

function localCopies(): Promise<string[]> {
  const { lab } = own()
  return everyHost(lab, async (host) => {
    const { stdout } = await atConsole(lab.hosts, host, `ls -A ${BACKUPS} 2>/dev/null || true`)
    return stdout
  })
}

async function etcd<Answer>(
  path: string,
  body: unknown,
  shape: z.ZodType<Answer> = z.any(),
): Promise<Answer> {
  const gateway = await EtcdGateway.connect(own().lab.hosts)
  try {
    return await gateway.call(path, body, shape)
  } finally {
    gateway.close()
  }
}

async function leader(): Promise<string> {
  const status = await etcd('/v3/maintenance/status', {}, z.looseObject({ leader: z.string() }))
  const { members } = await etcd('/v3/cluster/member/list', {}, memberList)
  return members.find((member) => member.ID === status.leader)?.name ?? 'nobody'
}

async function membersThere(): Promise<unknown> {
  const shape = memberList.extend({ header: z.looseObject({ cluster_id: z.string() }) })
  const { header, members } = await etcd('/v3/cluster/member/list', {}, shape)
  return {
    clusterId: hex(header.cluster_id),
    members: members.map((member) => `${hex(member.ID)} ${member.name} ${member.peerURLs.join()}`).sort(),
  }
}

async function membersSaid({ etcd: said, source }: SnapshotManifest): Promise<unknown> {
  const own = said.members.find((member) => member.id === source.memberId)
  assert.equal(own?.name, source.node)
  return {
    clusterId: said.clusterId,
    members: said.members.map((member) => `${member.id} ${member.name} ${member.peerUrls.join()}`).sort(),
  }
}

function hex(decimal: string): string {
  return BigInt(decimal).toString(16).padStart(16, '0')
}

/** As the inventory counts: all keys, those on leases, and those of each kind of Kubernetes object. */
function countOf({ keys }: WholeKeyspace): { keys: number; leased: number; kinds: Record<string, number> } {
  const kinds: Record<string, number> = {}
  for (const { key } of keys) {
    const [, registry, resource = '', next = ''] = Buffer.from(key, 'base64').toString('utf8').split('/')
    if (registry !== 'registry') continue
    const kind = resource === 'services' || resource.includes('.') ? `${resource}/${next}` : resource
    kinds[kind] = (kinds[kind] ?? 0) + 1
  }
  return { keys: keys.length, leased: keys.filter(({ lease }) => lease !== '0').length, kinds }
}
