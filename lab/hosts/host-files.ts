import { randomBytes } from 'node:crypto'
import { chmod, chown, copyFile, cp, mkdir, readFile, writeFile } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { run } from './commands.ts'
import { controlPlaneDoubles } from './control-plane-doubles.ts'
import { furnishForKubeadm } from './kubeadm/node-files.ts'
import { LAB_USER, hostPaths, labPaths, type LabHost, type LabHosts } from './lab-hosts.ts'

const KUBELET_UNIT = `[Unit]
Description=kubelet: The Kubernetes Node Agent (stand-in of the lab)
After=network.target

[Service]
ExecStart=/usr/bin/kubelet
Restart=always
RestartSec=10
# Pods are units of their own and outlive a stopped kubelet, as with the real one.
KillMode=process

[Install]
WantedBy=multi-user.target
`

/** One ed25519 key, no password login, and enough sessions for a runbook that works in parallel. */
const SSHD_CONFIG = `HostKey /etc/ssh/ssh_host_ed25519_key
PasswordAuthentication no
KbdInteractiveAuthentication no
PermitRootLogin prohibit-password
UseDNS no
MaxStartups 100
MaxSessions 64
`

/**
 * Writes into a host's disk what makes it this host: names, keys, users, and what its profile needs. The disks have to
 * be mounted and the host off.
 */
export async function furnishHost(lab: LabHosts, host: LabHost): Promise<void> {
  const { root } = hostPaths(lab, host.name)
  const place = (path: string): string => join(root, path)
  const write = async (path: string, text: string, mode = 0o644): Promise<void> => {
    await mkdir(dirname(place(path)), { recursive: true })
    await writeFile(place(path), text, { mode })
    // writeFile's mode is for new files, and less the umask.
    await chmod(place(path), mode)
  }
  const hosts = lab.hosts.map((each) => `${each.address} ${each.name}`)
  await Promise.all([
    write('etc/hostname', `${host.name}\n`),
    write('etc/machine-id', `${randomBytes(16).toString('hex')}\n`, 0o444),
    write(
      'etc/hosts',
      `127.0.0.1 localhost\n::1 localhost\n${hosts.join('\n')}\n${lab.machineAddress} lab-machine\n`,
    ),
    write('etc/resolv.conf', '# The lab has no name server; see /etc/hosts.\n'),
    write('etc/ssh/sshd_config.d/lab.conf', SSHD_CONFIG),
    write('etc/sudoers.d/lab', `${LAB_USER} ALL=(ALL) NOPASSWD: ALL\n`, 0o440),
    installKeys(lab, host, place),
  ])
  if (lab.profile === 'kubeadm') return furnishForKubeadm(lab, host)
  const standIn = fileURLToPath(new URL('kubelet-stand-in.py', import.meta.url))
  await Promise.all([
    write('etc/systemd/system/kubelet.service', KUBELET_UNIT),
    mkdir(place('etc/kubernetes/manifests'), { recursive: true, mode: 0o755 }),
    copyFile(standIn, place('usr/bin/kubelet')).then(() => chmod(place('usr/bin/kubelet'), 0o755)),
    installCertificates(lab, host, place),
    ...controlPlaneDoubles().flatMap(({ manifest, program }) => [
      write(manifest.path, manifest.text, 0o600),
      mkdir(dirname(place(program.path)), { recursive: true }).then(() =>
        run('ln', ['-sf', program.to, place(program.path)]),
      ),
    ]),
  ])
  const wants = place('etc/systemd/system/multi-user.target.wants')
  await run('ln', ['-sf', '/etc/systemd/system/kubelet.service', join(wants, 'kubelet.service')])
}

/**
 * Makes the lab's client key, each host's own key and the known_hosts file that pins them. Keys
 * that are there already are kept.
 */
export async function makeSshKeys(lab: LabHosts): Promise<void> {
  const { sshDir, sshKey, knownHosts } = labPaths(lab)
  await mkdir(sshDir, { recursive: true, mode: 0o700 })
  const keys = [sshKey, ...lab.hosts.map((host) => hostKey(lab, host))]
  await Promise.all(
    keys.map(async (path) => {
      if ((await readFile(path).catch(() => undefined)) !== undefined) return
      const comment = path === sshKey ? `requorum-lab-${lab.name}` : 'host'
      await run('ssh-keygen', ['-q', '-t', 'ed25519', '-N', '', '-C', comment, '-f', path])
    }),
  )
  const lines = await Promise.all(
    lab.hosts.map(async (host) => {
      const [kind, key] = (await readFile(`${hostKey(lab, host)}.pub`, 'utf8')).split(' ')
      return `${host.address} ${kind} ${key}`
    }),
  )
  await writeFile(knownHosts, `${lines.join('\n')}\n`, { mode: 0o644 })
}

/** The lab's own copy of a host's key: what the host has unless a fault changed it. */
export function hostKey(lab: Pick<LabHosts, 'dir'>, host: Pick<LabHost, 'name'>): string {
  return join(labPaths(lab).sshDir, `host-${host.name}`)
}

async function installKeys(lab: LabHosts, host: LabHost, place: (path: string) => string): Promise<void> {
  await copyFile(hostKey(lab, host), place('etc/ssh/ssh_host_ed25519_key'))
  await chmod(place('etc/ssh/ssh_host_ed25519_key'), 0o600)
  await copyFile(`${hostKey(lab, host)}.pub`, place('etc/ssh/ssh_host_ed25519_key.pub'))
  const home = host.sshUser === 'root' ? 'root' : `home/${host.sshUser}`
  const owner = host.sshUser === 'root' ? 0 : await userId(place, host.sshUser)
  await mkdir(place(`${home}/.ssh`), { recursive: true, mode: 0o700 })
  await copyFile(`${labPaths(lab).sshKey}.pub`, place(`${home}/.ssh/authorized_keys`))
  await chmod(place(`${home}/.ssh/authorized_keys`), 0o600)
  await chown(place(`${home}/.ssh`), owner, owner)
  await chown(place(`${home}/.ssh/authorized_keys`), owner, owner)
}

async function installCertificates(
  lab: LabHosts,
  host: LabHost,
  place: (path: string) => string,
): Promise<void> {
  const target = place('etc/kubernetes/pki')
  await mkdir(target, { recursive: true, mode: 0o755 })
  await cp(join(labPaths(lab).pki, host.name), target, { recursive: true, preserveTimestamps: true })
}

async function userId(place: (path: string) => string, user: string): Promise<number> {
  const passwd = await readFile(place('etc/passwd'), 'utf8')
  const id = Number(
    passwd
      .split('\n')
      .find((line) => line.startsWith(`${user}:`))
      ?.split(':')[2],
  )
  if (Number.isSafeInteger(id)) return id
  throw new Error(`The base root has no user "${user}". Delete it from the cache so that it is built again.`)
}
