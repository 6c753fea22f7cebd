// The base map: GeoJSON of the city's own server, read once into what both renderers draw. Called by the city store.
import type { LonLat, MapLayer, Names } from '../lib/shapes'

export type Role = 'land' | 'water' | 'road' | 'building' | 'rail' | 'boundary' | 'label' | 'pipe'
const ROLES: readonly Role[] = ['land', 'water', 'road', 'building', 'rail', 'boundary', 'label', 'pipe']

export interface Feature {
  type: 'Feature'
  properties: Record<string, unknown> | null
  geometry: { type: string; coordinates: unknown } | null
}

export interface BaseLayer {
  id: string
  role: Role
  features: Feature[]
  labels: { at: LonLat; names: Names }[]
}

/** Raises an Error that names what is wrong with the layer. */
export function readLayer(layer: MapLayer, body: unknown): BaseLayer {
  const collection = body as { type?: string; features?: Feature[] }
  if (collection.type !== 'FeatureCollection' || !Array.isArray(collection.features))
    throw new Error('not a GeoJSON FeatureCollection')
  const role = ROLES.find((one) => one === layer.role)
  if (!role) throw new Error(`role "${layer.role}" is none of ${ROLES.join(', ')}`)
  const features = collection.features.filter((feature) => feature.geometry)
  return { id: layer.id, role, features, labels: features.flatMap((feature) => label(feature)) }
}

function label(feature: Feature): BaseLayer['labels'] {
  const geometry = feature.geometry
  const names = namesOf(feature.properties ?? {})
  if (geometry?.type !== 'Point' || !names) return []
  return [{ at: geometry.coordinates as LonLat, names }]
}

function namesOf(properties: Record<string, unknown>): Names | null {
  const whole = properties.name
  if (whole && typeof whole === 'object') return whole as Names
  const names: Names = {}
  for (const lang of ['ko', 'zh', 'en'] as const) {
    const name = properties[`name_${lang}`] ?? properties[`name:${lang}`]
    if (typeof name === 'string') names[lang] = name
  }
  if (typeof whole === 'string') names.en ??= whole
  return Object.keys(names).length ? names : null
}

/** Rings or lines of a geometry as lists of positions; empty for points. */
export function lines(geometry: Feature['geometry']): LonLat[][] {
  if (!geometry) return []
  const c = geometry.coordinates
  if (geometry.type === 'LineString') return [c as LonLat[]]
  if (geometry.type === 'MultiLineString' || geometry.type === 'Polygon') return c as LonLat[][]
  if (geometry.type === 'MultiPolygon') return (c as LonLat[][][]).flat()
  return []
}

export const isArea = (feature: Feature): boolean => feature.geometry?.type.endsWith('Polygon') ?? false
