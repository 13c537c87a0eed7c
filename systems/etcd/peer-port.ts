import type { ControlPlaneNode, Watching } from '../node/control-plane-node.ts'

/** Longer than a member's check of its peers takes: whoever waits longer gains nothing. */
const PATIENCE_MS = 20_000
const POLL_MS = 200

/**
 * Waits until the member of a node serves its peers, at most 20 s. The port is open before that: only a TLS
 * handshake tells, which nobody answers until then. The client port is no help, it waits for a leader.
 *
 * @returns what it saw. Nothing depends on it but how soon the next member is started.
 */
export async function awaitPeerPort(at: ControlPlaneNode, watching: Watching): Promise<string> {
  const { host, protocol } = new URL(at.node.peerUrl)
  if (protocol !== 'https:') return 'it serves peers without TLS: not waited for'
  const began = Date.now()
  while (Date.now() - began < PATIENCE_MS) {
    const greeted = await at.shell.run(at.node, ['sh', '-c', GREET, 'sh', host], { signal: watching.signal })
    if (greeted.code === 0) return 'it serves its peers'
    if (greeted.code === NO_OPENSSL) return 'there is no openssl on the node: not waited for'
    watching.onBeat(`${host} serves no peers yet`)
    await new Promise((resolve) => setTimeout(resolve, POLL_MS))
  }
  return `it did not serve its peers within ${PATIENCE_MS / 1_000} s`
}

const NO_OPENSSL = 127
const GREET = `
command -v openssl >/dev/null || exit ${NO_OPENSSL}
timeout 2 openssl s_client -connect "$1" </dev/null 2>/dev/null | grep -q 'BEGIN CERTIFICATE'`
