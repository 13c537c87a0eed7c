import type { Catalogue } from '../../domain/snapshot.ts'

/** What the cluster's store holds, read with this machine's credentials; no engine is needed for it. */
export async function readCatalogue(home: string, cluster: string): Promise<Catalogue> {
  const { openCatalogue } = await import('../../workers/wiring.ts')
  return openCatalogue(home, cluster)
}
