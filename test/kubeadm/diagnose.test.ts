import assert from 'node:assert/strict'
import { test } from 'node:test'
import type { Diagnosis } from '../../domain/diagnosis.ts'
import { findFault } from '../../lab/hosts/faults.ts'
import { requorum } from '../lab/command.ts'
import { sharedLab } from './shared-lab.ts'

const own = sharedLab()

test('a control plane that is well is healthy', async () => {
  const diagnosis = await diagnose()
  assert.equal(diagnosis.kind, 'healthy', JSON.stringify(diagnosis, null, 2))
})

test('an API server that alone is ill: etcd is healthy, and the one API server is named', async () => {
  const { lab } = own()
  const fault = findFault('freeze-api-server')
  const available = await fault.available(lab.hosts)
  assert.ok(available.available, available.available ? '' : available.why)
  await fault.inject(lab.hosts, 'cp-02')
  try {
    const diagnosis = await diagnose()
    assert.equal(diagnosis.kind, 'hands-off', JSON.stringify(diagnosis, null, 2))
    assert.deepEqual(diagnosis.nodes, ['cp-02'])
    assert.match(diagnosis.summary, /etcd is healthy\. The API server on cp-02 alone is ill/)
  } finally {
    await fault.mend?.(lab.hosts, 'cp-02')
  }
})

async function diagnose(): Promise<Diagnosis> {
  const { lab } = own()
  const { code, out, error } = await requorum(lab, 'diagnose', lab.name, '--json')
  assert.equal(code, 0, error)
  // eslint-disable-next-line no-restricted-properties, @typescript-eslint/no-unsafe-assignment -- our own document, in which IDs are text
  const diagnosis: Diagnosis = JSON.parse(out)
  return diagnosis
}
