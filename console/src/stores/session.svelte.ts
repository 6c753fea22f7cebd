// Who is at this console. `user` undefined: not asked yet; null: show the login page.
import type { User } from '../lib/shapes'
import { ApiError, get, post, whenUnauthorised } from './api'

class Session {
  user = $state<User | null | undefined>(undefined)
  mayChange = $derived(this.user != null && this.user.role !== 'viewer')

  async resume(): Promise<void> {
    try {
      this.user = await get<User>('/api/me')
    } catch (error) {
      if (error instanceof ApiError && error.status !== 401) throw error
      this.user = null
    }
  }

  async login(user: string, password: string): Promise<void> {
    const { name, role } = await post<User & { token: string }>('/api/login', { user, password })
    this.user = { user, name, role }
  }

  async logout(): Promise<void> {
    await post('/api/logout')
    this.user = null
  }
}

export const session = new Session()
whenUnauthorised(() => (session.user = null))
