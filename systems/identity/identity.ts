/** A person's word at a checkpoint, and what is to prove whose word it is. */
export interface Claim {
  /** The canonical statement that has to be proved, byte for byte. */
  readonly statement: string
  /** Who it is said to be. Never more than a claim. */
  readonly by: string
  readonly proof: string | null
}

/** Whose word it is, under the one name by which that person is counted; or why that is not proved. */
export type Proven = { readonly who: string } | { readonly refused: string }

/** What stands in the way of every proof, by the field of the cluster file's `approval` that it belongs to. */
export interface IdentityFault {
  readonly field: 'proof' | 'allowedSigners'
  readonly what: string
}

/** One kind of proof. Needs no service on the network unless its kind is one. */
export interface Identity {
  /**
   * Judges a proof. A person has one name, however many keys or sessions.
   *
   * @throws RequorumError when it can't be told, which is neither consent nor a refusal of it.
   */
  prove(claim: Claim): Promise<Proven>

  /**
   * What would keep people from deciding, found before anybody is asked; empty when nothing would.
   *
   * @param people - how many different ones a checkpoint asks for.
   */
  faults(people: number): Promise<readonly IdentityFault[]>
}
