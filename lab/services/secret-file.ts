import { chmodSync, readFileSync } from 'node:fs'
import { open, rename } from 'node:fs/promises'
import { randomBytes } from 'node:crypto'

/** Writes a file that only its owner may read: complete and synced under its name, or not at all. */
export async function writeSecretFile(path: string, text: string): Promise<void> {
  const partial = `${path}.partial`
  const file = await open(partial, 'w', 0o600)
  try {
    // `open` leaves the mode of a file alone that an interrupted run left behind.
    await file.chmod(0o600)
    await file.writeFile(text)
    await file.sync()
  } finally {
    await file.close()
  }
  await rename(partial, path)
}

/** Reads such a file; undefined when there is none. Puts its mode right if somebody loosened it. */
export function readSecretFile(path: string): string | undefined {
  try {
    chmodSync(path, 0o600)
    return readFileSync(path, 'utf8')
  } catch (error) {
    if (error instanceof Error && 'code' in error && error.code === 'ENOENT') return undefined
    throw error
  }
}

/** Random text of [A-Za-z0-9], safe in every file format used here; ~5.2 bits for each character. */
export function randomSecret(length: number): string {
  let text = ''
  while (text.length < length)
    text += randomBytes(length * 2)
      .toString('base64')
      .replace(/[^A-Za-z0-9]/g, '')
  return text.slice(0, length)
}
