// Active alarms, their order, filter and selection. The list is published at most every 50 ms, however many arrive.
import type { Alarm, AlarmState, Counts, Level } from '../lib/shapes'
import { byUrgency, waits } from '../lib/severity'
import { get, post } from './api'

const ACTIVE: ReadonlySet<AlarmState> = new Set(['unacknowledged', 'acknowledged', 'returned_unacknowledged'])
const LIMIT = 20_000
const PUBLISH_MS = 50
const QUIET: Counts = {
  serious: 0,
  alert: 0,
  caution: 0,
  attention: 0,
  unacknowledged: 0,
  shelved: 0,
  suppressed: 0,
  rate_10min: 0,
  flood: false,
}

interface AlarmPage {
  alarms: Alarm[]
  counts: Counts
}

class Alarms {
  #active = new Map<string, Alarm>()
  #timer: ReturnType<typeof setTimeout> | null = null
  #onNew: ((alarm: Alarm) => void)[] = []

  /** Everything active, most urgent first. */
  all = $state.raw<Alarm[]>([])
  counts = $state.raw<Counts>(QUIET)
  loaded = $state(false)
  /** Rises with every change of any alarm: lists of other states load again. */
  changes = $state(0)
  /** Levels to show; empty shows all. */
  levels = $state.raw<ReadonlySet<Level>>(new Set())
  hiddenDomains = $state.raw<ReadonlySet<string>>(new Set())
  selectedId = $state<string | null>(null)
  shown = $derived(
    this.all.filter(
      (alarm) => (!this.levels.size || this.levels.has(alarm.level)) && !this.hiddenDomains.has(alarm.domain),
    ),
  )

  selected(): Alarm | undefined {
    return this.selectedId === null ? undefined : this.#active.get(this.selectedId)
  }

  get(id: string): Alarm | undefined {
    return this.#active.get(id)
  }

  whenNew(then: (alarm: Alarm) => void): void {
    this.#onNew.push(then)
  }

  async load(): Promise<void> {
    const page = await get<AlarmPage>('/api/alarms', { state: 'active', limit: LIMIT })
    this.#active = new Map(page.alarms.filter((alarm) => ACTIVE.has(alarm.state)).map((alarm) => [alarm.id, alarm]))
    this.counts = page.counts
    this.#publish()
    this.loaded = true
  }

  async list(state: string, limit = 1000): Promise<Alarm[]> {
    return (await get<AlarmPage>('/api/alarms', { state, limit })).alarms
  }

  /** One alarm as it is now, from the socket or from the answer to a command. */
  apply(alarm: Alarm): void {
    const before = this.#active.get(alarm.id)
    if (before && before.changed_at > alarm.changed_at) return
    if (ACTIVE.has(alarm.state)) this.#active.set(alarm.id, alarm)
    else this.#active.delete(alarm.id)
    const worse = alarm.state === 'unacknowledged' && before?.state !== 'unacknowledged'
    if (worse) for (const then of this.#onNew) then(alarm)
    this.#timer ??= setTimeout(() => this.#publish(), PUBLISH_MS)
  }

  #publish(): void {
    if (this.#timer) clearTimeout(this.#timer)
    this.#timer = null
    this.all = [...this.#active.values()].sort(byUrgency)
    this.changes += 1
  }

  #applyNow(alarms: Alarm[]): void {
    for (const alarm of alarms) this.apply(alarm)
    this.#publish()
  }

  toggleLevel(level: Level): void {
    const next = new Set(this.levels)
    if (!next.delete(level)) next.add(level)
    this.levels = next
  }

  toggleDomain(domain: string): void {
    const next = new Set(this.hiddenDomains)
    if (!next.delete(domain)) next.add(domain)
    this.hiddenDomains = next
  }

  async acknowledge(ids: string[], note?: string): Promise<void> {
    const waiting = ids.filter((id) => {
      const alarm = this.#active.get(id)
      return !alarm || waits(alarm.state)
    })
    if (!waiting.length) return
    const answer = await post<{ alarms: Alarm[] }>('/api/alarms/acknowledge', { alarms: waiting, note })
    this.#applyNow(answer.alarms)
  }

  async shelve(id: string, duration_s: number, reason: string): Promise<void> {
    this.#applyNow([await post<Alarm>(`/api/alarms/${encodeURIComponent(id)}/shelve`, { duration_s, reason })])
  }

  async unshelve(id: string): Promise<void> {
    this.#applyNow([await post<Alarm>(`/api/alarms/${encodeURIComponent(id)}/unshelve`)])
  }
}

export const alarms = new Alarms()
