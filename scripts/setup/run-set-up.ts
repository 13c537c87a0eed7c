import { spawn } from 'node:child_process'
import { fileURLToPath } from 'node:url'

const SET_UP = fileURLToPath(new URL('../setup.mjs', import.meta.url))

/**
 * Runs the set-up as a person would, with its progress on the terminal. For `kubeadm` it builds Kubernetes the first
 * time, and for `etcd-3.6` etcd, for minutes; afterwards it takes a moment.
 *
 * @param output - `stderr` where standard output is for machines.
 * @throws Error when it failed; the set-up itself has said why.
 */
export async function runSetUp(
  purpose: 'drill' | 'test-lab' | 'etcd-3.6' | 'kubeadm',
  output: 'stdout' | 'stderr' = 'stdout',
): Promise<void> {
  const child = spawn(process.execPath, [SET_UP, '--for', purpose], {
    stdio: ['ignore', output === 'stdout' ? 'inherit' : process.stderr, 'inherit'],
  })
  const code = await new Promise<number | null>((resolve, reject) => {
    child.once('error', reject)
    child.once('close', resolve)
  })
  if (code !== 0) throw new Error(`The set-up for ${purpose} did not finish.`)
}
