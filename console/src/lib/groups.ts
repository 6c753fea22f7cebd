// In a flood the list shows causes, not alarms: one row per group, the first alarm of the group on top.
import type { Alarm } from './shapes'
import { rank, waits } from './severity'

export interface Row {
  alarm: Alarm
  /** Alarms this row stands for; 1 outside a flood and for members of an opened group. */
  count: number
  group: string | null
  member: boolean
}

/** `shown` most urgent first. Groups keep the place of their most urgent alarm and are led by their first-up one. */
export function rows(shown: readonly Alarm[], flood: boolean, opened: ReadonlySet<string>): Row[] {
  if (!flood) return shown.map((alarm) => ({ alarm, count: 1, group: null, member: false }))
  const groups = new Map<string, Alarm[]>()
  for (const alarm of shown) {
    const key = alarm.group ?? alarm.id
    const group = groups.get(key)
    if (group) group.push(alarm)
    else groups.set(key, [alarm])
  }
  return [...groups].flatMap(([key, group]) => rowsOf(key, group, opened.has(key)))
}

function rowsOf(key: string, group: Alarm[], open: boolean): Row[] {
  const first = firstUp(group)
  if (!first) return []
  const head: Row = { alarm: first, count: group.length, group: group.length > 1 ? key : null, member: false }
  if (!open || group.length === 1) return [head]
  const others = group.filter((alarm) => alarm !== first)
  return [head, ...others.map((alarm) => ({ alarm, count: 1, group: key, member: true }))]
}

// First-up among what still waits at the group's highest waiting level: the likely cause, never a lesser alarm.
function firstUp(group: Alarm[]): Alarm | undefined {
  const waiting = group.filter((alarm) => waits(alarm.state))
  const pool = waiting.length ? waiting : group
  const top = Math.max(...pool.map((alarm) => rank(alarm.level)))
  return pool
    .filter((alarm) => rank(alarm.level) === top)
    .reduce<Alarm | undefined>((a, b) => (a && a.raised_at <= b.raised_at ? a : b), undefined)
}
