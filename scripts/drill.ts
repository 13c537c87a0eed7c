#!/usr/bin/env node
import { parseArgs } from 'node:util'
import { LAB_PROFILES } from '../lab/hosts/lab-hosts.ts'
import { ETCD_LINES, wishedEtcd } from '../lab/parts/etcd.ts'
import { DRILLS, runDrill, type DrillOptions } from './drill/drill.ts'
import { runSetUp } from './setup/run-set-up.ts'

const HELP = `npm run drill [-- options]

Brings the lab up, takes a backup, breaks etcd under load and recovers it, with your consent. Ends with a report;
the last line is the verdict, and the exit code is 0 only if all of it is true.

  --runbook <r>   restore (default): the quorum is destroyed, and a snapshot restored.
                  replace: the leader is damaged, and replaced while writes go on; profile etcd only
  --profile <p>   etcd (default): three hosts with a real etcd and a stand-in for the kubelet, up in seconds.
                  kubeadm: a whole control plane with a workload; builds Kubernetes once, about 10 minutes
  --etcd <line>   3.5 (default), or 3.6, built from source once, about 2 minutes; profile etcd only
  --approve       approve each checkpoint by the same Signal, after reading the plan back
  --kill-worker   SIGKILL the worker in the middle of the restore and start it again
  --down          take the lab down at the end; by default it stays up to be looked at
  --record        write the report to docs/results
  --help

  npm run drill -- --approve`

class UsageError extends Error {}

/** @returns null when the help is all that was wanted. */
function readOptions(): DrillOptions | null {
  const { values } = parse()
  if (values.help) return null
  const runbook = oneOf(DRILLS, values.runbook, 'drill')
  const profile = oneOf(LAB_PROFILES, values.profile, 'profile')
  const etcd = oneOf(ETCD_LINES, values.etcd, 'etcd')
  if (profile === 'kubeadm' && runbook === 'replace')
    throw new UsageError(
      'The drill of a replacement writes into etcd as no API server would: profile etcd only.',
    )
  if (profile === 'kubeadm' && etcd !== '3.5')
    throw new UsageError(`The profile kubeadm has etcd 3.5, and no ${etcd}.`)
  const { approve, 'kill-worker': killWorker, down, record } = values
  return { runbook, profile, etcd, approve, killWorker, down, record }
}

function parse() {
  try {
    return parseArgs({
      options: {
        runbook: { type: 'string', default: 'restore' },
        profile: { type: 'string', default: 'etcd' },
        etcd: { type: 'string', default: wishedEtcd() },
        approve: { type: 'boolean', default: false },
        'kill-worker': { type: 'boolean', default: false },
        down: { type: 'boolean', default: false },
        record: { type: 'boolean', default: false },
        help: { type: 'boolean', default: false },
      },
    })
  } catch (error) {
    throw new UsageError(error instanceof Error ? error.message : String(error))
  }
}

function oneOf<Name extends string>(names: readonly Name[], given: string, what: string): Name {
  const found = names.find((name) => name === given)
  if (found === undefined)
    throw new UsageError(`There is no ${what} "${given}"; there is ${names.join(', ')}.`)
  return found
}

try {
  const options = readOptions()
  if (options === null) console.log(HELP)
  else {
    if (options.profile === 'kubeadm') await runSetUp('kubeadm')
    if (options.etcd === '3.6') await runSetUp('etcd-3.6')
    process.exitCode = await runDrill(options)
  }
} catch (error) {
  const usage = error instanceof UsageError
  console.error(error instanceof Error ? error.message : error)
  console[usage ? 'error' : 'log'](usage ? `\n${HELP}` : 'DRILL FAILED')
  process.exitCode = usage ? 2 : 1
}
