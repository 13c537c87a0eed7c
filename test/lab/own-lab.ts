import { readFile, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { parse, stringify } from 'yaml'
import { z } from 'zod'
import type { Lab } from '../../lab/lab.ts'
import type { Operator } from '../../lab/operator.ts'

/** A lab of somebody's own, beside any other on this machine. */
export interface OwnLab {
  readonly lab: Lab
  readonly operator: Operator
}

export function everyHost<Result>(lab: Lab, work: (host: string) => Promise<Result>): Promise<Result[]> {
  return Promise.all(lab.hosts.hosts.map((host) => work(host.name)))
}

/** Changes the cluster file, as an operator with an editor would; returns how to put it back. */
export async function editClusterFile(
  lab: Lab,
  edit: (file: Record<string, unknown>) => void,
): Promise<() => Promise<void>> {
  const path = join(lab.dir, 'clusters', `${lab.name}.yaml`)
  const before = await readFile(path, 'utf8')
  const file = z.record(z.string(), z.unknown()).parse(parse(before))
  edit(file)
  await writeFile(path, stringify(file))
  return () => writeFile(path, before)
}
