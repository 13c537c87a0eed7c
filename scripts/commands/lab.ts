import { Option, type Command } from 'commander'
import { closestName } from '../../domain/closest-name.ts'
import { RequorumError } from '../../domain/failures.ts'
import { humanSeconds } from '../../domain/progress.ts'
import type { LabStatus } from '../../lab/lab.ts'
import { runSetUp } from '../setup/run-set-up.ts'
import { facts, table } from '../terminal/table.ts'
import { examples, missing, type Act, type Call, type Outcome } from './command.ts'

const DEFAULT_LAB = 'lab'

/** Loaded when it is asked for: production has no lab, and the help should not wait for one. */
const load = () => import('../../lab/lab.ts')

export function registerLab(program: Command, act: Act): void {
  const lab = program
    .command('lab')
    .description('three real hosts with a real etcd, store and engine on this machine; needs root')
  const verb = (name: string, about: string): Command =>
    lab.command(name).description(about).option('--name <name>', 'which lab', DEFAULT_LAB)

  const up = verb('up', 'bring it up, or find it running').addOption(
    new Option(
      '--profile <profile>',
      'etcd: a real etcd with a stand-in for the kubelet; kubeadm: a whole control plane',
    )
      .choices(['etcd', 'kubeadm'])
      .default('etcd'),
  )
  up.addOption(
    new Option(
      '--etcd <line>',
      'which etcd, with the profile etcd; 3.6 is built from source, once (3.5)',
    ).choices(['3.5', '3.6']),
  )
  up.option(
    '--join',
    "members join one by one as kubeadm's do, instead of starting all from an empty snapshot",
  )
  act(examples(up, ['sudo requorum lab up', 'sudo requorum lab up --profile kubeadm']), labUp)
  act(examples(verb('down', 'take it down; nothing of it is left'), ['sudo requorum lab down']), labDown)
  act(examples(verb('status', 'its hosts and services'), ['sudo requorum lab status']), labStatus)

  const shell = verb('shell', 'a root shell on one of its hosts').argument('<host>')
  act(examples(shell, ['sudo requorum lab shell cp-01']), labShell)

  const breakIt = verb('break', 'break something on purpose; without a fault, list what can be broken')
    .argument('[fault]')
    .argument('[host]', 'the host that it happens to; the first one when none is named')
  act(examples(breakIt, ['requorum lab break', 'sudo requorum lab break wipe-data cp-02']), labBreak)
}

async function labUp(call: Call): Promise<Outcome> {
  const lab = await load()
  const startedAt = Date.now()
  const profile = call.text('profile') === 'kubeadm' ? 'kubeadm' : 'etcd'
  // The first time it builds Kubernetes, for minutes, and shows how far it is.
  if (profile === 'kubeadm') await runSetUp('kubeadm', 'stderr')
  const etcd = call.text('etcd') === '3.6' ? '3.6' : '3.5'
  if (etcd === '3.6' && profile === 'kubeadm') throw noKubernetesWith(etcd)
  if (etcd === '3.6') await runSetUp('etcd-3.6', 'stderr')
  await lab.labUp({
    name: labName(call),
    profile,
    etcd,
    joinOneByOne: call.flag('join'),
    say: (line) => call.say(line),
  })
  const took = humanSeconds((Date.now() - startedAt) / 1_000)
  const status = await lab.labStatus(labName(call))
  if (status === undefined) throw noLab(labName(call))
  return {
    exit: 'done',
    text: `\n${labText(status)}\n\nUp after ${took}. Try: requorum status`,
    json: status,
  }
}

async function labDown(call: Call): Promise<Outcome> {
  const lab = await load()
  await lab.labDown({ name: labName(call), say: (line) => call.say(line) })
  return {
    exit: 'done',
    text: `The lab "${labName(call)}" is down.`,
    json: { name: labName(call), running: false },
  }
}

