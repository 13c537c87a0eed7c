#!/usr/bin/env node
import { parseArgs } from 'node:util'
import { LAB_PROFILES } from '../lab/hosts/lab-hosts.ts'
import { runDrill } from './drill/drill.ts'
import { runSetUp } from './setup/run-set-up.ts'

const HELP = `npm run drill [-- options]

Brings the lab up, takes a backup, destroys the quorum under load and restores it, with your consent. Ends with
a report; the last line is the verdict, and the exit code is 0 only if all of it is true.

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
      profile: { type: 'string', default: 'etcd' },
      approve: { type: 'boolean', default: false },
      'kill-worker': { type: 'boolean', default: false },
      down: { type: 'boolean', default: false },
      record: { type: 'boolean', default: false },
      help: { type: 'boolean', default: false },
    },
  })
  const profile = LAB_PROFILES.find((one) => one === values.profile)
  if (values.help) console.log(HELP)
  else if (profile === undefined) {
    console.error(`There is no profile "${values.profile}". Profiles: ${LAB_PROFILES.join(', ')}.\n\n${HELP}`)
    process.exitCode = 2
  } else {
    if (profile === 'kubeadm') await runSetUp('kubeadm')
    process.exitCode = await runDrill({
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
