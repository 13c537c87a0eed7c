import { createHash } from 'node:crypto'
import { mkdir, readdir, readFile, rename, rm, stat, writeFile } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { bundleWorkflowCode, DefaultLogger } from '@temporalio/worker'

const ROOT = dirname(dirname(fileURLToPath(import.meta.url)))
/** Beside the packages that are part of it, with the same owner and the same trust. */
const CACHE = join(ROOT, 'node_modules/.cache/requorum-workflows')
const DAY_MS = 86_400_000

/** Where the bundler starts, and the interceptors that belong to the workflows; a replay needs the same. */
const WORKFLOW_CODE = {
  workflowsPath: join(ROOT, 'workflows/index.ts'),
  workflowInterceptorModules: [join(ROOT, 'workflows/interceptors.ts')],
}

/**
 * The workflows as the one script that Temporal's sandbox loads. Bundling takes seconds, at 02:14 too: once for each
 * state of the sources, then it is read. Where nothing can be written it is made each time.
 *
 * @param preloadModules - loaded into each sandbox once instead of anew for each run; for tests with many runs.
 */
export async function workflowBundle(preloadModules: string[] = []): Promise<{ code: string }> {
  const file = join(CACHE, `${await fingerprint(preloadModules)}.js`)
  const kept = await readFile(file, 'utf8').catch(() => undefined)
  if (kept !== undefined) return { code: kept }
  const { code } = await bundleWorkflowCode({
    ...WORKFLOW_CODE,
    preloadModules,
    logger: new DefaultLogger('ERROR'),
  })
  await keep(file, code).catch(() => undefined)
  return { code }
}

/** Written beside and renamed: who reads it meanwhile reads a whole one. */
async function keep(file: string, code: string): Promise<void> {
  await mkdir(CACHE, { recursive: true })
  const partial = `${file}.${process.pid}`
  await writeFile(partial, code)
  await rename(partial, file)
  // Of older states of the sources; a worker of today that is about to start may still want today's.
  for (const name of await readdir(CACHE)) {
    const old = await stat(join(CACHE, name)).catch(() => undefined)
    if (old !== undefined && old.mtimeMs < Date.now() - DAY_MS) await rm(join(CACHE, name), { force: true })
  }
}

async function fingerprint(preloadModules: readonly string[]): Promise<string> {
  const files = [...(await sourcesOf('workflows')), ...(await sourcesOf('domain')), 'package-lock.json']
  const hash = createHash('sha256').update(JSON.stringify([process.version, preloadModules]))
  for (const file of files) hash.update(`${file}\0`).update(await readFile(join(ROOT, file)))
  return hash.digest('hex').slice(0, 24)
}

async function sourcesOf(room: string): Promise<string[]> {
  const entries = await readdir(join(ROOT, room), { recursive: true })
  return entries
    .filter((file) => file.endsWith('.ts'))
    .sort()
    .map((file) => join(room, file))
}
