import assert from 'node:assert/strict'
import { test } from 'node:test'
import { RequorumError } from '../../domain/failures.ts'
import { attestationKey, attestationSchema, type Attestation } from '../../domain/rehearsal.ts'
import { readAttestations, readFreshness } from '../../systems/object-store/attestations.ts'
import { createManifestTrust } from '../../systems/identity/manifest-trust.ts'
import type { ObjectStore } from '../../systems/object-store/object-store.ts'
import { clusterConfig } from './examples.ts'

const KEY = 'daily/snapshot-20261122T000000Z.db'
const OLD_MANIFEST = 'daily/snapshot-20261001T000000Z.json'
const { cluster } = clusterConfig({})

test('an attestation that can not be read hides no other', async () => {
  const [good, bad] = [attestation('2026-11-22T01:00:00Z'), attestation('2026-11-22T02:00:00Z')]
  const read = await readAttestations(store([good, bad], [attestationKey(bad)]), cluster, '')
  assert.deepEqual(read, [good])
})

test('a store that gives none of its attestations does not say that nothing was rehearsed', async () => {
  const one = attestation('2026-11-22T01:00:00Z')
  await assert.rejects(readAttestations(store([one], [attestationKey(one)]), cluster, ''), {
    code: 'store-unreachable',
  })
})

test('how long a cluster has had snapshots is said by the oldest name that is there', async () => {
  const seen = await readFreshness(store([], [OLD_MANIFEST]), clusterConfig({}), {
    now: new Date(),
    trust,
  }).catch((error: unknown) => error)
  assert.ok(seen instanceof RequorumError, 'of no manifest it knows whether it is proved')
  const young = store([], [])
  const read = await readFreshness(young, clusterConfig({}), { now: new Date(), trust })
  assert.equal(read.oldestTakenAt, '2026-10-01T00:00:00Z')
})

const trust = createManifestTrust({ key: null, signers: null })

/** Holds these attestations and one manifest that is none, and is silent about some keys. */
function store(attestations: readonly Attestation[], silent: readonly string[]): ObjectStore {
  const objects = new Map([
    [OLD_MANIFEST, '{}'],
    ...attestations.map((one) => [attestationKey(one), JSON.stringify(one)] as const),
  ])
  const never = (): never => {
    throw new Error('it only reads')
  }
  return {
    ...{ put: never, putText: never, head: never, open: never, check: never },
    ...{
      putParts: never,
      abandonParts: never,
      putBy: never,
      getBy: never,
      copy: never,
      tag: never,
      tags: never,
    },
    async *versions(prefix) {
      for (const key of objects.keys()) {
        if (key.startsWith(prefix))
          yield await Promise.resolve({
            ...{ key, versionId: '1', sizeBytes: 1, modifiedAt: '2026-11-22T00:00:00Z' },
            ...{ isLatest: true, deleteMarker: false },
          })
      }
    },
    readText: (key) =>
      silent.includes(key)
        ? Promise.reject(new RequorumError('store-unreachable', { what: 'silence', todo: 'wait' }))
        : Promise.resolve(objects.get(key) ?? ''),
  }
}

function attestation(rehearsedAt: string): Attestation {
  return attestationSchema.parse({
    ...{ version: 1, cluster, key: KEY, versionId: '1', sha256: 'a'.repeat(64) },
    ...{ rehearsedAt, outcome: 'restored', etcdVersion: '3.5.16', revision: '9' },
    ...{ checks: [], seconds: { restored: 1, served: 1 } },
  })
}
