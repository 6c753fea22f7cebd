// Setpoints: what may be written in the city, and every command with its steps. Answers and socket messages meet in one Map.
import type { Command, Setpoint, Settable } from '../lib/shapes'
import { get, post } from './api'

const KEPT = 500

class Commands {
  #known = new Map<string, Command>()
  /** Newest first. */
  all = $state.raw<Command[]>([])
  setpoints = $state.raw<Setpoint[]>([])
  loaded = $state(false)

  /** What may be written, and the newest commands of the city. */
  async load(): Promise<void> {
    const [found, { setpoints }] = await Promise.all([
      get<{ commands: Command[] }>('/api/commands', { limit: KEPT }),
      get<{ setpoints: Setpoint[] }>('/api/setpoints'),
    ])
    this.#take(found.commands)
    this.setpoints = setpoints
    this.loaded = true
  }

  /** The commands of one entity, also old ones. */
  async loadOf(entity: string): Promise<void> {
    this.#take((await get<{ commands: Command[] }>('/api/commands', { entity, limit: 50 })).commands)
  }

  one = (id: string): Command | undefined => this.all.find((command) => command.id === id)
  of = (entity: string): Setpoint[] => this.setpoints.filter((one) => one.entity === entity)
  lastOf = (entity: string, attribute: string): Command | undefined =>
    this.all.find((command) => command.entity === entity && command.attribute === attribute)

  apply(command: Command): Command {
    this.#take([command])
    return command
  }

  async ask(setpoint: Setpoint, value: Settable, reason: string): Promise<Command> {
    const { entity, attribute } = setpoint
    return this.apply(await post<Command>('/api/commands', { entity, attribute, value, reason }))
  }

  #take(commands: Command[]): void {
    for (const command of commands) {
      const before = this.#known.get(command.id)
      if (!before || forward(before, command)) this.#known.set(command.id, command)
    }
    this.all = [...this.#known.values()].sort((a, b) => (a.requested_at < b.requested_at ? 1 : -1))
  }
}

/** An answer or a refetch may cross a newer message on the socket: a command only moves forward, and what it waits for is not unsaid. */
function forward(before: Command, command: Command): boolean {
  const steps = command.steps.length - before.steps.length
  return steps > 0 || (steps === 0 && (command.waiting !== '' || before.waiting === ''))
}

export const commands = new Commands()
