/** Beside etcd a control-plane node has these; here each is a double that does nothing but run. */
const DOUBLES = ['kube-apiserver-double', 'kube-controller-manager-double', 'kube-scheduler-double']

/** The name that a process has is that of the file it was started from, so each has one of its own. */
const PROGRAMS = '/usr/local/lib/lab'

export interface Double {
  readonly manifest: { readonly path: string; readonly text: string }
  /** A link to make, and where it leads. */
  readonly program: { readonly path: string; readonly to: string }
}

/**
 * Static pods that stand where a control plane's do, so that a restore really has something to stop before etcd and
 * to start after it. Their names say that they are doubles: no check takes them for API servers.
 */
export function controlPlaneDoubles(): readonly Double[] {
  return DOUBLES.map((name) => ({
    manifest: { path: `etc/kubernetes/manifests/${name}.yaml`, text: doubleManifest(name) },
    program: { path: `${PROGRAMS}/${name}`.slice(1), to: '/usr/bin/sleep' },
  }))
}

function doubleManifest(name: string): string {
  return `apiVersion: v1
kind: Pod
metadata:
  labels:
    component: ${name}
    tier: control-plane
  name: ${name}
  namespace: kube-system
spec:
  containers:
  - command:
    - ${PROGRAMS}/${name}
    - infinity
    image: lab.invalid/double
    name: ${name}
  hostNetwork: true
  priorityClassName: system-node-critical
  terminationGracePeriodSeconds: 5
`
}
