/**
 * Takes the README's picture: a restore that waits for a person, in the Temporal UI.
 *
 *     node scripts/picture.ts          (while a restore of the lab waits; needs Debian's chromium)
 */
import { existsSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import { chromium } from 'playwright-core'
import { recoveryWorkflowId } from '../domain/messages.ts'
import { findLab } from '../lab/lab.ts'
import { Operator } from '../lab/operator.ts'

const CHROMIUM = '/usr/bin/chromium'
const PICTURE = fileURLToPath(new URL('../docs/pictures/waiting-restore.png', import.meta.url))

if (!existsSync(CHROMIUM)) throw new Error(`There is no ${CHROMIUM}. Install it: apt-get install chromium`)
const lab = await findLab()
if (lab === undefined)
  throw new Error('No lab is up. Bring it up, break it and start a restore: README, "A restore".')
const operator = await Operator.of(lab)
const { waiting } = await operator.progress()
const { runId } = await operator.client.workflow.getHandle(recoveryWorkflowId(lab.name)).describe()
await operator.close()
if (waiting === null) throw new Error('The restore of the lab does not wait for anybody.')

const browser = await chromium.launch({
  executablePath: CHROMIUM,
  args: [
    '--no-sandbox',
    '--disable-gpu',
    '--disable-quic',
    '--no-first-run',
    '--disable-background-networking',
    '--disable-component-update',
    '--disable-sync',
  ],
})
try {
  const page = await browser.newPage({ viewport: { width: 1500, height: 1250 } })
  const workflow = encodeURIComponent(recoveryWorkflowId(lab.name))
  await page.goto(`${lab.engine.uiUrl}/namespaces/default/workflows/${workflow}/${runId}/user-metadata`)
  // The UI draws Markdown in a frame of its own.
  await page.frameLocator('iframe').getByText('Waits for a person').first().waitFor({ timeout: 120_000 })
  await page.waitForTimeout(1_500) // the UI draws its code blocks after the text
  await page.screenshot({ path: PICTURE })
  console.log(PICTURE)
} finally {
  await browser.close()
}
