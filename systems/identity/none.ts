import type { Identity } from './identity.ts'

/** Takes every name on trust: for the lab, where nobody else reaches the engine. */
export const takenOnTrust: Identity = {
  prove: async ({ by }) => ({ who: by }),
  faults: async () => [],
}
