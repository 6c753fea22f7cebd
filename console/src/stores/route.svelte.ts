// Hash routes: #/ops, #/alarms, #/incidents/<id> ... Back and forward work because the address is the state.

export type RouteName = 'login' | 'ops' | 'alarms' | 'incidents' | 'assets' | 'commands' | 'admin'
const NAMES: readonly RouteName[] = ['login', 'ops', 'alarms', 'incidents', 'assets', 'commands', 'admin']

export interface Route {
  name: RouteName
  id: string | null
  query: URLSearchParams
}

export function parse(hash: string): Route {
  const [path = '', query = ''] = hash.replace(/^#\/?/, '').split('?', 2)
  const [first, second] = path.split('/')
  const name = NAMES.find((one) => one === first) ?? 'ops'
  return { name, id: second ? decodeURIComponent(second) : null, query: new URLSearchParams(query) }
}

class Router {
  now = $state.raw<Route>(parse(location.hash))

  constructor() {
    addEventListener('hashchange', () => (this.now = parse(location.hash)))
  }

  go(name: RouteName, id?: string): void {
    location.hash = id ? `#/${name}/${encodeURIComponent(id)}` : `#/${name}`
  }
}

export const router = new Router()
