import { humanSeconds } from '../../domain/progress.ts'

/** `2026-11-22 02:14:05 UTC`; what isn't a time is shown as it is. */
export function utc(time: Date | string): string {
  const date = typeof time === 'string' ? new Date(time) : time
  return Number.isNaN(date.getTime())
    ? String(time)
    : `${date.toISOString().slice(0, 19).replace('T', ' ')} UTC`
}

/** `12 min ago`, or `in 3.8 h`. */
export function age(time: Date | string, now: Date): string {
  const seconds = (now.getTime() - new Date(time).getTime()) / 1_000
  if (Number.isNaN(seconds)) return ''
  return seconds < 0 ? `in ${humanSeconds(-seconds)}` : `${humanSeconds(seconds)} ago`
}

/** `2026-11-22 02:14:05 UTC (12 min ago)` */
export function utcWithAge(time: Date | string, now: Date): string {
  const text = age(time, now)
  return text === '' ? utc(time) : `${utc(time)} (${text})`
}

/** A length of time as config files write it: `6h`, `90s`. */
export function shortDuration(milliseconds: number): string {
  const units = [
    { unit: 'd', ms: 86_400_000 },
    { unit: 'h', ms: 3_600_000 },
    { unit: 'm', ms: 60_000 },
  ]
  const fit = units.find(({ ms }) => milliseconds >= ms && milliseconds % ms === 0)
  return fit === undefined ? `${milliseconds / 1_000}s` : `${milliseconds / fit.ms}${fit.unit}`
}
