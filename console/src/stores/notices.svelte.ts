// Short messages about what the operator just did or could not do; and the one announcement line for new alarms.
import { ApiError } from './api'
import { i18n, t, type Key } from './i18n.svelte'

export interface Notice {
  id: number
  kind: 'done' | 'error'
  text: string
}

const SHOWN_MS = { done: 4000, error: 12_000 }

class Notices {
  list = $state.raw<Notice[]>([])
  #next = 1

  add(kind: Notice['kind'], text: string): void {
    const id = this.#next++
    this.list = [...this.list.slice(-3), { id, kind, text }]
    setTimeout(() => this.dismiss(id), SHOWN_MS[kind])
  }

  dismiss(id: number): void {
    this.list = this.list.filter((notice) => notice.id !== id)
  }

  /** Runs a command; what it says on failure names the next move. True when it went through. */
  async attempt(work: () => Promise<unknown>, done?: Key): Promise<boolean> {
    try {
      await work()
    } catch (error) {
      this.add('error', explain(error))
      return false
    }
    if (done) this.add('done', t(done))
    return true
  }
}

export function explain(error: unknown): string {
  if (!(error instanceof ApiError)) throw error
  const what = error.status === 0 ? t('error.Unreachable') : i18n.word('error', error.kind)
  return error.message ? `${what}: ${error.message}` : what
}

export const notices = new Notices()
