import { existsSync } from 'node:fs'
import { rm } from 'node:fs/promises'
import { join } from 'node:path'
import { run } from '../hosts/commands.ts'
import { partPath, partTarget } from './parts.mjs'

/** A build on one busy core may take this long; progress is shown all the while. */
const BUILD_LIMIT_MS = 4 * 3_600_000

export interface GoBuild {
  /** Keeps Go's caches, so that an interrupted build goes on where it was; the programs come to its `bin`. */
  readonly work: string
  /** The directory of a go.mod, whose go.sum has the checksums of all that it wants. */
  readonly module: string
  readonly packages: readonly string[]
  /** For the linker. */
  readonly flags: readonly string[]
  readonly title: string
  readonly say: (line: string) => void
}

/** Builds static programs from Go modules, by the toolchain of the set-up. */
export async function goBuild({ work, module, packages, flags, title, say }: GoBuild): Promise<void> {
  const go = join(partPath('go'), 'bin/go')
  const env = {
    ...inherited(),
    GOROOT: partPath('go'),
    GOTOOLCHAIN: 'local',
    GOFLAGS: '-mod=readonly -modcacherw -buildvcs=false',
    GOMODCACHE: join(work, 'gomod'),
    GOCACHE: join(work, 'gocache'),
    CGO_ENABLED: '0',
  }
  say(`${title}: fetching its modules`)
  const listed = await run(go, ['list', '-deps', ...packages], {
    cwd: module,
    env,
    timeoutMs: BUILD_LIMIT_MS,
    onLine: (line) => {
      if (line.startsWith('go: downloading')) say(`  ${line.slice(4)}`)
    },
  })
  const total = listed.stdout.trimEnd().split('\n').length
  say(title)
  let compiled = 0
  // -v names each package when its compilation begins; what is in the cache of an interrupted build is not named.
  const ldflags = ['-s -w', ...flags].join(' ')
  await run(
    go,
    ['build', '-v', '-trimpath', '-ldflags', ldflags, '-o', `${join(work, 'bin')}/`, ...packages],
    {
      cwd: module,
      env,
      timeoutMs: BUILD_LIMIT_MS,
      onLine: () => {
        compiled += 1
        if (compiled % 10 === 0) say(`  ${compiled} of at most ${total} packages compiled`)
      },
    },
  )
}

/** Go's caches and the toolchain: gigabytes that nobody needs any more. */
export async function forgetBuild(work: string): Promise<void> {
  await rm(work, { recursive: true, force: true })
  const toolchain = partTarget('go')
  if (existsSync(toolchain)) await rm(join(toolchain, '..'), { recursive: true, force: true })
}

function inherited(): Record<string, string> {
  return Object.fromEntries(
    Object.entries(process.env).filter((entry): entry is [string, string] => entry[1] !== undefined),
  )
}
