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
