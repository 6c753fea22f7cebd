// A tone per level for new alarms that wait; can be muted for two minutes only. Login unlocks the browser's audio.
import type { Alarm, Level } from '../lib/shapes'
import { rank } from '../lib/severity'
import { alarms } from './alarms.svelte'
import { clock } from './clock.svelte'

const MUTE_S = 120
const TONES: Record<Level, { hertz: number; beeps: number }> = {
  serious: { hertz: 880, beeps: 3 },
  alert: { hertz: 740, beeps: 2 },
  caution: { hertz: 587, beeps: 1 },
  attention: { hertz: 440, beeps: 1 },
}
const GAP_MS = 1500

class Sound {
  #context: AudioContext | null = null
  #lastAt = 0
  #lastRank = 0
  #groups = new Set<string>()
  mutedUntil = $state(0)
  mutedFor_s = $derived(Math.max(0, Math.ceil((this.mutedUntil - clock.now.getTime()) / 1000)))

  start(): void {
    alarms.whenNew((alarm) => this.#sound(alarm))
  }

  /** Must be called from a click or key press once: browsers stay silent before. */
  unlock(): void {
    this.#context ??= new AudioContext()
    if (this.#context.state === 'suspended') void this.#context.resume()
  }

  toggle(): void {
    this.unlock()
    this.mutedUntil = this.mutedFor_s > 0 ? 0 : clock.now.getTime() + MUTE_S * 1000
  }

  #sound(alarm: Alarm): void {
    if (this.mutedFor_s > 0 || this.#context?.state !== 'running') return
    if (!alarms.counts.flood) this.#groups.clear()
    else if (alarm.group && this.#groups.has(alarm.group)) return
    if (alarm.group) this.#groups.add(alarm.group)
    const now = performance.now()
    if (now - this.#lastAt < GAP_MS && rank(alarm.level) <= this.#lastRank) return
    this.#lastAt = now
    this.#lastRank = rank(alarm.level)
    const { hertz, beeps } = TONES[alarm.level]
    for (let beep = 0; beep < beeps; beep++) this.#beep(this.#context, hertz, beep * 0.22)
  }

  #beep(context: AudioContext, hertz: number, after_s: number): void {
    const at = context.currentTime + after_s
    const tone = context.createOscillator()
    const gain = context.createGain()
    tone.frequency.value = hertz
    gain.gain.setValueAtTime(0, at)
    gain.gain.linearRampToValueAtTime(0.2, at + 0.01)
    gain.gain.setValueAtTime(0.2, at + 0.13)
    gain.gain.linearRampToValueAtTime(0, at + 0.16)
    tone.connect(gain).connect(context.destination)
    tone.start(at)
    tone.stop(at + 0.17)
  }
}

export const sound = new Sound()
