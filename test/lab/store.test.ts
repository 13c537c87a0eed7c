/** Which snapshot a restore takes when the newest one was harmed in the store, and what it says about it. */
import assert from 'node:assert/strict'
import { after, before, describe, test } from 'node:test'
import type { SnapshotManifest } from '../../domain/snapshot.ts'
import { createHash } from 'node:crypto'
import { sha256 } from '../../domain/values.ts'
import { destroyQuorum } from '../../lab/hosts/destroy-quorum.ts'
import { startStore } from '../../lab/services/store.ts'
import { proved, refusal } from './backup-runs.ts'
import { BucketAdmin } from './bucket-admin.ts'
import { controlPlaneFiles, everyHost, standStill, useLab, wakeUp } from './use-lab.ts'

const own = useLab({ keys: 400 })
let bucket: BucketAdmin
/** Oldest first. */
const taken: SnapshotManifest[] = []

/** A way of harm to the newest snapshot, given its content as it was. */
interface Harm {
  readonly name: string
  readonly harm: (newest: SnapshotManifest, content: Buffer) => Promise<void>
  /** What the restore says of the newest one; null when it is to be taken all the same. */
  readonly says: RegExp | null
}

const HARMS: readonly Harm[] = [
  {
    name: 'one byte flipped, the manifest fitted to it: only the content itself can tell',
    harm: async (newest, content) => {
      const flipped = flip(content)
      const versionId = await replace(newest.key, flipped, true)
      await rewriteManifest({ ...newest, versionId, sha256: digestOf(flipped) })
    },
    says: /isn't a whole snapshot|trailer|SHA-256/,
  },
  {
    name: "one byte flipped, and the store's checksum is not the manifest's",
    harm: async (newest, content) => {
      const versionId = await replace(newest.key, flip(content), true)
      await rewriteManifest({ ...newest, versionId })
    },
    says: /SHA-256/,
  },
  {
    name: 'one byte flipped, and the store tells no checksum',
    harm: async (newest, content) => {
      const versionId = await replace(newest.key, flip(content), false)
      await rewriteManifest({ ...newest, versionId })
    },
    says: /SHA-256/,
  },
  {
    name: 'one byte flipped in a new version, the pinned one removed',
    harm: async (newest, content) => {
      await replace(newest.key, flip(content), true)
    },
    says: /is gone from the store/,
  },
  {
    name: 'truncated',
    harm: async (newest, content) => {
      const versionId = await replace(newest.key, content.subarray(0, content.length / 2), true)
      await rewriteManifest({ ...newest, versionId })
    },
    says: /the store holds \d+ bytes, the manifest says \d+/,
  },
  {
    name: 'truncated, the manifest fitted to it',
    harm: async (newest, content) => {
      const half = content.subarray(0, content.length / 2)
      const versionId = await replace(newest.key, half, true)
      await rewriteManifest({ ...newest, versionId, sha256: digestOf(half), sizeBytes: half.length })
    },
    says: /isn't a whole snapshot|trailer/,
  },
  {
    name: 'empty',
    harm: async (newest) => {
      const versionId = await replace(newest.key, Buffer.alloc(0), true)
      await rewriteManifest({ ...newest, versionId })
    },
    says: /the store holds 0 bytes/,
  },
  {
    name: 'its object hidden by a delete marker',
    harm: (newest) => bucket.hide(newest.key),
    says: null,
  },
  {
    name: 'its manifest hidden by a delete marker',
    harm: (newest) => bucket.hide(manifestKey(newest)),
    says: null,
  },
  {
    name: 'object and manifest hidden by delete markers, the older pair too',
    harm: async (newest) => {
      for (const { key } of [newest, ...taken]) {
        await bucket.hide(key)
        await bucket.hide(key.replace('.db', '.json'))
      }
    },
    says: null,
  },
  {
    name: 'overwritten by somebody: the pinned version is below a newer one',
    harm: async (newest) => {
      await bucket.put(newest.key, Buffer.from('not a snapshot'), { checksum: true })
    },
    says: null,
  },
]

test('three backups are in the store before anything is harmed', async () => {
  const { lab, operator } = own()
  bucket = await BucketAdmin.of(lab)
  for (let count = 0; count < 3; count++) {
    const { key } = proved(await operator.backup())
    taken.push(await bucket.manifest(key))
  }
})

