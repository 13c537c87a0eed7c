import type { Diagnosis, DiagnosisKind, Evidence } from '../../domain/diagnosis.ts'
import { facts } from './table.ts'

const VERDICTS: Readonly<Record<DiagnosisKind, string>> = {
  healthy: 'HEALTHY',
  restart: 'RESTART',
  'expired-certificates': 'EXPIRED CERTIFICATES',
  'no-space': 'NO SPACE',
  'replace-member': 'REPLACE ONE MEMBER',
  'restore-quorum': 'RESTORE AFTER QUORUM LOSS',
  'hands-off': 'HANDS OFF',
}

/** The answer first, then what it rests on, then what to type. */
export function diagnosisText(diagnosis: Diagnosis): string {
  const { kind, summary, evidence, next, findings, looks } = diagnosis
  return [
    `${VERDICTS[kind]}: ${summary}`,
    '',
    `What ${looks === 1 ? 'one look' : `${looks} looks`} found; nothing was touched:`,
    ...evidenceLines(evidence),
    ...(findings.length === 0 ? [] : ['', 'Besides:', ...evidenceLines(findings)]),
    ...(next.length === 0 ? [] : ['', 'Next:']),
    ...next.flatMap(({ on, say, commands }, at) => [
      '',
      `${at + 1}. ${on === null ? '' : `on ${on}: `}${say}`,
      ...commands.map((command) => `     ${command}`),
    ]),
  ].join('\n')
}

function evidenceLines(evidence: readonly Evidence[]): string[] {
  return evidence.length === 0
    ? []
    : facts(
        evidence.map(({ node, fact }) => [node ?? 'cluster', fact]),
        '  ',
      )
}
