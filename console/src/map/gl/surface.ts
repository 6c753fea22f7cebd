// The map on WebGL2 through MapLibre: flat, north up, no glyph or sprite server (names are the overlay's).
import { Map as MapLibre, setWorkerUrl, type GeoJSONSource, type LayerSpecification, type SourceSpecification } from 'maplibre-gl'
import 'maplibre-gl/dist/maplibre-gl.css'
import workerUrl from 'maplibre-gl/dist/maplibre-gl-worker.mjs?url'
import type { LonLat } from '../../lib/shapes'
import { OPACITY, RADIUS, type Dots } from '../dots'
import { OUTSIDE, type Drawn, type Stops } from '../draw'
import type { View } from '../mercator'
import type { Surface, SurfaceOptions } from '../surface'

setWorkerUrl(workerUrl)
const DOTS = 'dots'

const byZoom = (stops: Stops): unknown[] => ['interpolate', ['linear'], ['zoom'], ...stops.flat()]

type Collection = Parameters<GeoJSONSource['setData']>[0]
const collection = (features: unknown[]): Collection => ({ type: 'FeatureCollection', features }) as Collection

function layersOf(drawn: Drawn): LayerSpecification[] {
  const common = { source: drawn.id, minzoom: drawn.minZoom }
  const layers: unknown[] = []
  if (drawn.fill) layers.push({ id: `${drawn.id}-fill`, type: 'fill', ...common, paint: { 'fill-color': drawn.fill } })
  if (drawn.line)
    layers.push({
      id: `${drawn.id}-line`,
      type: 'line',
      ...common,
      layout: { 'line-cap': drawn.dash ? 'butt' : 'round', 'line-join': 'round' },
      paint: {
        'line-color': drawn.line,
        'line-width': byZoom(drawn.width ?? [[0, 1]]),
        ...(drawn.dash ? { 'line-dasharray': [...drawn.dash] } : {}),
      },
    })
  return layers as LayerSpecification[]
}

const DOT_LAYER = {
  id: DOTS,
  type: 'circle',
  source: DOTS,
  paint: {
    'circle-color': ['get', 'colour'],
    // Soft edges take light from small circles: a little more radius makes them as bright as the other renderer's.
    'circle-radius': byZoom(RADIUS.map(([zoom, px]) => [zoom, px + 0.4] as const)),
    'circle-opacity': byZoom(OPACITY),
    'circle-stroke-color': '#0B1016',
    'circle-stroke-width': byZoom([[14, 0], [15, 1]]),
  },
} as unknown as LayerSpecification

export class GlSurface implements Surface {
  readonly kind = 'gl'
  #map: MapLibre
  #loaded: Promise<void>
  #gone = false

  constructor(private readonly options: SurfaceOptions) {
    this.#map = new MapLibre({
      container: options.container,
      style: { version: 8, sources: {}, layers: [{ id: 'outside', type: 'background', paint: { 'background-color': OUTSIDE } }] },
      center: options.view.centre,
      zoom: options.view.zoom,
      maxPitch: 0,
      dragRotate: false,
      pitchWithRotate: false,
      touchPitch: false,
      renderWorldCopies: false,
      attributionControl: false,
      fadeDuration: 0,
      maxZoom: 19,
      canvasContextAttributes: { antialias: !options.still },
      locale: { 'Map.Title': options.label },
    })
    this.#map.touchZoomRotate.disableRotation()
    this.#map.keyboard.disableRotation()
    this.#map.on('render', () => options.onDraw())
    this.#loaded = new Promise((done) => this.#map.once('load', () => done()))
  }

  async #put(id: string, features: unknown[], layers: LayerSpecification[], before?: string): Promise<void> {
    await this.#loaded
    if (this.#gone) return
    const known = this.#map.getSource<GeoJSONSource>(id)
    if (known) {
      known.setData(collection(features))
      return
    }
    this.#map.addSource(id, { type: 'geojson', data: collection(features) } as SourceSpecification)
    for (const layer of layers) this.#map.addLayer(layer, before && this.#map.getLayer(before) ? before : undefined)
  }

  setBase(drawn: Drawn[]): void {
    void Promise.all(drawn.map((one) => this.#put(one.id, one.features, layersOf(one), DOTS))).then(() => {
      if (!this.#gone) this.#map.once('idle', () => this.options.onReady())
    })
  }

  setDots(dots: Dots): void {
    const features = dots.at.map((coordinates, i) => ({
      type: 'Feature',
      properties: { colour: dots.colour[i] },
      geometry: { type: 'Point', coordinates },
    }))
    void this.#put(DOTS, features, [DOT_LAYER])
  }

  view(): View {
    const { lng, lat } = this.#map.getCenter()
    return { centre: [lng, lat], zoom: this.#map.getZoom() }
  }

  flyTo(view: View): void {
    const to = { center: view.centre, zoom: view.zoom }
    if (this.options.still) this.#map.jumpTo(to)
    else this.#map.easeTo({ ...to, duration: 150 })
  }

  zoomBy(steps: number): void {
    this.flyTo({ ...this.view(), zoom: this.#map.getZoom() + steps })
  }

  project(at: LonLat): [number, number] {
    const { x, y } = this.#map.project(at)
    return [x, y]
  }

  resize(): void {
    this.#map.resize()
  }

  destroy(): void {
    this.#gone = true
    this.#map.remove()
  }
}