describe('the newest snapshot harmed in the store', () => {
  before(async () => {
    await standStill(own().lab)
  })
  after(async () => {
    await wakeUp(own().lab)
  })

  for (const { name, harm, says } of HARMS) {
    test(`${name}: the restore ${says === null ? 'still takes it' : 'says so and takes the one before'}`, async (t) => {
      const [before, newest] = taken.slice(-2)
      assert.ok(before && newest)
      const content = await bucket.get(newest.key, newest.versionId)
      await harm(newest, content)
      try {
        const began = performance.now()
        const { shows, verdict } = await planAndRefuse()
        t.diagnostic(`plan and refusal after ${((performance.now() - began) / 1000).toFixed(1)} s`)
        const right = says === null ? newest : before
        assert.ok(shows.includes(`from \`${right.key}\``), shows)
        assert.equal(verdict.candidate?.key, right.key)
        if (says === null) {
          assert.deepEqual(verdict.skippedCandidates, [])
          return
        }
        const said = verdict.skippedCandidates.find(({ key }) => samePair(key, newest))
        assert.match(said?.reason ?? 'nothing', says)
        assert.match(shows, new RegExp(`Not taken: \`${said?.key ?? ''}\`: .*(${says.source})`))
      } finally {
        await putBack(newest, content)
      }
    })
  }

  test('what others left below the prefix disturbs nothing, and what can be said about it is said', async () => {
    const newest = taken.at(-1)
    assert.ok(newest)
    const strangers: Record<string, string> = {
      'daily/README.txt': 'not ours',
      'daily/snapshot-20990101T000000Z.db': 'no manifest: never committed',
      'daily/snapshot-20990102T000000Z.json': '{"version":1,"cluster":"',
      'daily/snapshot-20990103T000000Z.json': JSON.stringify({ ...newest, cluster: 'somebody-elses' }),
      'daily/snapshot-20990104T000000Z.json': JSON.stringify({
        ...newest,
        key: 'daily/snapshot-20990104T000000Z.db',
        versionId: 'nope',
      }),
      'restores/scribble.json': 'not JSON',
      'monthly/whatever': 'x',
    }
    for (const [key, text] of Object.entries(strangers)) await bucket.put(key, Buffer.from(text))
    try {
      const { verdict } = await planAndRefuse()
      assert.equal(verdict.candidate?.key, newest.key)
      const said = verdict.skippedCandidates.map(({ key }) => key).sort()
      assert.deepEqual(said, [
        'daily/snapshot-20990102T000000Z.json',
        'daily/snapshot-20990103T000000Z.json',
        'daily/snapshot-20990104T000000Z.json',
      ])
    } finally {
      for (const key of Object.keys(strangers)) await bucket.removeAll(key)
    }
  })
})

test('the store is down: backup and restore say so within seconds, and nothing is changed', async (t) => {
  const { lab, operator } = own()
  await standStill(lab)
  const before = await everyHost(lab, (host) => controlPlaneFiles(lab, host))
  await lab.store.stopObjects()
  try {
    const began = performance.now()
    await operator.startRestore()
    const failure = refusal(await operator.result(), 'store-unreachable')
    const seconds = (performance.now() - began) / 1000
    t.diagnostic(`restore refused after ${seconds.toFixed(1)} s: ${failure}`)
    assert.ok(seconds < 60)
    assert.match(failure, new RegExp(lab.store.bucket))
    assert.deepEqual(await everyHost(lab, (host) => controlPlaneFiles(lab, host)), before)
  } finally {
    await startStore({ dir: `${lab.dir}/store`, say: () => undefined })
    await wakeUp(lab)
  }
})

