// The life of an incident, from assess to evaluate. `close` is reached by closing with a cause, never by advancing.
import type { Incident, Phase, TimelineEntry } from './shapes'

export const PHASES: readonly Phase[] = ['assess', 'warn', 'dispatch', 'handle', 'verify', 'close', 'evaluate']
export const CAUSES = ['equipment_fault', 'pipe_burst', 'power_failure', 'weather', 'third_party', 'planned_work', 'sensor_fault', 'false_alarm', 'other'] as const

/** The phase `G` leads to; null when the next one is closing, or there is none. */
export function nextPhase(incident: Pick<Incident, 'phase' | 'state'>): Phase | null {
  const next = PHASES[PHASES.indexOf(incident.phase) + 1] ?? null
  if (incident.state === 'closed') return incident.phase === 'close' ? 'evaluate' : null
  return next === 'close' ? null : next
}

/** May this step be ticked now: those of closing and evaluating also after the incident is closed. */
export const mayTick = (incident: Pick<Incident, 'state'>, phase: Phase | undefined): boolean =>
  incident.state === 'open' || phase === 'close' || phase === 'evaluate'

/** The field of a timeline entry that says to what, for `advanced`, `assigned`, `closed`, `attached`. */
export function subject(entry: TimelineEntry): string {
  for (const field of ['to', 'assignee', 'cause', 'step'] as const) {
    const found = entry[field]
    if (typeof found === 'string') return found
  }
  return ''
}

type Told = Pick<Partial<Incident>, 'timeline'>

/** Whether it was told before the other: a timeline only grows, and the socket's word may come after an answer's. */
export const isOlder = (one: Told, other: Told): boolean =>
  one.timeline !== undefined && one.timeline.length < (other.timeline?.length ?? 0)
