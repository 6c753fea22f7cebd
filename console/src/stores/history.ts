// One series over a span, for trends: raw values when few enough, means of windows when not.
import type { HistoryColumns } from '../lib/shapes'
import { get } from './api'

export interface Series {
  /** Seconds since the epoch, rising. */
  at: number[]
  value: (number | null)[]
  unit: string | null
}

const RAW_SPAN_S = 3 * 3600
const WINDOWS = 600

export async function series(entity: string, attribute: string, from: Date, to: Date): Promise<Series> {
  const span_s = (to.getTime() - from.getTime()) / 1000
  const windowed = span_s > RAW_SPAN_S
  const { columns } = await get<HistoryColumns>('/api/history', {
    entity,
    attribute,
    from: from.toISOString(),
    to: to.toISOString(),
    window_s: windowed ? Math.ceil(span_s / WINDOWS) : undefined,
    aggregate: windowed ? 'mean' : undefined,
    format: 'json',
  })
  const at = (columns.window_at ?? columns.observed_at ?? []).map((instant) => Date.parse(instant) / 1000)
  return { at, value: columns.mean ?? columns.value ?? [], unit: columns.unit?.[0] ?? null }
}

/** Appends in place when newer than the last; true when it was. */
export function append(to: Series, at_s: number, value: number | null): boolean {
  if (at_s <= (to.at.at(-1) ?? 0)) return false
  to.at.push(at_s)
  to.value.push(value)
  return true
}
