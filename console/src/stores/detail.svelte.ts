// The selected alarm with what only its own page carries: cameras, playbook, history of states. Loaded after a short rest,
// so that a key held down in the list does not ask for every row it passes.
import { untrack } from 'svelte'
import type { Alarm, AlarmDetail } from '../lib/shapes'
import { alarms } from './alarms.svelte'
import { get } from './api'

const REST_MS = 120

class Detail {
  now = $state.raw<AlarmDetail | null>(null)

  #version = $derived.by(() => {
    void alarms.changes
    return alarms.selected()?.changed_at
  })

  /** Call inside an effect: follows the selection and every change of the selected alarm. */
  follow(): (() => void) | void {
    const id = alarms.selectedId
    void this.#version
    if (untrack(() => this.now?.id) !== id) this.now = null
    if (id === null) return
    const timer = setTimeout(() => void this.#load(id), REST_MS)
    return () => clearTimeout(timer)
  }

  /** The selected alarm as the list has it; as last loaded once it has left the list. */
  alarm = $derived.by<Alarm | undefined>(() => {
    void alarms.changes
    const listed = alarms.selected()
    if (listed) return listed
    const kept = this.now
    return kept && kept.id === alarms.selectedId ? { ...kept, playbook: kept.playbook?.id ?? null } : undefined
  })

  async #load(id: string): Promise<void> {
    try {
      const found = await get<AlarmDetail>(`/api/alarms/${encodeURIComponent(id)}`)
      if (alarms.selectedId === id) this.now = found
    } catch (error) {
      // The list still shows the alarm; the next change or selection asks again.
      console.warn('alarm detail', error)
    }
  }
}

export const detail = new Detail()
