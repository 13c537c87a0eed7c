import { parseDocument } from 'yaml'
import { z } from 'zod'

const podShape = z.object({
  spec: z.object({
    containers: z.array(z.object({ command: z.array(z.string()), image: z.string().optional() })).min(1),
  }),
})

/**
 * The `--name=value` flags of a static pod's first container, without their dashes; null when the manifest has
 * no command list there. Read from the running manifest, never from a template.
 */
export function staticPodFlags(manifest: string): ReadonlyMap<string, string> | null {
  const command = podShape.safeParse(read(manifest)).data?.spec.containers[0]?.command
  if (command === undefined) return null
  return new Map(
    command
      .filter((word) => word.startsWith('--') && word.includes('='))
      .map((word): [string, string] => [word.slice(2, word.indexOf('=')), word.slice(word.indexOf('=') + 1)]),
  )
}

/** The image of a static pod's first container; null when the manifest names none. */
export function staticPodImage(manifest: string): string | null {
  return podShape.safeParse(read(manifest)).data?.spec.containers[0]?.image ?? null
}

const volumesShape = z.object({
  spec: z.object({
    containers: z
      .array(
        z.object({
          volumeMounts: z.array(z.object({ name: z.string(), mountPath: z.string() })).default([]),
        }),
      )
      .min(1),
    volumes: z
      .array(z.object({ name: z.string(), hostPath: z.object({ path: z.string() }).optional() }))
      .default([]),
  }),
})

/** The node's directory that the first container of a static pod sees at a path; null when it is the container's own. */
export function hostPathOf(manifest: string, path: string): string | null {
  const spec = volumesShape.safeParse(read(manifest)).data?.spec
  const under = (mount: string): boolean => path === mount || path.startsWith(`${mount.replace(/\/$/, '')}/`)
  const [mount] = (spec?.containers[0]?.volumeMounts ?? [])
    .filter(({ mountPath }) => under(mountPath))
    .sort((a, b) => b.mountPath.length - a.mountPath.length)
  const onHost = spec?.volumes.find(({ name }) => name === mount?.name)?.hostPath?.path
  if (mount === undefined || onHost === undefined) return null
  return onHost.replace(/\/$/, '') + path.slice(mount.mountPath.replace(/\/$/, '').length)
}

function read(manifest: string): unknown {
  try {
    const document = parseDocument(manifest)
    return document.errors.length === 0 ? document.toJS() : null
  } catch {
    return null // an alias without its anchor is found only now
  }
}
