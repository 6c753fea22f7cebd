// The shapes of docs/reference/console-api.md. Stores parse nothing else; panels get these by props.

export type Lang = 'ko' | 'zh' | 'en'
export type Names = Partial<Record<Lang, string>>
export type Level = 'attention' | 'caution' | 'alert' | 'serious'
export type AlarmState =
  | 'unacknowledged'
  | 'acknowledged'
  | 'returned_unacknowledged'
  | 'normal'
  | 'shelved'
  | 'suppressed'
  | 'out_of_service'
export type Role = 'viewer' | 'operator' | 'supervisor' | 'admin'
export type Phase = 'assess' | 'warn' | 'dispatch' | 'handle' | 'verify' | 'close' | 'evaluate'
export type LonLat = [number, number]

export interface User {
  user: string
  role: Role
  name: string
}

export interface Domain {
  id: string
  name: Names
  icon: string
  colour: number
}

export interface MapLayer {
  id: string
  url: string
  role: string
  synthetic?: boolean
  attribution?: string
}

export interface City {
  id: string
  name: Names
  country: string
  time_zone: string
  languages: Lang[]
  simulated: boolean
  frame: { west: number; south: number; east: number; north: number }
  centre: LonLat
  zoom: number
  domains: Domain[]
  map: MapLayer[]
  now: string
}

export interface Facilities {
  id: string[]
  type: string[]
  domain: string[]
  lon: (number | null)[]
  lat: (number | null)[]
  name: Record<Lang, (string | null)[]>
}

export interface LatestColumns {
  entity: string[]
  attribute: string[]
  value: (number | null)[]
  unit: (string | null)[]
  observed_at: (string | null)[]
  quality: unknown[]
}

export interface AttributeValue {
  value: unknown
  unit?: string | null
  observed_at?: string | null
  quality?: string[]
  age_s?: number | null
  period_s?: number | null
  label?: Names
}

export interface Geometry {
  type: string
  coordinates: unknown
}

export interface Entity {
  id: string
  type: string
  domain: string
  name: Names | string | null
  location: LonLat | Geometry | null
  scope?: string[] | string | null
  attributes: Record<string, AttributeValue>
  alarms: Alarm[]
}

export interface Alarm {
  id: string
  rule: string
  domain: string
  level: Level
  state: AlarmState
  condition_active: boolean
  acknowledged: boolean
  entity: string
  entity_name: Names | string | null
  place: Names | string | null
  location: LonLat | null
  text: Names
  attribute: string | null
  value: number | string | boolean | null
  unit: string | null
  limit: number | null
  count: number
  raised_at: string
  changed_at: string
  cleared_at?: string | null
  acknowledged_by?: string | null
  acknowledged_at?: string | null
  shelved_until?: string | null
  shelve_reason?: string | null
  owner?: string | null
  incident?: string | null
  playbook?: string | null
  peak_level: Level
  group: string | null
}

export interface Transition {
  at: string
  from: string | null
  to: string
  level: Level
  who: string | null
  why: string | null
  value?: number | null
}

export interface Camera {
  id: string
  name: Names | string | null
  distance_m: number
  location: LonLat
}

export interface Step {
  id: string
  text: Names | string
  phase?: Phase
  mandatory?: boolean
  done?: boolean
  done_by?: string | null
  done_at?: string | null
}

export interface Playbook {
  id: string
  name: Names | string
  steps: Step[]
}

/** In lists `playbook` is an id, here it is the playbook itself. */
export interface AlarmDetail extends Omit<Alarm, 'playbook'> {
  transitions: Transition[]
  cameras: Camera[]
  playbook?: Playbook | null
}

export interface Counts {
  serious: number
  alert: number
  caution: number
  attention: number
  unacknowledged: number
  shelved: number
  suppressed: number
  rate_10min: number
  flood: boolean
}

export interface TimelineEntry {
  at: string
  who: string | null
  kind: string
  text?: Names | string | null
  [field: string]: unknown
}

export interface Incident {
  id: string
  number: number | string
  title: Names | string
  state: 'open' | 'closed'
  phase: Phase
  domain: string
  level: Level
  assignee?: string | null
  alarms: (string | Alarm)[]
  location: LonLat | null
  place: Names | string | null
  opened_at: string
  opened_by: string
  closed_at?: string | null
  closed_by?: string | null
  cause?: string | null
  playbook?: Playbook | string | null
  steps: Step[]
  timeline: TimelineEntry[]
}

export type CommandState = 'requested' | 'sent' | 'confirmed' | 'verified' | 'failed' | 'undone'
export type Settable = number | boolean | string

/** What may be written of one entity, in the attribute's unit. */
export interface Setpoint {
  entity: string
  attribute: string
  datatype: 'number' | 'integer' | 'boolean' | 'text'
  unit: string | null
  low: number | null
  high: number | null
  tolerance: number | null
  timeout_s: number
  undo: boolean
}

export interface CommandStep {
  at: string
  state: CommandState
  who: string
  why: string
}

export interface Command {
  id: string
  entity: string
  attribute: string
  value: Settable
  unit: string | null
  state: CommandState
  open: boolean
  reason: string
  requested_by: string
  requested_at: string
  changed_at: string
  deadline_at: string
  previous: Settable | null
  last_value: unknown
  waiting: string
  link: string
  device: string
  channel: string
  field: string
  steps: CommandStep[]
}

export interface HeldMessage {
  id: string
  link: string
  device: string
  channel: string
  reason: string
  detail: string
  count: number
  received_at: string
  /** Base64. */
  payload: string
}

export interface HistoryColumns {
  columns: {
    entity?: string[]
    attribute?: string[]
    observed_at?: string[]
    window_at?: string[]
    value?: (number | null)[]
    mean?: (number | null)[]
    unit?: (string | null)[]
  }
}

export interface LinkAccount {
  received: number
  stored: number
  rejected: Record<string, number> | number
  quarantined: number
  replayed: number
  in_quarantine: number
}

export interface Account {
  balanced: boolean
  links: Record<string, LinkAccount>
  behind: Record<string, number>
}

export interface Health {
  status: 'ok' | 'degraded' | 'down'
  checks: { log: number | string; behind?: Record<string, number>; problems?: Record<string, string> }
}

export interface Vitals {
  roles: Record<string, { rss_bytes?: number; cpu_s: number; silent_s: number | null }>
  links: Record<string, Record<string, number>>
  intake: { waiting?: number; room?: number }
  log: { last_seq: number; messages: number; bytes: number; max_bytes?: number }
  disk_free_bytes: number
  history: { tail_rows: number; committed_at: string | null; upkeep_at?: string | null; upkeep_took_s?: number | null }
  live_clients: number
  certificates: Record<string, string | null>
}

export interface Texts {
  types: Record<string, string>
  attributes: Record<string, string>
  domains: Record<string, string>
}

export type LiveMessage =
  | { type: 'hello'; now: string; seq: number }
  | ({ type: 'latest' } & LatestColumns)
  | { type: 'alarm'; alarm: Alarm }
  | { type: 'counts'; counts: Counts }
  | { type: 'incident'; incident: Incident }
  | { type: 'command'; command: Command }
  | { type: 'tick'; now: string }
