// Incidents: the board's list and the commands that move one forward. Answers and socket messages meet in one Map.
import { isOlder } from '../lib/phases'
import type { Alarm, Incident, Phase } from '../lib/shapes'
import { get, post } from './api'

export type IncidentFilter = 'open' | 'closed' | 'all'

class Incidents {
  #known = new Map<string, Incident>()
  all = $state.raw<Incident[]>([])
  loaded = $state(false)

  async load(state: IncidentFilter = 'open'): Promise<void> {
    const { incidents } = await get<{ incidents: Incident[] }>('/api/incidents', { state })
    // A list may carry less than one incident's own page: keep what we know of timelines.
    for (const incident of incidents) this.#known.set(incident.id, { ...this.#known.get(incident.id), ...incident })
    this.#publish()
    this.loaded = true
  }

  async open(alarms: string[], title?: string): Promise<Incident> {
    return this.apply(await post<Incident>('/api/incidents', { alarms, title }))
  }

  async fetch(id: string): Promise<Incident> {
    return this.apply(await get<Incident>(`/api/incidents/${encodeURIComponent(id)}`))
  }

  one(id: string): Incident | undefined {
    return this.all.find((incident) => incident.id === id)
  }

  apply(incident: Incident): Incident {
    const before = this.#known.get(incident.id)
    if (before && isOlder(incident, before)) return before
    const merged = { ...before, ...incident }
    // The socket names alarms by id; the page's answer carried them whole.
    if (before && incident.alarms.every((alarm) => typeof alarm === 'string')) {
      const whole = new Map(before.alarms.filter(isWhole).map((alarm) => [alarm.id, alarm]))
      merged.alarms = incident.alarms.map((alarm) => (isWhole(alarm) ? alarm : (whole.get(alarm) ?? alarm)))
    }
    this.#known.set(incident.id, merged)
    this.#publish()
    return merged
  }

  #publish(): void {
    this.all = [...this.#known.values()].sort((a, b) => (a.opened_at < b.opened_at ? 1 : -1))
  }

  async #command(id: string, verb: string, body: Record<string, unknown>): Promise<Incident> {
    return this.apply(await post<Incident>(`/api/incidents/${encodeURIComponent(id)}/${verb}`, body))
  }

  assign = (id: string, assignee: string): Promise<Incident> => this.#command(id, 'assign', { assignee })
  step = (id: string, step: string, done: boolean): Promise<Incident> => this.#command(id, 'step', { step, done })
  note = (id: string, text: string): Promise<Incident> => this.#command(id, 'note', { text })
  advance = (id: string, phase: Phase): Promise<Incident> => this.#command(id, 'advance', { phase })
  close = (id: string, cause: string, note: string): Promise<Incident> => this.#command(id, 'close', { cause, note })
}

const isWhole = (alarm: string | Alarm): alarm is Alarm => typeof alarm !== 'string'

export const incidents = new Incidents()
