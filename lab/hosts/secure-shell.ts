import { spawn } from 'node:child_process'
import { findHost, labPaths, type LabHosts } from './lab-hosts.ts'

/** Arguments for OpenSSH's client to reach a host as its lab user, with its host key pinned. */
export function sshArguments(lab: LabHosts, hostName: string): readonly string[] {
  const host = findHost(lab, hostName)
  const { sshKey, knownHosts } = labPaths(lab)
  return [
    ...['-F', 'none', '-i', sshKey, '-p', String(host.sshPort)],
    ...['-o', 'IdentitiesOnly=yes', '-o', 'StrictHostKeyChecking=yes', '-o', 'LogLevel=ERROR'],
    ...['-o', `UserKnownHostsFile=${knownHosts}`, '-o', 'GlobalKnownHostsFile=none'],
    `${host.sshUser}@${host.address}`,
  ]
}

/**
 * Opens an interactive root shell on a host, on this process's terminal, by ssh as a person would.
 * @returns the shell's exit code; 255 when ssh itself failed and has said why
 */
export async function shellInto(lab: LabHosts, hostName: string): Promise<number> {
  const host = findHost(lab, hostName)
  const becomeRoot = host.sshUser === 'root' ? [] : ['sudo', '-n', '-i']
  const child = spawn('ssh', ['-t', ...sshArguments(lab, hostName), ...becomeRoot], { stdio: 'inherit' })
  return new Promise((resolve, reject) => {
    child.once('error', (error) => {
      reject(new Error(`ssh could not be started (${error.message}). Install openssh-client.`))
    })
    child.once('close', (code) => {
      resolve(code ?? 255)
    })
  })
}
