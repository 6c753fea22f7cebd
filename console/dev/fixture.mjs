// Development only, never shipped: serves the built console and made-up answers in the shapes of docs/reference/console-api.md,
// under the same content security policy. `node dev/fixture.mjs [--port 8027] [--alarms 40] [--flood] [--city ../cities/gimpo]`
import { createReadStream, existsSync, readFileSync, statSync } from 'node:fs'
import { createServer } from 'node:http'
import { extname, join } from 'node:path'
import { parseArgs } from 'node:util'
import { cityShape, domainOf, facilities, makeAlarms, namesOf, placeOf, PLAYBOOK, readCity } from './city.mjs'
import { accept } from './socket.mjs'

const { values: args } = parseArgs({
  options: {
    port: { type: 'string', default: '8027' },
    alarms: { type: 'string', default: '40' },
    flood: { type: 'boolean', default: false },
    quiet: { type: 'boolean', default: false },
    city: { type: 'string', default: join(import.meta.dirname, '../../cities/gimpo') },
  },
})
const UI = join(import.meta.dirname, '../../src/haechi/faces/console/ui')
const CSP =
  "default-src 'self'; script-src 'self'; worker-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data: blob:; connect-src 'self'"
const TYPES = { '.html': 'text/html', '.js': 'text/javascript', '.mjs': 'text/javascript', '.css': 'text/css', '.svg': 'image/svg+xml', '.woff2': 'font/woff2' }
const LIVING = new Set(['unacknowledged', 'acknowledged', 'returned_unacknowledged'])

const { entities, map } = readCity(args.city)
const byId = new Map(entities.map((one) => [one.id, one]))
const alarms = new Map(makeAlarms(entities, Number(args.alarms)).map((alarm) => [alarm.id, alarm]))
const incidents = new Map()
const sockets = new Set()
const now = () => new Date().toISOString()
const tell = (message) => sockets.forEach((send) => send(message))

function counts() {
  const found = { serious: 0, alert: 0, caution: 0, attention: 0, unacknowledged: 0, shelved: 0, suppressed: 0, rate_10min: args.flood ? 54 : 3, flood: args.flood }
  for (const alarm of alarms.values()) {
    if (alarm.state === 'shelved') found.shelved += 1
    if (!LIVING.has(alarm.state)) continue
    found[alarm.level] += 1
    if (alarm.state !== 'acknowledged') found.unacknowledged += 1
  }
  return found
}

function change(alarm, changes) {
  Object.assign(alarm, changes, { changed_at: now() })
  tell({ type: 'alarm', alarm })
  tell({ type: 'counts', counts: counts() })
  return alarm
}

const SIGNALS = { WaterPressureSensor: ['pressure', 'KPA', 420, 6], WaterFlowSensor: ['flow', 'G51', 38, 2], AirQualityObserved: ['pm25', 'GQ', 41, 4], WeatherObserved: ['temperature', 'CEL', 7, 1] }
const signalOf = (entity) => SIGNALS[entity?.type]
const signal = ([, , middle, swing], at) => Math.round((middle + swing * Math.sin(at / 9e5) + swing * 0.3 * Math.sin(at / 37e3)) * 100) / 100

function latest(some) {
  const columns = { entity: [], attribute: [], value: [], unit: [], observed_at: [], quality: [] }
  for (const entity of some) {
    const of = signalOf(entity)
    if (!of) continue
    const row = { entity: entity.id, attribute: of[0], value: signal(of, Date.now()), unit: of[1], observed_at: now(), quality: [] }
    for (const [key, one] of Object.entries(row)) columns[key].push(one)
  }
  return columns
}

function history(query) {
  const entity = byId.get(query.get('entity'))
  const of = signalOf(entity)
  const columns = { entity: [], attribute: [], observed_at: [], value: [], unit: [], quality: [] }
  if (!of) return { columns }
  for (let at = Date.parse(query.get('from')); at < Date.now(); at += 20_000) {
    columns.observed_at.push(new Date(at).toISOString())
    columns.value.push(signal(of, at))
    columns.unit.push(of[1])
  }
  return { columns }
}

function detail(alarm) {
  const [lon, lat] = alarm.location ?? [0, 0]
  const far = (at) => Math.hypot((at[0] - lon) * 88_000, (at[1] - lat) * 111_000)
  const cameras = entities.filter((one) => one.type === 'Camera').map((one) => ({ id: one.id, name: namesOf(one), location: placeOf(one), distance_m: far(placeOf(one)) }))
  const transitions = [{ at: alarm.raised_at, from: 'normal', to: 'unacknowledged', level: alarm.level, who: 'haechi', why: 'pressure < 250' }]
  return { ...alarm, transitions, cameras: cameras.sort((a, b) => a.distance_m - b.distance_m).slice(0, 3), playbook: PLAYBOOK }
}

