import { chmod, mkdir, writeFile } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import { run } from '../commands.ts'
import { hostPaths, type LabHost, type LabHosts } from '../lab-hosts.ts'
import { podNetworkOf } from './cluster-shape.ts'
import { imageName } from './images.ts'

/** As the kubelet's Debian package has it: kubeadm's drop-in adds the arguments. */
const KUBELET_UNIT = `[Unit]
Description=kubelet: The Kubernetes Node Agent
Wants=network-online.target
After=network-online.target containerd.service lab-node.service

[Service]
ExecStart=/usr/bin/kubelet
Restart=always
StartLimitInterval=0
RestartSec=10
KillMode=process

[Install]
WantedBy=multi-user.target
`

const KUBEADM_DROP_IN = `[Service]
Environment="KUBELET_KUBECONFIG_ARGS=--bootstrap-kubeconfig=/etc/kubernetes/bootstrap-kubelet.conf --kubeconfig=/etc/kubernetes/kubelet.conf"
Environment="KUBELET_CONFIG_ARGS=--config=/var/lib/kubelet/config.yaml"
EnvironmentFile=-/var/lib/kubelet/kubeadm-flags.env
ExecStart=
ExecStart=/usr/bin/kubelet $KUBELET_KUBECONFIG_ARGS $KUBELET_CONFIG_ARGS $KUBELET_KUBEADM_ARGS
`

const CONTAINERD_CONFIG = `version = 2
[plugins."io.containerd.grpc.v1.cri"]
  sandbox_image = "${imageName('pause')}"
  disable_apparmor = true
  # Where the machine's root may not lower the score (CAP_SYS_RESOURCE), runc would start nothing.
  restrict_oom_score_adj = true
  [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc]
    runtime_type = "io.containerd.runc.v2"
    [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc.options]
      SystemdCgroup = false
  [plugins."io.containerd.grpc.v1.cri".cni]
    bin_dir = "/usr/lib/cni"
    conf_dir = "/etc/cni/net.d"
`

const LAB_NODE_UNIT = `[Unit]
Description=What makes this lab host fit for a kubelet
Before=containerd.service kubelet.service

[Service]
Type=oneshot
RemainAfterExit=yes
ExecStart=/usr/local/sbin/lab-node

[Install]
WantedBy=multi-user.target
`

/**
 * Runs at each boot. The sysctls are those that a kubelet sets on its node, which here would be the whole machine:
 * a file over each of them takes the kubelet's write, and the machine keeps what it has.
 */
function labNodeScript(lab: LabHosts, host: LabHost): string {
  const routes = lab.hosts
    .filter((each) => each.name !== host.name)
    .map((each) => `ip route replace ${podNetworkOf(lab, each)} via ${each.address}`)
  return `#!/bin/sh
set -eu
mount --make-rshared /
# systemd-nspawn gives the controllers of cgroup v1 read-only; they are the host's own all the same.
if [ ! -e /sys/fs/cgroup/cgroup.procs ]; then
  for hierarchy in /sys/fs/cgroup/*; do
    [ -L "$hierarchy" ] || mount -o remount,bind,rw "$hierarchy"
  done
fi
for setting in vm/overcommit_memory=1 vm/panic_on_oom=0 kernel/panic=10 kernel/panic_on_oops=1 \\
  kernel/keys/root_maxkeys=1000000 kernel/keys/root_maxbytes=25000000; do
  file=/run/lab-sysctls/\${setting%=*}
  mkdir -p "$(dirname "$file")"
  echo "\${setting#*=}" >"$file"
  mount --bind "$file" "/proc/sys/\${setting%=*}"
done
echo 1 >/proc/sys/net/ipv4/ip_forward
${routes.join('\n')}
`
}

/** One bridge per host and addresses out of the host's own pod network: the standard CNI plugins. */
function podNetworkConfig(lab: LabHosts, host: LabHost): string {
  return JSON.stringify(
    {
      cniVersion: '0.4.0',
      name: 'lab-pods',
      plugins: [
        {
          type: 'bridge',
          bridge: 'cni0',
          isGateway: true,
          hairpinMode: true,
          ipam: {
            type: 'host-local',
            ranges: [[{ subnet: podNetworkOf(lab, host) }]],
            routes: [{ dst: '0.0.0.0/0' }],
          },
        },
        { type: 'portmap', capabilities: { portMappings: true } },
      ],
    },
    null,
    2,
  )
}

/** Writes what makes a host fit for kubeadm: container runtime, pod network, the kubelet as a unit. */
export async function furnishForKubeadm(lab: LabHosts, host: LabHost): Promise<void> {
  const { root } = hostPaths(lab, host.name)
  const write = async (path: string, text: string, mode = 0o644): Promise<void> => {
    await mkdir(dirname(join(root, path)), { recursive: true })
    await writeFile(join(root, path), text, { mode })
    await chmod(join(root, path), mode)
  }
  await Promise.all([
    write('etc/containerd/config.toml', CONTAINERD_CONFIG),
    write('etc/cni/net.d/10-lab-pods.conflist', podNetworkConfig(lab, host)),
    write('etc/systemd/system/kubelet.service', KUBELET_UNIT),
    write('etc/systemd/system/kubelet.service.d/10-kubeadm.conf', KUBEADM_DROP_IN),
    write('etc/systemd/system/lab-node.service', LAB_NODE_UNIT),
    write('usr/local/sbin/lab-node', labNodeScript(lab, host), 0o755),
    // For pods: CoreDNS wants somebody to forward to. The machine refuses at once, which is the lab's internet.
    write('etc/kubernetes/resolv.conf', `nameserver ${lab.machineAddress}\n`),
    // kube-proxy mounts it; the machine's modules are nobody's business here.
    mkdir(join(root, 'usr/lib/modules'), { recursive: true }),
  ])
  const wants = join(root, 'etc/systemd/system/multi-user.target.wants')
  await mkdir(wants, { recursive: true })
  for (const unit of ['lab-node.service', 'kubelet.service']) {
    await run('ln', ['-sf', `/etc/systemd/system/${unit}`, join(wants, unit)])
  }
}
