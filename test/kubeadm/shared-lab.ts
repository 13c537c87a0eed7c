import { after, before } from 'node:test'
import { findLab } from '../../lab/lab.ts'
import { readLab } from '../../lab/hosts/lab-hosts.ts'
import { Operator } from '../../lab/operator.ts'
import type { OwnLab } from '../lab/use-lab.ts'

/** The lab of profile kubeadm that the lane brought up: its files take turns with it and leave it healthy. */
export function sharedLab(): () => OwnLab {
  let shared: OwnLab | undefined

  before(async () => {
    const dir = process.env['REQUORUM_TEST_LAB_DIR']
    if (dir === undefined) throw new Error('The lab that this lane shares is not up.')
    const hosts = await readLab(dir)
    const lab = hosts === undefined ? undefined : await findLab(hosts.name, dir)
    if (lab === undefined) throw new Error(`The lab in ${dir} does not run as a whole any more.`)
    shared = { lab, operator: await Operator.of(lab) }
  })

  after(() => shared?.operator.close())

  return () => {
    if (shared === undefined) throw new Error('The lab is not up.')
    return shared
  }
}
