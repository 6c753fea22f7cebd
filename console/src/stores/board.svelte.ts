// What the operator does with the alarm list: move, select, acknowledge, shelve, open an incident. Keys and buttons meet here.
import { rows, type Row } from '../lib/groups'
import { waits } from '../lib/severity'
import type { Alarm, LonLat, Setpoint } from '../lib/shapes'
import { alarms } from './alarms.svelte'
import { t } from './i18n.svelte'
import { incidents } from './incidents.svelte'
import { notices } from './notices.svelte'
import { router } from './route.svelte'
import { session } from './session.svelte'

export type Dialog =
  | { kind: 'help' }
  | { kind: 'shelve'; alarm: Alarm }
  | { kind: 'acknowledge'; ids: string[] }
  | { kind: 'note' | 'assign' | 'close'; incident: string }
  /** Without a setpoint the nearest ones are offered; `incident` gets a note of what was asked for. */
  | { kind: 'setpoint'; setpoint: Setpoint | null; near?: LonLat | null; incident?: string; reason?: string }
  | { kind: 'replay'; link: string | null; count: number }

const ASK_ABOVE = 20

class Board {
  dialog = $state.raw<Dialog | null>(null)
  /** Where the map should go; a new object each time. */
  fly = $state.raw<{ at: LonLat } | null>(null)
  opened = $state.raw<ReadonlySet<string>>(new Set())
  /** The list as it is shown: by cause in a flood on the operations screen, one by one in the table. */
  rows = $derived(rows(alarms.shown, alarms.counts.flood && router.now.name === 'ops', this.opened))
  index = $derived(this.rows.findIndex((row) => row.alarm.id === alarms.selectedId))
  #next: string | null = null
  #lastIndex = 0
  #busy = new Set<string>()

  select(id: string, fly = false): void {
    alarms.selectedId = id
    this.#next = null
    this.#lastIndex = this.index
    const at = alarms.selected()?.location
    if (fly && at) this.fly = { at }
  }

  move(by: 1 | -1): void {
    if (!this.rows.length) return
    const index = this.#from(by)
    const row = this.rows[Math.min(this.rows.length - 1, Math.max(0, index))]
    if (row) this.select(row.alarm.id)
  }

  // An acknowledged row sinks in the list: the next key continues where the operator was, not where the row went.
  #from(by: 1 | -1): number {
    const next = by === 1 && this.#next !== null ? this.rows.findIndex((row) => row.alarm.id === this.#next) : -1
    if (next >= 0) return next
    if (this.index >= 0) return this.index + by
    return alarms.selectedId === null ? 0 : this.#lastIndex
  }

  row(): Row | undefined {
    return this.rows[this.index]
  }

  flyToSelected(): void {
    const at = alarms.selected()?.location
    if (at) this.fly = { at }
    else notices.add('error', t('alarm.no_place'))
  }

  toggleGroup(open?: boolean): void {
    const group = this.row()?.group
    if (!group) return
    const next = new Set(this.opened)
    if (open ?? !next.has(group)) next.add(group)
    else next.delete(group)
    this.opened = next
  }

  clear(): void {
    alarms.selectedId = null
    this.#next = null
  }

  #idsOf(row: Row): string[] {
    if (row.count === 1) return [row.alarm.id]
    return alarms.shown.filter((alarm) => alarm.group === row.group && waits(alarm.state)).map((alarm) => alarm.id)
  }

  async acknowledge(): Promise<void> {
    const row = this.row()
    const alarm = alarms.selected()
    if (!alarm || !this.#may()) return
    const ids = row ? this.#idsOf(row) : [alarm.id]
    if (ids.length > ASK_ABOVE) this.dialog = { kind: 'acknowledge', ids }
    else if (ids.some((id) => waits(alarms.get(id)?.state ?? 'normal'))) await this.acknowledgeAll(ids)
  }

  async acknowledgeAll(ids: string[]): Promise<void> {
    this.#next = this.rows[this.index + 1]?.alarm.id ?? null
    const next = this.#next
    await this.#once(`acknowledge ${ids.join()}`, () => notices.attempt(() => alarms.acknowledge(ids), 'done.acknowledged'))
    this.#next = next
  }

  shelve(): void {
    const alarm = alarms.selected()
    if (alarm && this.#may()) this.dialog = { kind: 'shelve', alarm }
  }

  /** Opens an incident for the selection, or goes to the one it already belongs to. */
  async incident(): Promise<void> {
    const alarm = alarms.selected()
    if (!alarm) return
    if (alarm.incident) return router.go('incidents', alarm.incident)
    if (!this.#may()) return
    const row = this.row()
    const group = row && row.count > 1 ? alarms.shown.filter((one) => one.group === row.group && !one.incident) : [alarm]
    await this.#once(`incident ${alarm.id}`, () =>
      notices.attempt(async () => {
        const opened = await incidents.open(group.map((one) => one.id))
        router.go('incidents', opened.id)
      }, 'done.opened'),
    )
  }

  #may(): boolean {
    if (!session.mayChange) notices.add('error', t('error.viewer'))
    return session.mayChange
  }

  // A key held down must not open two incidents; A, I or J, A in a hurry must each do their work.
  async #once(what: string, work: () => Promise<unknown>): Promise<void> {
    if (this.#busy.has(what)) return
    this.#busy.add(what)
    try {
      await work()
    } finally {
      this.#busy.delete(what)
    }
  }
}

export const board = new Board()