const incidentShape = (one) => ({ ...one, alarms: one.alarms.map((id) => alarms.get(id)), playbook: PLAYBOOK })

function openIncident(body) {
  const linked = body.alarms.map((id) => alarms.get(id))
  const first = linked[0]
  const one = {
    id: `inc-${incidents.size + 1}`, number: incidents.size + 1, title: first.text, state: 'open', phase: 'assess', domain: first.domain, level: first.level,
    assignee: null, alarms: body.alarms, location: first.location, place: first.place, opened_at: now(), opened_by: 'kim', closed_at: null, cause: null,
    playbook: PLAYBOOK.id, steps: PLAYBOOK.steps.map((step) => ({ ...step, done: false })), timeline: [{ at: now(), who: 'kim', kind: 'opened', text: '' }],
  }
  incidents.set(one.id, one)
  for (const alarm of linked) change(alarm, { incident: one.id })
  return one
}

const VERBS = {
  step: (one, { step, done }) => (Object.assign(one.steps.find((s) => s.id === step), { done, done_by: done ? 'kim' : null, done_at: done ? now() : null }), { kind: done ? 'step_done' : 'step_undone', step }),
  note: (_one, { text }) => ({ kind: 'note', text }),
  assign: (one, { assignee }) => ((one.assignee = assignee), { kind: 'assigned', assignee }),
  advance: (one, { phase }) => ((one.phase = phase), { kind: 'advanced', to: phase }),
  close: (one, { cause, note }) => (Object.assign(one, { state: 'closed', phase: 'close', cause, closed_at: now(), closed_by: 'kim' }), { kind: 'closed', cause, text: note }),
}

function workOn(id, verb, body) {
  const one = incidents.get(id)
  one.timeline.push({ at: now(), who: 'kim', text: '', ...VERBS[verb](one, body) })
  tell({ type: 'incident', incident: one })
  return incidentShape(one)
}

function entityShape(entity) {
  const of = signalOf(entity)
  const attributes = of ? { [of[0]]: { value: signal(of, Date.now()), unit: of[1], observed_at: now(), quality: [], period_s: 10 } } : {}
  for (const [key, one] of Object.entries(entity)) if (one?.unitCode) attributes[key] = { value: one.value, unit: one.unitCode }
  return { id: entity.id, type: entity.type, domain: domainOf(entity), name: namesOf(entity), location: entity.location, scope: entity.scope, attributes, alarms: [] }
}

const TEXTS = { types: { WaterPressureSensor: { ko: '수압계', zh: '水压计', en: 'Pressure sensor' }, Camera: { ko: '카메라', zh: '摄像机', en: 'Camera' } }, attributes: { 'WaterPressureSensor.pressure': { ko: '수압', zh: '水压', en: 'Pressure' } } }
const inLang = (texts, lang) => Object.fromEntries(Object.entries(texts).map(([key, one]) => [key, one[lang]]))

