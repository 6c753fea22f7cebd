import { describe, expect, it } from 'vitest'
import { backOff, Link, type LinkState, type WebSocketLike, type World } from '../src/stores/link'

interface Timer {
  at: number
  then: () => void
}

/** A world whose clock moves only when told to. */
class Simulated implements World {
  now = 0
  timers = new Set<Timer>()
  sockets: (WebSocketLike & { closed: boolean; said: string[] })[] = []
  open(): WebSocketLike {
    const socket = {
      onmessage: null,
      onclose: null,
      closed: false,
      said: [] as string[],
      send: (text: string) => void socket.said.push(text),
      close: () => void (socket.closed = true),
    }
    this.sockets.push(socket)
    return socket
  }
  later(then: () => void, after_ms: number): unknown {
    const timer = { at: this.now + after_ms, then }
    this.timers.add(timer)
    return timer
  }
  cancel(timer: unknown): void {
    this.timers.delete(timer as Timer)
  }
  chance = (): number => 0
  get socket(): WebSocketLike & { closed: boolean; said: string[] } {
    const last = this.sockets.at(-1)
    if (!last) throw new Error('no socket yet')
    return last
  }
  pass(ms: number): void {
    const end = this.now + ms
    for (;;) {
      const next = [...this.timers].filter((one) => one.at <= end).sort((a, b) => a.at - b.at)[0]
      if (!next) break
      this.now = next.at
      this.timers.delete(next)
      next.then()
    }
    this.now = end
  }
}

function started(): { world: Simulated; link: Link; states: LinkState[]; heard: string[] } {
  const world = new Simulated()
  const [states, heard]: [LinkState[], string[]] = [[], []]
  const link = new Link('ws://city/api/live', world, (text) => heard.push(text), (state) => states.push(state))
  link.start()
  return { world, link, states, heard }
}

describe('the live link', () => {
  it('is live with the first message and passes each one on', () => {
    const { world, states, heard } = started()
    world.socket.onmessage?.({ data: '{"type":"hello"}' })
    world.socket.onmessage?.({ data: '{"type":"tick"}' })
    expect(states).toEqual(['live'])
    expect(heard).toHaveLength(2)
  })
  it('is lost after five seconds without a message, not before', () => {
    const { world, states } = started()
    world.socket.onmessage?.({ data: '{}' })
    world.pass(4900)
    expect(states).toEqual(['live'])
    world.pass(200)
    expect(states).toEqual(['live', 'lost'])
  })
  it('is lost also when the server refuses at once, again and again', () => {
    const { world, states } = started()
    world.socket.onmessage?.({ data: '{}' })
    world.socket.onclose?.()
    for (let i = 0; i < 12; i++) {
      world.pass(500)
      if (world.sockets.length > 1) world.socket.onclose?.()
    }
    expect(states).toEqual(['live', 'lost'])
  })
  it('comes back by itself and says so', () => {
    const { world, states } = started()
    world.socket.onmessage?.({ data: '{}' })
    world.pass(20_000)
    expect(world.sockets.length).toBeGreaterThan(1)
    world.socket.onmessage?.({ data: '{}' })
    expect(states).toEqual(['live', 'lost', 'live'])
  })
  it('says nothing to a server it has not heard, and speaks to the newest', () => {
    const { world, link } = started()
    link.say('early')
    world.socket.onmessage?.({ data: '{}' })
    link.say('first')
    const before = world.socket
    before.onclose?.()
    link.say('between')
    world.pass(600)
    link.say('not open yet')
    world.socket.onmessage?.({ data: '{}' })
    link.say('second')
    expect([before.said, world.socket.said]).toEqual([['first'], ['second']])
  })
  it('drops a socket that stays silent and ignores what it says later', () => {
    const { world, heard } = started()
    const first = world.socket
    world.pass(6000)
    expect(first.closed).toBe(true)
    expect(first.onmessage).toBeNull()
    expect(heard).toEqual([])
  })
  it('opens no socket after it was stopped', () => {
    const { world, link } = started()
    link.stop()
    world.pass(60_000)
    expect(world.sockets).toHaveLength(1)
    expect(world.timers.size).toBe(0)
  })
  it('waits longer each time, at most ten seconds, and spreads a crowd', () => {
    expect([0, 1, 2, 3, 4, 5, 9].map((attempt) => backOff(attempt, 0))).toEqual([500, 1000, 2000, 4000, 8000, 10_000, 10_000])
    expect(backOff(5, 1)).toBe(5000)
  })
})
