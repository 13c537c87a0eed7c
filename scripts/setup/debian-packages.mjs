import { existsSync, rmSync, writeFileSync } from 'node:fs'
import { findCommand, looksOffline, runChild, tail } from './child.mjs'
import { SetupFailure } from './failure.mjs'

/** Each command that the lab calls, and the Debian package that has it. */
const PACKAGE_OF = {
  python3: 'python3',
  openssl: 'openssl',
  ssh: 'openssh-client',
  'ssh-keygen': 'openssh-client',
  ip: 'iproute2',
  nsenter: 'util-linux',
  'systemd-nspawn': 'systemd-container',
  mmdebstrap: 'mmdebstrap',
  'mkfs.ext4': 'e2fsprogs',
}

/**
 * What only tests call: a real sshd of their own on loopback, sudo's real refusals, what ends a step from outside, and what
 * packs a snapshot on a node.
 */
const TEST_PACKAGE_OF = { sshd: 'openssh-server', sudo: 'sudo', pkill: 'procps', zstd: 'zstd' }

/** What only the tests outside CI call: the real Prometheus for the alert rules, AWS's own command for the store's rights. */
const LAB_TEST_PACKAGE_OF = { promtool: 'prometheus', prometheus: 'prometheus', aws: 'awscli' }

/** What only the kubeadm profile calls: images are packed from binaries. */
const KUBEADM_PACKAGE_OF = { umoci: 'umoci' }

/**
 * Packages whose command is missing here.
 * @param {readonly string[]} purposes
 */
export function missingPackages(purposes) {
  const needed = {
    ...PACKAGE_OF,
    ...(purposes.includes('test') ? TEST_PACKAGE_OF : {}),
    ...(purposes.includes('test-lab') ? LAB_TEST_PACKAGE_OF : {}),
    ...(purposes.includes('build') ? KUBEADM_PACKAGE_OF : {}),
  }
  const missing = Object.keys(needed).filter((command) => findCommand(command) === undefined)
  return [...new Set(missing.map((command) => needed[command]))]
}

const START_POLICY = '/usr/sbin/policy-rc.d'

/**
 * Does the work while packages can't start services: a person who runs the tests did not ask for an sshd on
 * port 22. A policy that the machine has already is left as it is.
 */
async function withoutStartingServices(work) {
  if (existsSync(START_POLICY)) return work()
  writeFileSync(START_POLICY, '#!/bin/sh\nexit 101\n', { mode: 0o755 })
  try {
    return await work()
  } finally {
    rmSync(START_POLICY, { force: true })
  }
}

/**
 * Installs Debian packages with the machine's own apt.
 * @param {readonly string[]} packages
 * @param {import('./progress.mjs').Progress} progress
 */
export async function installPackages(packages, progress) {
  const env = { ...process.env, DEBIAN_FRONTEND: 'noninteractive', LC_ALL: 'C.UTF-8' }
  const onLine = (line) => progress.update(line)
  // Another apt may run just now (unattended upgrades on a fresh machine): wait for it.
  const patient = ['-o', 'DPkg::Lock::Timeout=300']
  // A foreign source that can't be reached fails the update although Debian's own came in: the
  // install decides.
  const update = await runChild('apt-get', [...patient, 'update'], { env, onLine })
  const install = await withoutStartingServices(() =>
    runChild('apt-get', [...patient, 'install', '--yes', '--no-install-recommends', ...packages], {
      env,
      onLine,
    }),
  )
  if (install.code === 0) return
  const offline = looksOffline(update.output) || looksOffline(install.output)
  throw new SetupFailure({
    what: `apt-get could not install ${packages.join(', ')}.`,
    why: offline ? `The package archive can't be reached.\n${tail(update.output, 3)}` : tail(install.output),
    todo: offline
      ? 'Check the network and the proxy settings of apt, then run the same command again.'
      : `Make this work by hand, then run the same command again: apt-get update && apt-get install ${packages.join(' ')}`,
  })
}
