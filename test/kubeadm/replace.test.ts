/** One member of a control plane that kubeadm made is broken, and replaced by the command while its API servers serve. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'
import { recoveryWorkflowId } from '../../domain/messages.ts'
import type { ReplaceVerdict } from '../../domain/verdict.ts'
import { readEtcdFlags } from '../../domain/etcd-manifest.ts'
import { atConsole } from '../../lab/hosts/console.ts'
import { kubectl } from '../../lab/hosts/kubeadm/workload.ts'
import { endOf } from '../../lab/operator.ts'
import { requorum } from '../lab/command.ts'
import { ALL_VOTE, inject, members, until } from '../lab/members.ts'
import { fileText } from '../lab/recoveries.ts'
import { sharedLab } from './shared-lab.ts'

const own = sharedLab()

test('a broken member of a real control plane is found and replaced by the command, and all is validated', async (t) => {
  const { lab, operator } = own()
  const host = 'cp-03'
  // A busy machine's API server may drop a connection; that is not what is tried here.
  await until('a ConfigMap', async () => {
    const found = ['get', 'configmap', 'before-the-replacement', '--ignore-not-found', '--output=name']
    if ((await kubectl(lab.hosts, found)) === '')
      await kubectl(lab.hosts, ['create', 'configmap', 'before-the-replacement'])
    return true
  })
  await inject(lab, 'corrupt-database', host)

  // A real kubelet takes its time between the starts of what crashes: only last words prove that data is lost.
  let started = await requorum(lab, 'replace', lab.name)
  for (
    let tries = 0;
    started.code !== 0 && /nothing-to-replace|No member of/.test(started.error + started.out);
    tries += 1
  ) {
    assert.ok(tries < 6, started.error + started.out)
    await sleep(20_000)
    started = await requorum(lab, 'replace', lab.name)
  }
  const waiting = await operator.untilCheckpoint('replace')
  assert.ok(waiting, started.error + started.out)
  assert.match(waiting.shows, /Replaces the etcd member of cp-03/)
  const approved = await requorum(lab, 'approve', lab.name, '--plan', waiting.plan)
  assert.equal(approved.code, 0, approved.error + approved.out)

  const ended = await endOf<ReplaceVerdict>(operator.client.workflow.getHandle(recoveryWorkflowId(lab.name)))
  assert.ok('verdict' in ended, JSON.stringify(ended))
  const { verdict } = ended
  t.diagnostic(verdict.steps.map(({ title, seconds }) => `${title} ${seconds} s`).join('; '))
  assert.equal(verdict.outcome, 'replaced')
  assert.deepEqual(
    verdict.checks.filter((one) => one.verdict === 'fail'),
    [],
  )
  const canary = verdict.checks.find(({ name }) => name === 'canary')
  assert.equal(canary?.verdict, 'pass', canary?.evidence)
  assert.deepEqual(await members(lab), ALL_VOTE)
  const flags = readEtcdFlags(await fileText(lab, host, '/etc/kubernetes/manifests/etcd.yaml'))
  assert.equal(flags.initialClusterState, 'existing')
  // Its own API server serves what was written before, from the new member.
  const { stdout } = await atConsole(
    lab.hosts,
    host,
    'kubectl --kubeconfig /etc/kubernetes/admin.conf --server "https://$1:6443" get configmap before-the-replacement --output=name',
    [lab.hosts.hosts.find(({ name }) => name === host)?.address ?? ''],
  )
  assert.equal(stdout.trim(), 'configmap/before-the-replacement')
  await kubectl(lab.hosts, ['delete', 'configmap', 'before-the-replacement'])
  await atConsole(lab.hosts, host, 'rm -rf /var/lib/etcd.corrupt.*')
})
