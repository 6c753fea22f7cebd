// The one place that calls fetch. Every other store asks here; a panel never does.

export class ApiError extends Error {
  constructor(
    readonly status: number,
    readonly kind: string,
    detail: string,
  ) {
    super(detail)
  }
}

let onUnauthorised: () => void = () => {}

/** Called with every 401: the session store shows the login page. */
export function whenUnauthorised(then: () => void): void {
  onUnauthorised = then
}

async function fail(response: Response, path: string): Promise<never> {
  let kind = response.statusText
  let detail = ''
  try {
    const body = (await response.json()) as { error?: string; detail?: string }
    kind = body.error ?? kind
    detail = body.detail ?? ''
  } catch {
    detail = '' // A proxy's HTML page: the status says all we can tell.
  }
  if (response.status === 401 && path !== '/api/login') onUnauthorised()
  throw new ApiError(response.status, kind, detail)
}

async function send(path: string, init: RequestInit): Promise<Response> {
  let response: Response
  try {
    response = await fetch(path, { credentials: 'same-origin', ...init })
  } catch {
    throw new ApiError(0, 'Unreachable', '')
  }
  // /health answers 503 with its body when the city is down: that is an answer, not a failure.
  if (!response.ok && !(path === '/health' && response.status === 503)) await fail(response, path)
  return response
}

export async function get<T>(path: string, query: Record<string, string | number | undefined> = {}): Promise<T> {
  const pairs = Object.entries(query).filter(([, value]) => value !== undefined && value !== '')
  const search = new URLSearchParams(pairs.map(([name, value]) => [name, String(value)])).toString()
  return (await send(search ? `${path}?${search}` : path, {})).json() as Promise<T>
}

export async function post<T>(path: string, body: unknown = {}): Promise<T> {
  const response = await send(path, {
    method: 'POST',
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify(body),
  })
  return response.json() as Promise<T>
}
