import { describe, expect, it } from 'vitest'
import type { Domain, Facilities } from '../src/lib/shapes'
import { readLayer } from '../src/map/base'
import { choose } from '../src/map/choose'
import { Dots } from '../src/map/dots'
import { drawList, widthAt } from '../src/map/draw'
import { fit, latOf, lonOf, mercX, mercY, metresPerPx, scaleBar } from '../src/map/mercator'

describe('the renderer', () => {
  it('is lite without WebGL2 or on a software renderer, else WebGL2', () => {
    expect(choose(null, () => null)).toBe('lite')
    expect(choose(null, () => 'ANGLE (Google, Vulkan 1.3 (SwiftShader Device (Subzero)))')).toBe('lite')
    expect(choose(null, () => 'ANGLE (Mesa, llvmpipe (LLVM 15))')).toBe('lite')
    expect(choose(null, () => 'ANGLE (NVIDIA GeForce RTX 3060)')).toBe('gl')
  })
  it('is what the address asks for, but never WebGL2 where there is none', () => {
    expect(choose('lite', () => 'ANGLE (NVIDIA)')).toBe('lite')
    expect(choose('gl', () => 'llvmpipe')).toBe('gl')
    expect(choose('gl', () => null)).toBe('lite')
  })
})

describe('the base map', () => {
  const layer = { id: 'roads', url: '/api/map/roads.geojson', role: 'road' }
  const road = (kind: string): object => ({ type: 'Feature', properties: { class: kind }, geometry: { type: 'LineString', coordinates: [[126, 37], [127, 38]] } })
  it('sorts roads by class and draws the larger ones on top', () => {
    const read = readLayer(layer, { type: 'FeatureCollection', features: [road('primary'), road('tertiary'), road('service')] })
    expect(drawList([read]).map((one) => one.id)).toEqual(['minor', 'middle', 'major'])
  })
  it('names what is wrong with a layer', () => {
    expect(() => readLayer(layer, { type: 'Topology' })).toThrow('not a GeoJSON FeatureCollection')
    expect(() => readLayer({ ...layer, role: 'street' }, { type: 'FeatureCollection', features: [] })).toThrow('role "street" is none of land')
  })
  it('reads names in each language from either spelling', () => {
    const label = (properties: object): object => ({ type: 'Feature', properties, geometry: { type: 'Point', coordinates: [126, 37] } })
    const features = [label({ name: { ko: '장기동', en: 'Janggi' } }), label({ name_ko: '구래동', name_zh: '九来洞' }), label({})]
    const read = readLayer({ ...layer, role: 'label' }, { type: 'FeatureCollection', features })
    expect(read.labels.map((one) => one.names)).toEqual([{ ko: '장기동', en: 'Janggi' }, { ko: '구래동', zh: '九来洞' }])
  })
  it('draws lines of a width between the stops', () => {
    expect([8, 10, 12, 20].map((zoom) => widthAt([[10, 1], [14, 3]], zoom))).toEqual([1, 1, 2, 3])
  })
})

describe('the projection', () => {
  it('comes back to where it started', () => {
    expect(lonOf(mercX(126.662))).toBeCloseTo(126.662, 9)
    expect(latOf(mercY(37.647))).toBeCloseTo(37.647, 9)
  })
  it('shows the whole frame', () => {
    const frame = { west: 126.52, south: 37.57, east: 126.82, north: 37.76 }
    const view = fit(frame, 1000, 700)
    const px = 512 * 2 ** view.zoom
    expect((mercX(frame.east) - mercX(frame.west)) * px).toBeLessThanOrEqual(1000)
    expect((mercY(frame.south) - mercY(frame.north)) * px).toBeLessThanOrEqual(700)
  })
  it('has a scale bar of a round length', () => {
    const view = { centre: [126.662, 37.647] as [number, number], zoom: 13 }
    const bar = scaleBar(view, 110)
    expect(bar.metres).toBe(500)
    expect(bar.px).toBeCloseTo(500 / metresPerPx(view), 6)
  })
})

describe('facilities on the map', () => {
  const facilities: Facilities = {
    id: ['a', 'b', 'c', 'd'],
    type: ['T', 'T', 'T', 'T'],
    domain: ['water', 'air', 'water', 'water'],
    lon: [126.66, 126.661, null, 126.7],
    lat: [37.64, 37.64, 37.64, 37.7],
    name: { ko: [], zh: [], en: [] },
  }
  const domains = [{ id: 'water', colour: 0 }, { id: 'air', colour: 1 }] as Domain[]
  const view = { centre: [126.66, 37.64] as [number, number], zoom: 15 }
  it('have a place and a visible domain', () => {
    expect([...Dots.of(facilities, domains, new Set()).rows]).toEqual([0, 1, 3])
    expect([...Dots.of(facilities, domains, new Set(['air'])).rows]).toEqual([0, 3])
  })
  it('are picked by the nearest within reach, and not when hidden', () => {
    expect(Dots.of(facilities, domains, new Set()).pick(view, 45, 0, 9)).toBe(1)
    expect(Dots.of(facilities, domains, new Set(['air'])).pick(view, 45, 0, 9)).toBe(-1)
  })
})