async function labStatus(call: Call): Promise<Outcome> {
  const lab = await load()
  const name = labName(call)
  const status = await lab.labStatus(name)
  return status === undefined
    ? {
        exit: 'done',
        text: `The lab "${name}" is down. Bring it up: requorum lab up`,
        json: { name, running: false },
      }
    : { exit: 'done', text: labText(status), json: { running: true, ...status } }
}

async function labShell(call: Call): Promise<Outcome> {
  const [host] = call.args
  if (host === undefined) throw missing('the host')
  const lab = await load()
  const code = await lab.labShell(host, labName(call))
  return { exit: { code }, text: '', json: { host, exitCode: code } }
}

async function labBreak(call: Call): Promise<Outcome> {
  const lab = await load()
  const [fault, host] = call.args
  const names = lab.faultNames()
  if (fault === undefined) {
    const about = new Map(lab.FAULTS.map(({ name, describe }) => [name, describe]))
    const rows = names.map((name) => [
      name,
      about.get(name) ?? 'Every member but one is wiped, the last is damaged, under load',
    ])
    return {
      exit: 'done',
      text: table(['FAULT', 'WHAT BREAKS'], rows).join('\n'),
      json: { faults: rows.map(([name, what]) => ({ name, breaks: what })) },
    }
  }
  if (!names.includes(fault)) throw unknownFault(fault, names)
  const { host: hit, destroyed } = await lab.labBreak(fault, host, labName(call))
  const what =
    destroyed === null
      ? `${fault} happened to ${hit}.`
      : `Quorum is lost: ${destroyed.wiped.join(' and ')} wiped, ${destroyed.damaged} damaged.`
  return {
    exit: 'done',
    text: `${what}\nSee what is the matter: requorum diagnose ${labName(call)}`,
    json: {
      fault,
      host: hit,
      destroyed:
        destroyed === null ? null : { damaged: destroyed.damaged, wiped: destroyed.wiped, at: destroyed.at },
    },
  }
}

function noKubernetesWith(etcd: string): RequorumError {
  return new RequorumError('input-invalid', {
    what: `The profile kubeadm has no etcd ${etcd}.`,
    why: 'Its Kubernetes goes with etcd 3.5.',
    todo: `Leave one of them away: requorum lab up --etcd ${etcd}, or requorum lab up --profile kubeadm`,
  })
}

function unknownFault(fault: string, names: readonly string[]): RequorumError {
  const near = closestName(fault, names)
  return new RequorumError('input-invalid', {
    what: `The lab knows no fault "${fault.slice(0, 60)}".`,
    why: `It knows ${names.join(', ')}.`,
    todo: near === null ? 'See what each does with `requorum lab break`.' : `Did you mean ${near}?`,
  })
}

function noLab(name: string): RequorumError {
  return new RequorumError('unexpected', {
    what: `The lab "${name}" came up and is not there any more.`,
    todo: 'Bring it up again: `requorum lab up`.',
  })
}

function labName(call: Call): string {
  return call.text('name') ?? DEFAULT_LAB
}

function labText(status: LabStatus): string {
  return [
    ...facts([
      ['lab', `${status.name}, ${status.dir}`],
      ['engine', status.engine === null ? 'down' : `${status.engine}, UI ${status.ui ?? 'unknown'}`],
      ['worker', status.worker === null ? 'down' : `pid ${status.worker}`],
      ['store', status.store ?? 'down'],
      [
        'temporal',
        `${status.temporal} (the CLI${status.engine === null ? '' : `; add --address ${status.engine}`})`,
      ],
    ]),
    '',
    ...table(
      ['HOST', 'ADDRESS', 'POWER', 'SSH', 'ETCD', 'DISK'],
      status.hosts.map(({ name, address, power, ssh, etcd, disk }) => [
        name,
        address,
        power,
        ssh,
        etcd,
        disk,
      ]),
    ),
  ].join('\n')
}
