// The incident on the page: its step cursor and the commands that keys and buttons share.
import { mayTick, nextPhase } from '../lib/phases'
import type { Incident, LonLat, Step } from '../lib/shapes'
import { alarms } from './alarms.svelte'
import { board } from './board.svelte'
import { i18n, t } from './i18n.svelte'
import { incidents } from './incidents.svelte'
import { notices } from './notices.svelte'
import { router } from './route.svelte'
import { session } from './session.svelte'

class Desk {
  id = $state<string | null>(null)
  cursor = $state(0)
  incident = $derived(this.id === null ? undefined : incidents.one(this.id))
  #busy = new Set<string>()

  open(id: string): void {
    this.id = id
    this.cursor = 0
  }

  leave(): void {
    this.id = null
  }

  move(by: number): void {
    const last = (this.incident?.steps.length ?? 0) - 1
    this.cursor = Math.max(0, Math.min(last, this.cursor + by))
  }

  /** Ticks the step with that number (from 1) and puts the cursor there. */
  tickNumber(number: number): void {
    const step = this.incident?.steps[number - 1]
    if (!step) return
    this.cursor = number - 1
    void this.tick(step, !step.done)
  }

  tickCursor(): void {
    const step = this.incident?.steps[this.cursor]
    if (step) void this.tick(step, !step.done)
  }

  async tick(step: Step, done: boolean): Promise<void> {
    const incident = this.incident
    if (!incident || this.#busy.has(step.id) || !this.#may()) return
    if (!mayTick(incident, step.phase)) return notices.add('error', t('incident.is_closed'))
    this.#busy.add(step.id)
    const went = await notices.attempt(() => incidents.step(incident.id, step.id, done))
    this.#busy.delete(step.id)
    const steps = this.incident?.steps ?? []
    if (went && done && steps[this.cursor]?.id === step.id) this.move(1)
  }

  async advance(): Promise<void> {
    const incident = this.incident
    if (!incident || !this.#may()) return
    const next = nextPhase(incident)
    if (next) await notices.attempt(() => incidents.advance(incident.id, next))
    else if (incident.state === 'open') this.ask('close')
  }

  ask(kind: 'note' | 'assign' | 'close'): void {
    if (!this.incident || !this.#may()) return
    if (kind !== 'note' && this.incident.state === 'closed') return notices.add('error', t('incident.is_closed'))
    board.dialog = { kind, incident: this.incident.id }
  }

  /** A value for a device near the incident; the step under the cursor is the reason unless the operator says more. */
  set(): void {
    const incident = this.incident
    if (!incident || !this.#may()) return
    const step = incident.steps[this.cursor]
    const near = incident.location ?? this.#whereItBegan(incident)
    board.dialog = { kind: 'setpoint', setpoint: null, near, incident: incident.id, reason: step ? i18n.name(step.text) : '' }
  }

  #whereItBegan(incident: Incident): LonLat | null {
    const linked = incident.alarms.map((one) => (typeof one === 'string' ? alarms.get(one) : one))
    return linked.find((alarm) => alarm?.location)?.location ?? null
  }

  back(): void {
    router.go('incidents')
  }

  #may(): boolean {
    if (!session.mayChange) notices.add('error', t('error.viewer'))
    return session.mayChange
  }
}

export const desk = new Desk()
