// Joins the live link to the stores. After each loss the truth is fetched again: the socket is only a hint.
import type { LatestColumns, LiveMessage } from '../lib/shapes'
import { alarms } from './alarms.svelte'
import { get } from './api'
import { clock } from './clock.svelte'
import { commands } from './commands.svelte'
import { incidents } from './incidents.svelte'
import { latest } from './latest'
import { Link, SILENCE_MS, type LinkState, type World } from './link'

const BROWSER: World = {
  open: (url) => new WebSocket(url) as unknown as ReturnType<World['open']>,
  later: (then, after_ms) => setTimeout(then, after_ms),
  cancel: (timer) => clearTimeout(timer as ReturnType<typeof setTimeout>),
  chance: Math.random,
}

const WATCHED_MAX = 500 // entities named to the server; whoever looks at more gets all that changes

class Live {
  state = $state<LinkState>('connecting')
  lostAt = $state.raw<Date | null>(null)
  #link: Link | null = null
  #refetching: Promise<void> | null = null
  #saying = false

  constructor() {
    latest.onWatched = () => this.#watchSoon()
  }

  start(): void {
    if (this.#link) return
    const url = new URL('/api/live', location.href)
    url.protocol = url.protocol === 'https:' ? 'wss:' : 'ws:'
    this.#link = new Link(url.href, BROWSER, (text) => this.#take(text), (state) => this.#changed(state))
    this.#link.start()
  }

  stop(): void {
    this.#link?.stop()
    this.#link = null
    this.state = 'connecting'
    this.lostAt = null
  }

  #changed(state: LinkState): void {
    this.state = state
    // Lost since the last message, not since we noticed.
    this.lostAt = state === 'lost' ? new Date(clock.now.getTime() - SILENCE_MS) : null
  }

  #take(text: string): void {
    const message = JSON.parse(text) as LiveMessage
    if (message.type === 'tick') clock.set(message.now)
    else if (message.type === 'latest') latest.apply(message)
    else if (message.type === 'alarm') alarms.apply(message.alarm)
    else if (message.type === 'counts') alarms.counts = message.counts
    else if (message.type === 'incident') incidents.apply(message.incident)
    else if (message.type === 'command') commands.apply(message.command)
    else if (message.type === 'hello') this.#greeted(message.now)
  }

  /** A screen that opens watches many things at once: said once. */
  #watchSoon(): void {
    if (this.#saying) return
    this.#saying = true
    queueMicrotask(() => {
      this.#saying = false
      this.#watch()
    })
  }

  /** Only what somebody looks at is sent: the values of a whole city would keep the browser busy. */
  #watch(): void {
    const entities = latest.watched
    this.#link?.say(JSON.stringify(entities.length > WATCHED_MAX ? { type: 'watch' } : { type: 'watch', entities }))
  }

  #greeted(now: string): void {
    clock.set(now)
    this.#watch()
    void this.refetch()
  }

  /** Alarms, incidents and latest values as the API has them; called after every (re)connect. */
  refetch(): Promise<void> {
    this.#refetching ??= this.#fetchAll().finally(() => (this.#refetching = null))
    return this.#refetching
  }

  async #fetchAll(): Promise<void> {
    const columns = get<LatestColumns>('/api/latest').then((answer) => latest.apply(answer))
    const settled = await Promise.allSettled([alarms.load(), incidents.load('open'), commands.load(), columns])
    // A failed fetch while the link comes and goes is not news: the next hello fetches again. The console keeps what it has.
    for (const one of settled) if (one.status === 'rejected') console.warn('refetch', one.reason)
  }
}

export const live = new Live()