const GET = [
  [/^\/api\/me$/, () => ({ user: 'kim', role: 'operator', name: '김하늘' })],
  [/^\/api\/city$/, () => cityShape(map)],
  [/^\/api\/map\/(\w+)\.geojson$/, ([, id]) => JSON.parse(readFileSync(map.find((layer) => layer.id === id).file, 'utf8'))],
  [/^\/api\/facilities$/, () => facilities(entities)],
  [/^\/api\/latest$/, () => latest(entities)],
  [/^\/api\/entities\/(.+)$/, ([, id]) => entityShape(byId.get(decodeURIComponent(id)))],
  [/^\/api\/alarms$/, (_m, query) => ({ alarms: [...alarms.values()].filter((one) => (query.get('state') === 'active' ? LIVING.has(one.state) : one.state === query.get('state'))), counts: counts() })],
  [/^\/api\/alarms\/(.+)$/, ([, id]) => detail(alarms.get(id))],
  [/^\/api\/incidents$/, (_m, query) => ({ incidents: [...incidents.values()].filter((one) => query.get('state') === 'all' || one.state === query.get('state')) })],
  [/^\/api\/incidents\/(.+)$/, ([, id]) => incidentShape(incidents.get(id))],
  [/^\/api\/history$/, (_m, query) => history(query)],
  [/^\/api\/texts\/(\w+)$/, ([, lang]) => ({ types: inLang(TEXTS.types, lang), attributes: inLang(TEXTS.attributes, lang), domains: {} })],
  [/^\/api\/setpoints$/, () => ({ setpoints: entities.filter((one) => one.type === 'Valve').slice(0, 20).map((one) => ({ entity: one.id, attribute: 'status', datatype: 'text', unit: null, low: null, high: null, tolerance: null, timeout_s: 30, undo: false })) })],
  [/^\/api\/commands$/, () => ({ commands: [], setpoints: [] })],
  [/^\/api\/quarantine$/, () => ({ messages: [{ id: 'q-1', link: 'water-mqtt', device: 'RTU-1', channel: 'P-1', reason: 'unmapped_field', detail: "link 'water-mqtt' maps no field 'druck'", count: 1, received_at: now(), payload: Buffer.from('{"druck": 3.5}').toString('base64') }] })],
  [/^\/api\/account$/, () => ({ balanced: true, links: { 'water-mqtt': { received: 128_402, stored: 128_390, rejected: {}, quarantined: 12, replayed: 0, in_quarantine: 12 }, 'air-hj212': { received: 9310, stored: 9300, rejected: { wrong_crc: 10 }, quarantined: 0, replayed: 0, in_quarantine: 0 } }, behind: { context: 0, watch: 0, incidents: 0, account: 0, history: 3 } })],
  [/^\/health$/, () => ({ status: 'ok', checks: { log: 137_712, behind: { context: 0, history: 3 }, problems: {} } })],
  [/^\/api\/vitals$/, () => ({
    roles: { api: { rss_bytes: 182_452_224, cpu_s: 41.2, silent_s: 0.4 }, gateway: { rss_bytes: 96_468_992, cpu_s: 88.1, silent_s: 0.7 }, pipeline: { rss_bytes: 251_658_240, cpu_s: 132.6, silent_s: 0.1 } },
    links: { 'water-mqtt': { connections: 31, pending: 0 }, 'air-hj212': { connections: 3, frames: 4210 } }, intake: { waiting: 0, room: 1 },
    log: { last_seq: 137_712, messages: 137_712, bytes: 48_234_496 }, disk_free_bytes: 64_424_509_440,
    history: { tail_rows: 18_220, committed_at: new Date(Date.now() - 20_000).toISOString() }, live_clients: 2, certificates: { 'water-mqtt': '2027-03-01T00:00:00Z' },
  })],
]
const POST = [
  [/^\/api\/login$/, () => ({ user: 'kim', role: 'operator', name: '김하늘', token: 'fixture' })],
  [/^\/api\/logout$/, () => ({})],
  [/^\/api\/alarms\/acknowledge$/, (_m, body) => ({ alarms: body.alarms.map((id) => change(alarms.get(id), { state: 'acknowledged', acknowledged: true, acknowledged_by: 'kim', acknowledged_at: now() })) })],
  [/^\/api\/alarms\/(.+)\/shelve$/, ([, id], body) => change(alarms.get(id), { state: 'shelved', shelved_until: new Date(Date.now() + body.duration_s * 1000).toISOString(), shelve_reason: body.reason })],
  [/^\/api\/alarms\/(.+)\/unshelve$/, ([, id]) => change(alarms.get(id), { state: 'acknowledged', shelved_until: null })],
  [/^\/api\/incidents$/, (_m, body) => incidentShape(openIncident(body))],
  [/^\/api\/incidents\/([^/]+)\/(\w+)$/, ([, id, verb], body) => workOn(id, verb, body)],
]

function answer(routes, path, extra, response) {
  for (const [pattern, make] of routes) {
    const match = pattern.exec(path)
    if (!match) continue
    let body
    try {
      body = make(match, extra)
    } catch (error) {
      // Ids the fixture has not: what a restart leaves in an open page.
      response.writeHead(404, { 'content-type': 'application/json' }).end(JSON.stringify({ error: 'NotFound', detail: String(error) }))
      return true
    }
    response.writeHead(200, { 'content-type': 'application/json' }).end(JSON.stringify(body))
    return true
  }
  return false
}

function file(path, response) {
  const wanted = join(UI, path === '/' ? 'index.html' : path)
  if (!wanted.startsWith(UI) || !existsSync(wanted) || !statSync(wanted).isFile()) return response.writeHead(404).end()
  response.writeHead(200, { 'content-type': TYPES[extname(wanted)] ?? 'application/octet-stream', 'content-security-policy': CSP })
  createReadStream(wanted).pipe(response)
}

const server = createServer((request, response) => {
  const { pathname, searchParams } = new URL(request.url, 'http://fixture')
  if (request.method === 'GET') return answer(GET, pathname, searchParams, response) || file(pathname, response)
  let text = ''
  request.on('data', (part) => (text += part))
  request.on('end', () => answer(POST, pathname, JSON.parse(text || '{}'), response) || response.writeHead(404).end())
})
server.on('upgrade', (request, socket) => {
  const send = accept(request, socket)
  sockets.add(send)
  for (const end of ['close', 'error']) socket.on(end, () => sockets.delete(send))
  send({ type: 'hello', now: now(), seq: 0 })
})
setInterval(() => tell({ type: 'tick', now: now() }), 1000)
if (!args.quiet) setInterval(() => tell({ type: 'latest', ...latest(entities) }), 2000)
server.listen(Number(args.port), '127.0.0.1', () => console.log(`fixture on http://127.0.0.1:${args.port}/`))
