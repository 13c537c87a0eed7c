import { mkdir, readdir, readFile, rename, rm, rmdir, writeFile } from 'node:fs/promises'
import { dirname, join } from 'node:path'

/**
 * The labs of this machine by name, whatever checkout they came from: links, routes and cgroups are called by it,
 * so a name is one lab's. On /run, because a restart of the machine ends every lab.
 *
 *     <name>/dir          the lab's directory
 *     <name>/hosts.json   a copy of what stands there, for a directory that somebody deleted
 */
const SHELF = '/run/requorum/labs'

/** The place of a name; it doubles as the lock of who brings that lab up or down. */
export function registryOf(name: string): string {
  return join(SHELF, name)
}

/** Where the lab of this name lives, or what was left of it; undefined when nothing is known of one. */
export async function registeredDir(name: string): Promise<string | undefined> {
  const text = await readFile(join(registryOf(name), 'dir'), 'utf8').catch(() => undefined)
  return text?.trim()
}

/** Before anything of a lab is made: a start that is killed can be cleaned up from this. */
export async function register(name: string, dir: string): Promise<void> {
  await put(join(registryOf(name), 'dir'), `${dir}\n`)
}

/** Keeps a copy of the lab's description. */
export async function registerHosts(name: string, dir: string, text: string): Promise<void> {
  await register(name, dir)
  await put(join(registryOf(name), 'hosts.json'), text)
}

export async function registeredHosts(name: string): Promise<string | undefined> {
  return readFile(join(registryOf(name), 'hosts.json'), 'utf8').catch(() => undefined)
}

/** Forgets a lab, if it is the one of this directory. */
export async function unregister(name: string, dir: string): Promise<void> {
  if ((await registeredDir(name)) === dir) {
    for (const file of await readdir(registryOf(name)))
      await rm(join(registryOf(name), file), { force: true })
  }
  // Only where it is empty; the shelves are shared by all labs and go with the last one.
  for (const shelf of [registryOf(name), SHELF, dirname(SHELF)]) await rmdir(shelf).catch(() => undefined)
}

async function put(file: string, text: string): Promise<void> {
  await mkdir(dirname(file), { recursive: true, mode: 0o700 })
  await writeFile(`${file}.new`, text, { mode: 0o600 })
  await rename(`${file}.new`, file)
}
