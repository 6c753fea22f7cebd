// Development only: a city package read into the shapes of docs/reference/console-api.md, and alarms made up for it.
import { existsSync, readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'

const DOMAINS = {
  water: { id: 'water', name: { ko: '상수도', zh: '供水', en: 'Water supply' }, icon: 'droplet', colour: 4 },
  air: { id: 'air', name: { ko: '대기', zh: '大气', en: 'Air' }, icon: 'wind', colour: 1 },
  weather: { id: 'weather', name: { ko: '기상', zh: '气象', en: 'Weather' }, icon: 'cloud', colour: 7 },
  safety: { id: 'safety', name: { ko: '방범·안전', zh: '公共安全', en: 'Safety' }, icon: 'camera', colour: 2 },
}
const DOMAIN_OF = { AirQualityObserved: 'air', EmissionSource: 'air', WeatherObserved: 'weather', Camera: 'safety' }

const value = (toml, key) => new RegExp(`^${key} *= *"?([^"\\n]+)"?`, 'm').exec(toml)?.[1]

export function readCity(folder) {
  const entities = readdirSync(join(folder, 'facilities')).flatMap((file) =>
    readFileSync(join(folder, 'facilities', file), 'utf8').trim().split('\n').map((line) => JSON.parse(line)),
  )
  const layers = readFileSync(join(folder, 'city.toml'), 'utf8').split('[[map]]').slice(1)
  const map = layers
    .map((toml) => ({ id: value(toml, 'id'), file: join(folder, value(toml, 'file')), role: value(toml, 'role') }))
    .filter((layer) => existsSync(layer.file))
    .map((layer) => ({ ...layer, url: `/api/map/${layer.id}.geojson`, synthetic: true, attribution: 'Haechi testbed, simulated' }))
  return { entities, map }
}

export const cityShape = (map) => ({
  id: 'gimpo',
  name: { ko: '김포시', zh: '金浦市', en: 'Gimpo' },
  country: 'KR',
  time_zone: 'Asia/Seoul',
  languages: ['ko', 'zh', 'en'],
  simulated: true,
  frame: { west: 126.52, south: 37.57, east: 126.82, north: 37.76 },
  centre: [126.662, 37.647],
  zoom: 13,
  domains: Object.values(DOMAINS),
  map: map.map(({ file: _file, ...layer }) => layer),
  now: new Date().toISOString(),
})

export function placeOf(entity) {
  const { type, coordinates } = entity.location ?? {}
  if (type === 'Point') return coordinates
  return type === 'LineString' ? coordinates[Math.floor(coordinates.length / 2)] : null
}
export const domainOf = (entity) => DOMAIN_OF[entity.type] ?? 'water'
export const namesOf = (entity) => entity.name?.languageMap ?? { en: entity.id }

export function facilities(entities) {
  const shown = { id: [], type: [], domain: [], lon: [], lat: [], name: { ko: [], zh: [], en: [] } }
  for (const entity of entities) {
    const [lon, lat] = placeOf(entity) ?? [null, null]
    const names = namesOf(entity)
    for (const [key, one] of Object.entries({ id: entity.id, type: entity.type, domain: domainOf(entity), lon, lat })) shown[key].push(one)
    for (const lang of ['ko', 'zh', 'en']) shown.name[lang].push(names[lang] ?? null)
  }
  return shown
}

const KINDS = [
  ['serious', 'water', 'WaterPressureSensor', 'pressure', 'KPA', 212.4, 250, { ko: '수압 급강하 — 관 파손 의심', zh: '水压骤降 — 疑似爆管', en: 'Pressure collapse — burst suspected' }],
  ['alert', 'water', 'WaterFlowSensor', 'flow', 'G51', 61.2, 45, { ko: '야간 유량 초과', zh: '夜间流量超限', en: 'Night flow above limit' }],
  ['caution', 'air', 'AirQualityObserved', 'pm25', 'GQ', 78, 75, { ko: '초미세먼지(PM2.5) 주의', zh: 'PM2.5 黄色预警', en: 'Fine dust (PM2.5) above limit' }],
  ['attention', 'water', 'WaterConsumptionObserved', 'flow', 'MQH', null, null, { ko: '수도미터 통신 두절', zh: '水表通信中断', en: 'Water meter silent' }],
]

export function makeAlarms(entities, count) {
  const weights = [0.06, 0.14, 0.3, 0.5]
  return Array.from({ length: count }, (_, i) => {
    let pick = ((i * 7919 + 13) % 1000) / 1000
    const k = i === 0 ? 0 : Math.max(0, weights.findIndex((w) => (pick -= w) < 0))
    return makeAlarm(entities, KINDS[k], i)
  })
}

function makeAlarm(entities, [level, domain, type, attribute, unit, measured, limit, words], i) {
  const fitting = entities.filter((one) => one.type === type)
  const entity = fitting[(i * 31) % fitting.length] ?? entities[i % entities.length]
  const raised = new Date(Date.now() - (40 + ((i * 977) % 14000)) * 1000).toISOString()
  const names = namesOf(entity)
  const state = i % 5 === 3 ? 'acknowledged' : i % 11 === 7 ? 'returned_unacknowledged' : 'unacknowledged'
  const place = Object.fromEntries(Object.entries(names).map(([lang, name]) => [lang, name.split(' ')[0]]))
  return {
    id: `alm-${i + 1}`, rule: `${domain}.${attribute}`, domain, level, state, condition_active: state !== 'returned_unacknowledged',
    acknowledged: state === 'acknowledged', entity: entity.id, entity_name: names, place, location: placeOf(entity),
    text: Object.fromEntries(Object.entries(words).map(([lang, word]) => [lang, `${place[lang] ?? ''} ${word}`])),
    attribute, value: measured, unit, limit, count: 1 + (i % 4), raised_at: raised, changed_at: raised, cleared_at: null,
    acknowledged_by: state === 'acknowledged' ? 'kim' : null, shelved_until: null, owner: null, incident: null,
    playbook: 'water.burst', peak_level: level, group: `${domain}/${attribute}/${place.en}`,
  }
}

export const PLAYBOOK = {
  id: 'water.burst',
  name: { ko: '관 파손 대응', zh: '爆管处置', en: 'Pipe burst' },
  steps: [
    ['assess', { ko: '인근 카메라로 노면 누수를 확인한다', zh: '通过附近摄像机核实路面渗水', en: 'Look for water on the road with the nearest cameras' }],
    ['assess', { ko: '이웃 수압계의 하강 여부를 확인한다', zh: '核对相邻水压计是否下降', en: 'Check whether neighbouring pressure sensors fell too' }],
    ['warn', { ko: '상수도사업소와 119에 전파한다', zh: '通报供水单位和119', en: 'Tell the water works and 119' }],
    ['dispatch', { ko: '현장 대응반을 출동시킨다', zh: '派遣现场处置人员', en: 'Send the repair crew' }],
    ['handle', { ko: '구간 밸브를 차단하고 우회 급수를 연다', zh: '关闭区段阀门并开通旁路供水', en: 'Close the section valves and open the bypass' }],
    ['verify', { ko: '수압 회복을 30분간 확인한다', zh: '确认水压恢复并保持30分钟', en: 'See the pressure back for 30 minutes' }],
  ].map(([phase, text], i) => ({ id: `s${i + 1}`, text, phase, mandatory: i < 3 })),
}
