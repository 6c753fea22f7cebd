// The city's time: the server's clock carried on by ours. Everything that shows an age reads `now`.

class Clock {
  #offset_ms = 0
  now = $state.raw(new Date())

  constructor() {
    setInterval(() => this.#beat(), 1000)
  }

  #beat(): void {
    this.now = new Date(Date.now() + this.#offset_ms)
  }

  /** The server said what time it is. */
  set(now: string): void {
    const at = Date.parse(now)
    if (Number.isNaN(at)) return
    // Follow jumps at once, ignore the jitter of single messages.
    if (Math.abs(at - Date.now() - this.#offset_ms) > 1500) {
      this.#offset_ms = at - Date.now()
      this.#beat()
    }
  }

  /** Seconds since that instant, never negative: a device may run ahead of us. */
  age_s = (instant: string): number => Math.max(0, (this.now.getTime() - Date.parse(instant)) / 1000)
}

export const clock = new Clock()
