import type { LabHosts } from '../lab-hosts.ts'

export type Availability = { readonly available: true } | { readonly available: false; readonly why: string }

/** Something that breaks in real life and can be broken on purpose here. */
export interface Fault {
  readonly name: string
  /** What is broken, for the person who asks for it. */
  readonly describe: string
  /** Whether it can be injected into this lab on this machine. */
  readonly available: (lab: LabHosts) => Promise<Availability>
  /** Breaks it; returns when it is broken. */
  readonly inject: (lab: LabHosts, hostName: string) => Promise<void>
  /** Takes back what inject did, where that can be taken back. */
  readonly mend?: (lab: LabHosts, hostName: string) => Promise<void>
}

export const always = (): Promise<Availability> => Promise.resolve({ available: true })
