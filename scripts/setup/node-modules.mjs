import { createHash } from 'node:crypto'
import { existsSync, readFileSync, writeFileSync } from 'node:fs'
import { delimiter, join } from 'node:path'
import { looksOffline, runChild, tail } from './child.mjs'
import { SetupFailure } from './failure.mjs'

/** About what `npm ci` writes into the project's node_modules. */
export const NODE_MODULES_BYTES = 700e6

/** The Node that the program runs with, brought in by npm. */
export function projectNode(root) {
  return join(root, 'node_modules/.bin/node')
}

/** Whether node_modules is what package-lock.json asks for, by the stamp of the last install. */
export function nodeModulesFresh(root) {
  const stamp = stampFile(root)
  return existsSync(projectNode(root)) && existsSync(stamp) && readFileSync(stamp, 'utf8') === wanted(root)
}

/**
 * Installs exactly what package-lock.json says.
 * @param {string} root
 * @param {import('./progress.mjs').Progress} progress
 */
export async function installNodeModules(root, progress) {
  const env = environmentForNpm(root)
  // Asks once and briefly: without it npm tries an unreachable registry for minutes.
  const ping = await runChild('npm', ['ping', '--fetch-retries=0', '--fetch-timeout=8000'], {
    cwd: root,
    env,
  })
  if (ping.code === 127) {
    throw new SetupFailure({
      what: 'npm is not there.',
      why: 'It is not on the PATH; Debian keeps it in a package of its own.',
      todo: 'Install npm (it comes with Node from most places; on Debian: apt-get install npm) and try again.',
    })
  }
  if (ping.code !== 0 && looksOffline(ping.output)) throw unreachable(ping.output)
  const install = await runChild('npm', ['ci', '--no-audit', '--no-fund'], {
    cwd: root,
    env,
    onLine: (line) => progress.update(line),
  })
  if (install.code !== 0) {
    if (looksOffline(install.output)) throw unreachable(install.output)
    throw new SetupFailure({
      what: 'npm ci failed.',
      why: tail(install.output),
      todo: 'When it says that lock file and package.json differ, run npm install; else run npm ci and read on there.',
    })
  }
  await checkProjectNode(root)
  writeFileSync(stampFile(root), wanted(root))
}

async function checkProjectNode(root) {
  const { code, output } = await runChild(projectNode(root), ['--version'])
  if (code === 0) return
  throw new SetupFailure({
    what: `The project's own Node does not run (${projectNode(root)}).`,
    why: `${tail(output, 3) || 'It was not installed'}. It comes as an optional package for this kind of machine.`,
    todo: 'Run npm ci --include=optional, and look that npm config get omit does not list "optional".',
  })
}

function unreachable(output) {
  return new SetupFailure({
    what: "npm's registry can't be reached.",
    why: tail(output, 3),
    todo: 'Check the network, `npm config get registry` and the proxy settings, then run the same command again.',
  })
}

/**
 * npm puts node_modules/.bin in front of the PATH of what it runs, so under `npm run` the command
 * `node` is the project's own. npm ci must not run on the Node that it is about to delete.
 */
function environmentForNpm(root) {
  const own = join(root, 'node_modules/.bin')
  const path = (process.env.PATH ?? '').split(delimiter).filter((dir) => dir !== own)
  return { ...process.env, PATH: path.join(delimiter) }
}

function wanted(root) {
  const hash = createHash('sha256')
  for (const file of ['package-lock.json', '.npmrc']) {
    if (existsSync(join(root, file))) hash.update(readFileSync(join(root, file)))
  }
  return `${hash.digest('hex')} ${process.platform} ${process.arch}\n`
}

function stampFile(root) {
  return join(root, 'node_modules/.requorum-stamp')
}
