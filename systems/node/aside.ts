import { readFileSync } from 'node:fs'
import type { NodeAside } from '../../domain/clean-up-plan.ts'
import { RequorumError } from '../../domain/failures.ts'
import { RECOVERIES, recoveryDir } from '../../domain/node-paths.ts'
import type { BeforeRestore, ManifestFound } from '../../domain/roll-back-plan.ts'
import { lastLine, type ControlPlaneNode } from './control-plane-node.ts'

const ASIDE_FACTS = readFileSync(new URL('./aside-facts.sh', import.meta.url), 'utf8')
const ROLL_BACK_FACTS = readFileSync(new URL('./roll-back-facts.sh', import.meta.url), 'utf8')
/** `du` over gigabytes of old data on a busy disk. */
const LIMIT_MS = 100_000

/**
 * What earlier runs set aside on a node, with what it knows of their recoveries. Changes nothing.
 *
 * @param dataDir - where etcd works on this node, as its manifest says
 */
export async function listAside(at: ControlPlaneNode, dataDir: string): Promise<NodeAside> {
  const { code, stdout, stderr } = await at.shell.script(
    at.node,
    ASIDE_FACTS,
    [dataDir, at.config.backup.directory, RECOVERIES],
    { timeoutMs: LIMIT_MS },
  )
  if (code !== 0) throw unlisted(at, lastLine(stderr) || `it ended with code ${String(code)}`)
  const lines = stdout.split('\n').map((line) => line.split('\t'))
  return {
    node: at.node.name,
    dataDir,
    entries: lines.flatMap(([what, path = '', seen = '', bytes = '0', odd = '']) =>
      what === 'aside' ? [{ path, seen, bytes: Number(bytes), odd: odd || null }] : [],
    ),
    recoveries: lines.flatMap(([what, recovery = '', opened = '', removed = '', ended = '']) =>
      what === 'recovery'
        ? [{ recovery, opened: opened || null, removed: removed || null, ended: ended || null }]
        : [],
    ),
  }
}

/**
 * What a node still has of the time before a restore, and what lies in its place now. Changes nothing.
 *
 * @param places - where that restore set the old data aside, and where it was
 */
export async function factsBeforeRestore(
  at: ControlPlaneNode,
  recovery: string,
  places: { readonly dataDir: string; readonly aside: string },
): Promise<BeforeRestore> {
  const { code, stdout, stderr } = await at.shell.script(at.node, ROLL_BACK_FACTS, [
    ...[recoveryDir(recovery), places.dataDir, places.aside, at.config.etcd.manifests],
  ])
  if (code !== 0) throw unlisted(at, lastLine(stderr) || `it ended with code ${String(code)}`)
  const lines = stdout.split('\n').map((line) => line.split('\t'))
  const one = (what: string): string | null => lines.find(([name]) => name === what)?.[1] ?? null
  const manifests = (what: string): ManifestFound[] =>
    lines.flatMap(([name, pod = '', sha256 = '', owner = '', mode = '']) =>
      name === what ? [{ pod, sha256, owner, mode }] : [],
    )
  return {
    node: at.node.name,
    asideInode: one('aside'),
    wasAbsent: lines.some(([name]) => name === 'absent'),
    dataInode: one('data'),
    kept: manifests('kept'),
    manifests: manifests('manifest'),
  }
}

function unlisted(at: ControlPlaneNode, why: string): RequorumError {
  return new RequorumError('step-failed', {
    what: `${at.node.name}: what recoveries set aside there can't be listed.`,
    why,
    todo: 'Check that the node has a POSIX shell, coreutils, awk and a readable /proc.',
  })
}
