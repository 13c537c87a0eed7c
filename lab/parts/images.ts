import { chmod, copyFile, cp, mkdir, readdir, readFile, rm, symlink, writeFile } from 'node:fs/promises'
import { basename, dirname, join } from 'node:path'
import { z } from 'zod'
import { run } from '../hosts/commands.ts'

/** One image: programs in /usr/local/bin, with the libraries that they load, and nothing else. */
export interface ImageRecipe {
  readonly name: string
  readonly tag: string
  readonly programs: readonly string[]
  /** Without it the image has none: kubeadm's manifests name the command. */
  readonly entrypoint?: string
  /** kube-proxy calls iptables, from the hosts' base root. */
  readonly withIptables?: boolean
}

export interface ImagesOptions {
  /** Is emptied. */
  readonly work: string
  /** The tar file that is written: an OCI layout of all images, as `ctr images import` takes it. */
  readonly target: string
  /** Put before each name: `<repository>/<name>:<tag>`. */
  readonly repository: string
  readonly baseRoot: string
  readonly images: readonly ImageRecipe[]
}

/** Packs images from binaries with umoci, in one OCI layout. Nothing is fetched. */
export async function buildImages(options: ImagesOptions): Promise<void> {
  const layout = join(options.work, 'layout')
  await rm(options.work, { recursive: true, force: true })
  await mkdir(options.work, { recursive: true })
  await run('umoci', ['init', '--layout', layout])
  for (const recipe of options.images) {
    const root = join(options.work, recipe.name)
    await furnish(root, recipe, options.baseRoot)
    const image = `${layout}:${recipe.name}_${recipe.tag}`
    await run('umoci', ['new', '--image', image])
    await run('umoci', ['insert', '--image', image, root, '/'], { timeoutMs: 600_000 })
    await run('umoci', [
      ...['config', '--image', image, '--config.env', 'PATH=/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin'],
      ...(recipe.entrypoint === undefined ? [] : ['--config.entrypoint', recipe.entrypoint]),
    ])
    await rm(root, { recursive: true })
  }
  await run('umoci', ['gc', '--layout', layout])
  await nameImages(layout, options)
  await run('tar', ['--create', '--file', options.target, '--directory', layout, '.'])
}

async function furnish(root: string, recipe: ImageRecipe, baseRoot: string): Promise<void> {
  for (const dir of ['usr/local/bin', 'usr/sbin', 'etc', 'tmp', 'run']) {
    await mkdir(join(root, dir), { recursive: true })
  }
  await chmod(join(root, 'tmp'), 0o1777)
  for (const program of recipe.programs) {
    const place = join(root, 'usr/local/bin', basename(program))
    await copyFile(program, place)
    await chmod(place, 0o755)
    await copyLibraries(await librariesOf(program), root, '/')
  }
  if (recipe.withIptables === true) await addIptables(root, baseRoot)
}

/** iptables as the hosts have it: one program under many names, and its extensions. */
async function addIptables(root: string, baseRoot: string): Promise<void> {
  const program = '/usr/sbin/xtables-nft-multi'
  await copyFile(join(baseRoot, program), join(root, program))
  await chmod(join(root, program), 0o755)
  for (const name of ['iptables', 'ip6tables'].flatMap((base) => [base, `${base}-save`, `${base}-restore`])) {
    await symlink('xtables-nft-multi', join(root, 'usr/sbin', name))
  }
  await copyLibraries(await librariesOf(program, baseRoot), root, baseRoot)
  const { stdout } = await run('sh', ['-c', 'ls -d "$1"/usr/lib/*/xtables', 'sh', baseRoot])
  const extensions = stdout.trim()
  // Extensions need more than the program: without libm there is no `statistic`, and kube-proxy sets no rule at all.
  for (const file of await readdir(extensions)) {
    const extension = join(extensions, file).slice(baseRoot.length)
    await copyLibraries(await librariesOf(extension, baseRoot), root, baseRoot)
  }
  // Its links are relative, and stay so.
  const place = join(root, extensions.slice(baseRoot.length))
  await cp(extensions, place, { recursive: true, verbatimSymlinks: true })
}

/** The loader and the shared libraries of a program; none when it is static. Found by the loader itself. */
async function librariesOf(program: string, root?: string): Promise<string[]> {
  const [command, ...args] = root === undefined ? ['ldd', program] : ['chroot', root, 'ldd', program]
  // "not a dynamic executable" ends with 1.
  const { stdout, exitCode } = await run(command ?? 'ldd', args, { accept: [0, 1] })
  return exitCode === 1 ? [] : [...stdout.matchAll(/(\/\S+) \(0x[0-9a-f]+\)/g)].map((match) => match[1] ?? '')
}

async function copyLibraries(paths: readonly string[], root: string, from: string): Promise<void> {
  for (const path of paths) {
    await mkdir(dirname(join(root, path)), { recursive: true })
    await copyFile(join(from, path), join(root, path))
  }
}

const indexShape = z.looseObject({
  manifests: z.array(z.looseObject({ annotations: z.record(z.string(), z.string()).default({}) })),
})

/** containerd takes an image's whole name from an annotation of its own; the layout's tags have no slashes. */
async function nameImages(layout: string, options: ImagesOptions): Promise<void> {
  const file = join(layout, 'index.json')
  const index = indexShape.parse(JSON.parse(await readFile(file, 'utf8')))
  for (const { annotations } of index.manifests) {
    const [name = '', tag = ''] = (annotations['org.opencontainers.image.ref.name'] ?? '').split('_')
    annotations['io.containerd.image.name'] = `${options.repository}/${name}:${tag}`
    annotations['org.opencontainers.image.ref.name'] = tag
  }
  await writeFile(file, JSON.stringify(index))
}
