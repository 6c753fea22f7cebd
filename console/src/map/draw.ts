// How the base map looks, as a list of things to fill and stroke from the bottom up. Data stays the brightest thing.
import type { BaseLayer, Feature, Role } from './base'
import { isArea } from './base'

export type Stops = readonly (readonly [zoom: number, px: number])[]

export interface Drawn {
  id: string
  features: Feature[]
  fill?: string
  line?: string
  width?: Stops
  dash?: readonly number[]
  minZoom: number
}

export const OUTSIDE = '#0E141B'
const LAND = '#121A23'

type Look = Omit<Drawn, 'id' | 'features'>

const LOOKS: Record<string, Look> = {
  land: { fill: LAND, minZoom: 0 },
  water: { fill: '#0A2233', minZoom: 0 },
  river: { line: '#12344A', width: [[9, 0.8], [14, 3], [17, 8]], minZoom: 0 },
  building: { fill: '#1B2733', minZoom: 13 },
  minor: { line: '#253341', width: [[10, 0.3], [13, 0.8], [16, 4]], minZoom: 10.5 },
  middle: { line: '#2F4152', width: [[10, 0.5], [13, 1.2], [16, 6]], minZoom: 9 },
  major: { line: '#3E556B', width: [[9, 0.7], [12, 1.3], [16, 9]], minZoom: 0 },
  rail: { line: '#7A8CA0', width: [[9, 1], [14, 1.8]], dash: [4, 2], minZoom: 0 },
  pipe: { line: '#1E5878', width: [[10, 0.5], [13, 1.2], [16, 3]], minZoom: 10 },
  boundary: { line: '#33475B', width: [[8, 0.8], [14, 1.4]], minZoom: 0 },
}

const ORDER = ['land', 'water', 'river', 'building', 'minor', 'middle', 'major', 'pipe', 'rail', 'boundary']
const MAJOR = new Set(['motorway', 'trunk', 'primary', 'secondary', 'major'])
const MIDDLE = new Set(['tertiary', 'residential_main', 'middle'])

function lookOf(role: Role, feature: Feature): string | null {
  if (role === 'label') return null
  if (role === 'water') return isArea(feature) ? 'water' : 'river'
  if (role !== 'road') return role
  const kind = String(feature.properties?.class ?? '')
  return MAJOR.has(kind) ? 'major' : MIDDLE.has(kind) ? 'middle' : 'minor'
}

/** Everything but the names (the overlay's), sorted into looks and ordered from the bottom up. */
export function drawList(layers: BaseLayer[]): Drawn[] {
  const groups = new Map<string, Feature[]>()
  for (const layer of layers)
    for (const feature of layer.features) {
      const look = lookOf(layer.role, feature)
      if (!look || feature.geometry?.type.endsWith('Point')) continue
      const group = groups.get(look) ?? []
      group.push(feature)
      groups.set(look, group)
    }
  return ORDER.flatMap((id) => {
    const features = groups.get(id)
    const look = LOOKS[id]
    return features && look ? [{ id, features, ...look }] : []
  })
}

/** The city's frame as land: what a city without a base map shows. */
export function plainFrame(frame: { west: number; south: number; east: number; north: number }): Drawn[] {
  const { west, south, east, north } = frame
  const ring = [[west, south], [east, south], [east, north], [west, north], [west, south]]
  const feature: Feature = { type: 'Feature', properties: null, geometry: { type: 'Polygon', coordinates: [ring] } }
  return [
    { id: 'frame', features: [feature], fill: LAND, minZoom: 0 },
    { id: 'frame-line', features: [feature], line: '#33475B', width: [[8, 1], [14, 1.4]], minZoom: 0 },
  ]
}

/** Width in pixels at that zoom, between the stops, flat outside them. */
export function widthAt(stops: Stops, zoom: number): number {
  let [lowZoom, low] = stops[0] ?? [0, 1]
  for (const [highZoom, high] of stops) {
    if (zoom <= highZoom) return highZoom === lowZoom ? high : low + ((high - low) * (zoom - lowZoom)) / (highZoom - lowZoom)
    ;[lowZoom, low] = [highZoom, high]
  }
  return low
}
