// The live link: one WebSocket that comes back by itself. Knows no shapes and no screen; `live.svelte.ts` uses it.

export type LinkState = 'connecting' | 'live' | 'lost'

/** What the link needs of the world, so that tests can bring their own. */
export interface World {
  open(url: string): WebSocketLike
  later(then: () => void, after_ms: number): unknown
  cancel(timer: unknown): void
  chance(): number
}

export interface WebSocketLike {
  onmessage: ((event: { data: unknown }) => void) | null
  onclose: (() => void) | null
  send(text: string): void
  close(): void
}

export const SILENCE_MS = 5000
const FIRST_RETRY_MS = 500
const LAST_RETRY_MS = 10_000

/** 0.5, 1, 2, 4, 8, 10, 10 ... s, each cut by up to a half so that a hall of consoles does not return as one. */
export function backOff(attempt: number, chance: number): number {
  return Math.min(LAST_RETRY_MS, FIRST_RETRY_MS * 2 ** attempt) * (1 - chance / 2)
}

export class Link {
  state: LinkState = 'connecting'
  #socket: WebSocketLike | null = null
  #attempt = 0
  #silence: unknown = null
  #patience: unknown = null
  #retry: unknown = null
  #stopped = false
  #open = false

  constructor(
    private readonly url: string,
    private readonly world: World,
    private readonly onMessage: (text: string) => void,
    private readonly onState: (state: LinkState) => void,
  ) {}

  start(): void {
    this.#stopped = false
    this.#listen()
    this.#connect()
  }

  stop(): void {
    this.#stopped = true
    for (const timer of [this.#silence, this.#patience, this.#retry]) this.world.cancel(timer)
    this.#drop()
  }

  /** Says it when the server has been heard on this socket, else never: whoever hears `hello` says it again. */
  say(text: string): void {
    if (this.#open) this.#socket?.send(text)
  }

  #connect(): void {
    const socket = this.world.open(this.url)
    this.#socket = socket
    this.#open = false
    socket.onmessage = (event) => this.#heard(event.data)
    socket.onclose = () => this.#closed()
    this.#patience = this.world.later(() => this.#giveUp(), SILENCE_MS)
  }

  #heard(data: unknown): void {
    this.#attempt = 0
    this.#open = true
    this.world.cancel(this.#patience)
    this.#patience = this.world.later(() => this.#giveUp(), SILENCE_MS)
    this.#listen()
    this.#become('live')
    if (typeof data === 'string') this.onMessage(data)
  }

  // Counts from the last message, not from the last attempt: a server that refuses at once is silent too.
  #listen(): void {
    this.world.cancel(this.#silence)
    this.#silence = this.world.later(() => this.#become('lost'), SILENCE_MS)
  }

  #giveUp(): void {
    this.#drop()
    this.#again()
  }

  // A closed socket is not yet a lost link: five seconds of silence are, and the first retry is sooner than that.
  #closed(): void {
    this.world.cancel(this.#patience)
    this.#socket = null
    this.#again()
  }

  #drop(): void {
    const socket = this.#socket
    this.#socket = null
    if (!socket) return
    socket.onmessage = null
    socket.onclose = null
    socket.close()
  }

  #again(): void {
    if (this.#stopped) return
    this.world.cancel(this.#retry)
    this.#retry = this.world.later(() => this.#connect(), backOff(this.#attempt++, this.world.chance()))
  }

  #become(state: LinkState): void {
    if (this.state === state) return
    this.state = state
    this.onState(state)
  }
}
