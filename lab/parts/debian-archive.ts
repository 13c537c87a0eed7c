import { access } from 'node:fs/promises'
import { hasCommand, run } from '../hosts/commands.ts'

/** One archive of the machine's own distribution, as its apt already uses it. */
export interface ArchiveSource {
  readonly uri: string
  readonly suite: string
  readonly origin: 'Debian' | 'Ubuntu'
}

/**
 * The `main` archives of the distribution itself among this machine's apt sources. Third-party
 * sources are told apart by the Origin of their signed Release file, which apt reports; names of
 * hosts play no part, so a mirror or proxy that somebody set up is used as it is.
 * @throws Error when the machine has none.
 */
export async function distributionSources(): Promise<readonly ArchiveSource[]> {
  const sources = await indexedSources()
  if (sources.length > 0) return sources
  await run('apt-get', ['update'], { timeoutMs: 600_000, accept: [0, 100] })
  const afterUpdate = await indexedSources()
  if (afterUpdate.length > 0) return afterUpdate
  throw new Error(
    "apt knows no 'main' archive of Debian or Ubuntu on this machine, so nothing can be installed from it. " +
      'Look at /etc/apt/sources.list and /etc/apt/sources.list.d, run `apt-get update`, and try again.',
  )
}

/** One line of sources.list for an archive, signed by the distribution's keyring where it is installed. */
export async function sourceLine(source: ArchiveSource, suite: string = source.suite): Promise<string> {
  const keyring = `/usr/share/keyrings/${source.origin.toLowerCase()}-archive-keyring.gpg`
  const signed = (await exists(keyring)) ? `[signed-by=${keyring}] ` : ''
  return `deb ${signed}${source.uri} ${suite} main`
}

/** The code name of the distribution that this machine runs, such as `bookworm`. */
export async function distributionCodename(): Promise<string> {
  const { stdout } = await run('sh', ['-c', '. /etc/os-release && echo "$VERSION_CODENAME"'])
  return stdout.trim()
}

/** The proxies that the machine's apt uses, as options for an apt with a configuration of its own. */
export async function aptProxyOptions(): Promise<readonly string[]> {
  const { stdout } = await run('apt-config', ['dump'])
  return stdout.split('\n').filter((line) => /^Acquire::https?::[^ ]*Proxy[^ ]* ".+";$/i.test(line))
}

/** Debian's name of this machine's architecture, such as `amd64`. */
export async function debianArchitecture(): Promise<string> {
  const { stdout } = await run('dpkg', ['--print-architecture'])
  return stdout.trim()
}

/**
 * Installs the named packages where their command is missing; one `apt-get update` before it.
 * @param wanted - from a command to the package that has it
 */
export async function ensureCommands(
  wanted: Readonly<Record<string, string>>,
  say: (line: string) => void,
): Promise<void> {
  const missing: string[] = []
  for (const [command, packageName] of Object.entries(wanted)) {
    if (!(await hasCommand(command))) missing.push(packageName)
  }
  if (missing.length === 0) return
  if (process.getuid?.() !== 0) {
    throw new Error(
      `The lab needs ${missing.join(', ')}, and only root can install packages. ` +
        `Run \`sudo apt-get install ${missing.join(' ')}\`, or start the lab as root.`,
    )
  }
  const packages = [...new Set(missing)]
  say(`Installing ${packages.join(', ')} from the machine's own apt sources`)
  // A foreign source that can't be reached makes update fail; the distribution's own still came in.
  await run('apt-get', ['update'], { timeoutMs: 600_000, accept: [0, 100] })
  await run(
    'apt-get',
    ['install', '--yes', '--no-install-recommends', '-o', 'DPkg::Lock::Timeout=300', ...packages],
    {
      timeoutMs: 900_000,
      env: { ...definedEnvironment(), DEBIAN_FRONTEND: 'noninteractive' },
    },
  )
}

async function indexedSources(): Promise<readonly ArchiveSource[]> {
  const { stdout } = await run('apt-get', [
    'indextargets',
    '--format',
    '$(REPO_URI)|$(RELEASE)|$(COMPONENT)|$(ORIGIN)',
    'Created-By: Packages',
  ])
  const codename = await distributionCodename()
  const sources: ArchiveSource[] = []
  for (const line of stdout.split('\n')) {
    const [uri, suite, component, origin] = line.split('|')
    if (uri === undefined || suite === undefined || component !== 'main') continue
    if (origin !== 'Debian' && origin !== 'Ubuntu') continue
    const wanted = [codename, `${codename}-updates`, `${codename}-security`].includes(suite)
    if (wanted && !sources.some((known) => known.uri === uri && known.suite === suite)) {
      sources.push({ uri, suite, origin })
    }
  }
  return sources
}

function definedEnvironment(): Record<string, string> {
  return Object.fromEntries(
    Object.entries(process.env).filter((entry): entry is [string, string] => entry[1] !== undefined),
  )
}

async function exists(path: string): Promise<boolean> {
  return access(path).then(
    () => true,
    () => false,
  )
}
