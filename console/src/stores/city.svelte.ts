// The city, its base map, its facilities and the words of its domains. Loaded once; texts again per language.
import type { AttributeValue, City, Entity, Facilities, Lang, Names, Texts } from '../lib/shapes'
import { readLayer, type BaseLayer } from '../map/base'
import { get } from './api'
import { clock } from './clock.svelte'
import { i18n, LANGS } from './i18n.svelte'

const NONE: Texts = { types: {}, attributes: {}, domains: {} }

export interface Found {
  row: number
  id: string
  name: string
}

class CityStore {
  city = $state.raw<City | null>(null)
  base = $state.raw<BaseLayer[]>([])
  /** Layers of the base map that could not be drawn, with the reason. */
  missing = $state.raw<string[]>([])
  facilities = $state.raw<Facilities | null>(null)
  #texts = $state.raw<Partial<Record<Lang, Texts>>>({})
  #rows = new Map<string, number>()
  zone = $derived(this.city?.time_zone ?? 'UTC')
  synthetic = $derived(this.city?.map.some((layer) => layer.synthetic) ?? false)
  attribution = $derived([...new Set(this.city?.map.map((layer) => layer.attribution).filter(Boolean))].join(' · '))

  async load(): Promise<void> {
    const city = await get<City>('/api/city')
    clock.set(city.now)
    if (!i18n.chosen && city.languages[0]) i18n.lang = LANGS.find((lang) => lang === city.languages[0]) ?? i18n.lang
    this.city = city
    await Promise.all([this.#loadBase(city), this.#loadFacilities(), this.loadTexts(i18n.lang)])
  }

  async #loadBase(city: City): Promise<void> {
    const missing: string[] = []
    const layers = await Promise.all(
      city.map.map(async (layer) => {
        try {
          return readLayer(layer, await get<unknown>(layer.url))
        } catch (error) {
          missing.push(`${layer.id}: ${error instanceof Error ? error.message : String(error)}`)
          return null
        }
      }),
    )
    this.base = layers.filter((layer) => layer !== null)
    this.missing = missing
  }

  async #loadFacilities(): Promise<void> {
    const facilities = await get<Facilities>('/api/facilities')
    this.#rows = new Map(facilities.id.map((id, row) => [id, row]))
    this.facilities = facilities
  }

  async loadTexts(lang: Lang): Promise<void> {
    if (this.#texts[lang]) return
    const texts = await get<Texts>(`/api/texts/${lang}`)
    this.#texts = { ...this.#texts, [lang]: { ...NONE, ...texts } }
  }

  typeName = (type: string): string => this.#texts[i18n.lang]?.types[type] ?? type
  attributeName = (type: string, attribute: string): string =>
    this.#texts[i18n.lang]?.attributes[`${type}.${attribute}`] ?? attribute
  domainName = (id: string): string => {
    const domain = this.city?.domains.find((one) => one.id === id)
    return domain ? i18n.name(domain.name) : (this.#texts[i18n.lang]?.domains[id] ?? id)
  }

  row = (id: string): number | undefined => this.#rows.get(id)

  facilityName(row: number): string {
    const names = this.facilities?.name
    return names?.[i18n.lang]?.[row] || names?.en?.[row] || names?.ko?.[row] || this.facilities?.id[row] || ''
  }

  /** Name of an entity by its id: the facility's, else the last part of the URN. */
  entityName(id: string, known?: Names | string | null): string {
    const row = this.#rows.get(id)
    return i18n.name(known) || (row === undefined ? (id.split(':').pop() ?? id) : this.facilityName(row))
  }

  /** Facilities whose name in any language, or id, contains every word; at most `limit`. */
  search(words: string, limit: number, domain = ''): Found[] {
    const facilities = this.facilities
    const wanted = words.toLowerCase().split(/\s+/).filter(Boolean)
    const found: Found[] = []
    if (!facilities) return found
    for (let row = 0; row < facilities.id.length && found.length < limit; row++) {
      if (domain && facilities.domain[row] !== domain) continue
      if (wanted.length && !wanted.every((word) => this.#text(row).includes(word))) continue
      found.push({ row, id: facilities.id[row] ?? '', name: this.facilityName(row) })
    }
    return found
  }

  #lower: string[] = []
  #text(row: number): string {
    const f = this.facilities
    return (this.#lower[row] ??= [f?.id[row], ...LANGS.map((lang) => f?.name[lang]?.[row])].join(' ').toLowerCase())
  }

  entity = (id: string): Promise<Entity> => get<Entity>(`/api/entities/${encodeURIComponent(id)}`)

  attributeLabel(type: string, name: string, value: AttributeValue): string {
    return i18n.name(value.label) || this.attributeName(type, name)
  }
}

export const cityStore = new CityStore()
