// Current numeric values of the whole city, in plain Maps: a panel subscribes to one entity, nothing else re-renders.
import type { LatestColumns } from '../lib/shapes'

export interface Current {
  value: number | null
  unit: string | null
  /** Milliseconds since the epoch; 0 when the device did not say. */
  observed_at: number
}

export class Latest {
  #entities = new Map<string, Map<string, Current>>()
  #watchers = new Map<string, Set<() => void>>()
  /** Called when an entity is watched that was not before, or no more. */
  onWatched: () => void = () => undefined

  /** Takes columns of equal length and wakes the watchers of the entities named in them, once each. */
  apply(columns: LatestColumns): void {
    const woken = new Set<() => void>()
    columns.entity.forEach((entity, row) => {
      const attribute = columns.attribute[row] ?? ''
      this.#put(entity, attribute, {
        value: columns.value[row] ?? null,
        unit: columns.unit[row] ?? null,
        observed_at: Date.parse(columns.observed_at[row] ?? '') || 0,
      })
      this.#watchers.get(entity)?.forEach((wake) => woken.add(wake))
    })
    woken.forEach((wake) => wake())
  }

  #put(entity: string, attribute: string, current: Current): void {
    let attributes = this.#entities.get(entity)
    if (!attributes) this.#entities.set(entity, (attributes = new Map()))
    const before = attributes.get(attribute)
    // A refetch may cross a newer message on the socket: values only move forward.
    if (before && before.observed_at > current.observed_at) return
    attributes.set(attribute, current)
  }

  of(entity: string): ReadonlyMap<string, Current> | undefined {
    return this.#entities.get(entity)
  }

  /** Calls `wake` after each change of that entity until the returned function is called. */
  watch(entity: string, wake: () => void): () => void {
    let watchers = this.#watchers.get(entity)
    if (!watchers) {
      this.#watchers.set(entity, (watchers = new Set()))
      this.onWatched()
    }
    watchers.add(wake)
    return () => {
      watchers.delete(wake)
      if (watchers.size || this.#watchers.get(entity) !== watchers) return
      this.#watchers.delete(entity)
      this.onWatched()
    }
  }

  /** The entities somebody looks at now. */
  get watched(): string[] {
    return [...this.#watchers.keys()]
  }
}

export const latest = new Latest()
