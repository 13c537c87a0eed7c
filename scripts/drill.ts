#!/usr/bin/env node
import { parseArgs } from 'node:util'
import { LAB_PROFILES } from '../lab/hosts/lab-hosts.ts'
import { DRILLS, runDrill } from './drill/drill.ts'
import { runSetUp } from './setup/run-set-up.ts'

const HELP = `npm run drill [-- options]

Brings the lab up, takes a backup, breaks etcd under load and recovers it, with your consent. Ends with a report;
the last line is the verdict, and the exit code is 0 only if all of it is true.

  --runbook <r>   restore (default): the quorum is destroyed, and a snapshot restored.
                  replace: the leader is damaged, and replaced while writes go on; profile etcd only
  --profile <p>   etcd (default): three hosts with a real etcd and a stand-in for the kubelet, up in seconds.
                  kubeadm: a whole control plane with a workload; builds Kubernetes once, about 10 minutes
  --approve       approve each checkpoint by the same Signal, after reading the plan back
  --kill-worker   SIGKILL the worker in the middle of the restore and start it again
  --down          take the lab down at the end; by default it stays up to be looked at
  --record        write the report to docs/results
  --help

  npm run drill -- --approve`

try {
  const { values } = parseArgs({
    options: {
      runbook: { type: 'string', default: 'restore' },
      profile: { type: 'string', default: 'etcd' },
      approve: { type: 'boolean', default: false },
      'kill-worker': { type: 'boolean', default: false },
      down: { type: 'boolean', default: false },
      record: { type: 'boolean', default: false },
      help: { type: 'boolean', default: false },
    },
  })
  const runbook = DRILLS.find((one) => one === values.runbook)
  const profile = LAB_PROFILES.find((one) => one === values.profile)
  if (values.help) console.log(HELP)
  else if (profile === undefined) {
    console.error(`There is no profile "${values.profile}". Profiles: ${LAB_PROFILES.join(', ')}.\n\n${HELP}`)
    process.exitCode = 2
  } else if (runbook === undefined || (runbook === 'replace' && profile !== 'etcd')) {
    console.error(
      runbook === undefined
        ? `There is no drill of "${values.runbook}". Drills: ${DRILLS.join(', ')}.\n\n${HELP}`
        : `The drill of a replacement writes to etcd itself, which API servers would not stand: it runs on the profile etcd only.\n\n${HELP}`,
    )
    process.exitCode = 2
  } else {
    if (profile === 'kubeadm') await runSetUp('kubeadm')
    process.exitCode = await runDrill({
      runbook,
      profile,
      approve: values.approve,
      killWorker: values['kill-worker'],
      down: values.down,
      record: values.record,
    })
  }
} catch (error) {
  console.error(error instanceof Error ? error.message : error)
  if (error instanceof TypeError && 'code' in error) console.error(`\n${HELP}`)
  console.log('DRILL FAILED')
  process.exitCode = 1
}
