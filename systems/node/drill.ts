import { RequorumError } from '../../domain/failures.ts'
import { BROKEN_LOG } from '../../domain/node-actions.ts'
import { DRILL_MARK } from '../../domain/node-paths.ts'
import { lastLine, type ControlPlaneNode } from './control-plane-node.ts'

/** Whether the node's own mark names this cluster in a line of its own. */
export async function isMarkedForDrills(at: ControlPlaneNode): Promise<boolean> {
  const { stdout } = await ask(at, 'if [ -e "$1" ]; then cat -- "$1"; fi', DRILL_MARK)
  return stdout.split('\n').some((line) => line.trim() === at.config.cluster)
}

/** Whether the log that a drill planted is in this data directory. */
export async function holdsBrokenLog(at: ControlPlaneNode, dataDir: string): Promise<boolean> {
  const { stdout } = await ask(
    at,
    'if [ -e "$1" ]; then stat -c %s -- "$1"; fi',
    `${dataDir}/${BROKEN_LOG.file}`,
  )
  return stdout.trim() === '16'
}

async function ask(at: ControlPlaneNode, script: string, path: string): Promise<{ stdout: string }> {
  const result = await at.shell.run(at.node, ['sh', '-c', script, 'sh', path])
  if (result.code === 0) return result
  throw new RequorumError('step-failed', {
    what: `${at.node.name}: ${path} can't be looked at.`,
    why: lastLine(result.stderr) || `it ended with code ${result.code}`,
    todo: 'Look at the node, and start again.',
  })
}