test('the KMS denies its key: backup and restore say so within seconds, and nothing is changed', async (t) => {
  const { lab, operator } = own()
  const keys = await bucket.keys('')
  await lab.store.denyKms()
  try {
    let began = performance.now()
    const backup = refusal(await operator.backup(), 'store-unreachable')
    const backupSeconds = (performance.now() - began) / 1000
    assert.match(backup, /KMS/)

    await standStill(lab)
    const before = await everyHost(lab, (host) => controlPlaneFiles(lab, host))
    began = performance.now()
    await operator.startRestore()
    const restore = refusal(await operator.result(), 'store-unreachable')
    const restoreSeconds = (performance.now() - began) / 1000
    assert.match(restore, /KMS/)
    assert.deepEqual(await everyHost(lab, (host) => controlPlaneFiles(lab, host)), before)
    assert.deepEqual(await bucket.keys(''), keys)
    t.diagnostic(`backup refused after ${backupSeconds.toFixed(1)} s: ${backup}`)
    t.diagnostic(`restore refused after ${restoreSeconds.toFixed(1)} s: ${restore}`)
    assert.ok(backupSeconds < 60 && restoreSeconds < 60)
  } finally {
    await lab.store.allowKms()
    await wakeUp(lab)
  }
})

test('with the newest one harmed a restore goes through to its end from the one before', async (t) => {
  const { lab, operator } = own()
  const [before, newest] = taken.slice(-2)
  assert.ok(before && newest)
  const versionId = await replace(newest.key, flip(await bucket.get(newest.key, newest.versionId)), true)
  await rewriteManifest({ ...newest, versionId, sha256: digestOf(await bucket.get(newest.key, versionId)) })
  await destroyQuorum(lab.hosts)
  const began = performance.now()
  const ended = await operator.restoreAndApprove()
  t.diagnostic(`restore with a fall-back: ${((performance.now() - began) / 1000).toFixed(1)} s`)
  assert.ok('verdict' in ended, 'message' in ended ? ended.message : '')
  assert.equal(ended.verdict.outcome, 'restored')
  assert.equal(ended.verdict.candidate?.key, before.key)
  assert.deepEqual(
    ended.verdict.skippedCandidates.map(({ key }) => key),
    [newest.key],
  )
  assert.match(ended.verdict.freshBackup ?? ended.verdict.warnings.join(), /^daily\//)
  assert.deepEqual(
    ended.verdict.checks.filter((check) => check.verdict === 'fail'),
    [],
  )
})

/** Starts a restore, reads what it shows at the checkpoint, and refuses. */
async function planAndRefuse() {
  const { operator } = own()
  await operator.startRestore()
  const waiting = await operator.untilCheckpoint('destroy')
  if (waiting === undefined) {
    const ended = await operator.result()
    throw new Error(`No checkpoint: ${'message' in ended ? ended.message : ended.verdict.outcome}`)
  }
  await operator.decide(waiting, 'refuse')
  const ended = await operator.result()
  assert.ok('verdict' in ended)
  assert.equal(ended.verdict.outcome, 'refused')
  return { shows: waiting.shows, verdict: ended.verdict }
}

/** Another content under the key, the one version that it had removed. */
async function replace(key: string, content: Buffer, checksum: boolean): Promise<string> {
  await bucket.removeAll(key)
  return bucket.put(key, content, { checksum })
}

async function rewriteManifest(manifest: SnapshotManifest): Promise<void> {
  await bucket.removeAll(manifestKey(manifest))
  await bucket.put(manifestKey(manifest), Buffer.from(JSON.stringify(manifest)), { checksum: true })
}

/** Content and manifest as they were; the object has another version then, and the manifest says which. */
async function putBack(harmed: SnapshotManifest, content: Buffer): Promise<void> {
  for (const manifest of taken) {
    for (const key of [manifest.key, manifestKey(manifest)]) {
      for (const version of await bucket.versions(key)) {
        if (version.key === key && version.marker) await bucket.remove(key, version.versionId)
      }
    }
  }
  const whole: SnapshotManifest = { ...harmed, versionId: await replace(harmed.key, content, true) }
  await rewriteManifest(whole)
  taken[taken.findIndex(({ key }) => key === harmed.key)] = whole
}

function manifestKey({ key }: SnapshotManifest): string {
  return key.replace('.db', '.json')
}

function samePair(key: string, manifest: SnapshotManifest): boolean {
  return key === manifest.key || key === manifestKey(manifest)
}

function flip(content: Buffer): Buffer {
  const flipped = Buffer.from(content)
  const middle = Math.floor(flipped.length / 2)
  flipped[middle] = (flipped[middle] ?? 0) ^ 1
  return flipped
}

function digestOf(content: Buffer): SnapshotManifest['sha256'] {
  return sha256.parse(createHash('sha256').update(content).digest('hex'))
}
