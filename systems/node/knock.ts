import { RequorumError } from '../../domain/failures.ts'
import type { Answered, Knock } from '../../domain/fence.ts'
import { lastLine, type ControlPlaneNode } from './control-plane-node.ts'

/** A host that is off answers no ARP: the kernel gives up after three seconds, a filter never. */
const PATIENCE_SECONDS = 4
const NO_BASH = 127

/** bash opens a connection by itself; nothing else on a bare Debian does. All at once: most of it is waiting. */
const KNOCK = `
command -v bash >/dev/null || exit ${NO_BASH}
at=0
while [ $# -gt 0 ]; do
  if timeout ${PATIENCE_SECONDS} bash -c 'exec 3<>"/dev/tcp/$1/$2"' bash "$1" "$2" 2>/dev/null; then echo "$at"; fi &
  shift 2
  at=$((at + 1))
done
wait`

/**
 * Which of these doors open when one knocks from a node: a TCP connection comes about, whoever answers.
 *
 * @throws RequorumError `tools-missing` where the node has no bash, `step-failed`, and what the connection throws
 */
export async function knockFrom(
  at: ControlPlaneNode,
  knocks: readonly Knock[],
  signal: AbortSignal,
): Promise<Answered[]> {
  const doors = knocks.flatMap(({ host, port }) => [host, String(port)])
  const result = await at.shell.script(at.node, KNOCK, doors, { signal })
  if (result.code === NO_BASH) {
    throw new RequorumError('tools-missing', {
      what: `${at.node.name} has no bash, so nobody can see from there whether a node is off. Nothing was touched.`,
      todo: `Install bash on ${at.node.name}.`,
    })
  }
  if (result.code !== 0) {
    throw new RequorumError('step-failed', {
      what: `${at.node.name} could not be used to see whether a node is off.`,
      why: lastLine(result.stderr) || `it ended with code ${result.code}`,
      todo: 'Look at the node, then start again.',
    })
  }
  const opened = result.stdout.split('\n').filter(Boolean).map(Number)
  return knocks.filter((_, index) => opened.includes(index)).map((one) => ({ ...one, from: at.node.name }))
}
