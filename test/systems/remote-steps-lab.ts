import { readFile, writeFile, mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { readLab } from '../../lab/hosts/lab-hosts.ts'
import { createNodeShell, type NodeAddress, type NodeShell } from '../../systems/ssh/node-shell.ts'
import { startLine } from './ssh-daemon.ts'

/** A running lab's directory: known_hosts, ssh/id_ed25519, hosts.json. Remote steps need systemd as PID 1. */
export const labDir = process.env['REQUORUM_TEST_LAB_DIR'] ?? ''
export const withoutLab = labDir ? false : 'needs a lab: set REQUORUM_TEST_LAB_DIR to its directory'

export async function labNode(index: number): Promise<NodeAddress> {
  const host = (await readLab(labDir))?.hosts[index]
  if (!host) throw new Error(`the lab in ${labDir} has no host ${index}`)
  return { name: host.name, address: host.address, port: host.sshPort, user: host.sshUser }
}

export function labShell(knownHosts = 'known_hosts'): NodeShell {
  const config = { knownHosts, identityFile: 'ssh/id_ed25519', connectTimeout: 5_000 }
  return createNodeShell({ home: labDir, config })
}

/** The same node over a line that can be cut, and a shell that trusts it there. */
export async function overLine(node: NodeAddress) {
  const line = await startLine(node.port, node.address)
  const home = await mkdtemp(join(tmpdir(), 'requorum-line-'))
  const known = await readFile(join(labDir, 'known_hosts'), 'utf8')
  await writeFile(join(home, 'known_hosts'), known.replaceAll(`${node.address} `, '127.0.0.1 '))
  const shell = labShell(join(home, 'known_hosts'))
  return {
    line,
    shell,
    node: { ...node, address: '127.0.0.1', port: line.port },
    async [Symbol.asyncDispose]() {
      await shell.close()
      line[Symbol.dispose]()
      await rm(home, { recursive: true })
    },
  }
}
