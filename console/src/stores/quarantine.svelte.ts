// Messages that could not be understood: why, what they hold, and the way back once the mapping is mended.
import type { HeldMessage } from '../lib/shapes'
import { get, post } from './api'
import { t } from './i18n.svelte'
import { notices } from './notices.svelte'

const SHOWN = 50

class Quarantine {
  messages = $state.raw<HeldMessage[]>([])
  busy = $state(false)

  async load(): Promise<void> {
    this.messages = (await get<{ messages: HeldMessage[] }>('/api/quarantine', { limit: SHOWN })).messages
  }

  /** Maps held messages again, all when nothing narrows it. */
  async replay(which: { ids?: string[]; link?: string }): Promise<void> {
    if (this.busy) return
    this.busy = true
    await notices.attempt(async () => {
      const done = await post<{ replayed: number; still_quarantined: number }>('/api/quarantine/replay', which)
      const values = { n: done.replayed, left: done.still_quarantined }
      notices.add(done.replayed ? 'done' : 'error', t('quarantine.done', values))
      await this.load()
    })
    this.busy = false
  }
}

export const quarantine = new Quarantine()
