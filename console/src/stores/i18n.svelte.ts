// The language on screen. Switching it re-renders what reads it; nothing is loaded again.
import en from '../locales/en.json'
import ko from '../locales/ko.json'
import zh from '../locales/zh.json'
import { format, type Values } from '../lib/message'
import type { Lang, Names } from '../lib/shapes'
import { amount } from '../lib/units'
import { ago } from '../lib/times'

export type Key = keyof typeof en
const MESSAGES: Record<Lang, Record<Key, string>> = { ko, zh, en }
const LOCALES: Record<Lang, string> = { ko: 'ko-KR', zh: 'zh-CN', en: 'en-GB' }
export const LANGS: readonly Lang[] = ['ko', 'zh', 'en']
const KEPT = 'haechi.lang'

function initial(): Lang {
  const kept = localStorage.getItem(KEPT) ?? navigator.language.slice(0, 2)
  return LANGS.find((lang) => lang === kept) ?? 'ko'
}

class I18n {
  lang = $state<Lang>(initial())
  chosen = localStorage.getItem(KEPT) !== null
  locale = $derived(LOCALES[this.lang])
  #plural = $derived(new Intl.PluralRules(this.locale))
  #number = $derived(new Intl.NumberFormat(this.locale))
  #relative = $derived(new Intl.RelativeTimeFormat(this.locale, { style: 'short', numeric: 'always' }))
  #digits = $derived.by(() => {
    const made = new Map<number, Intl.NumberFormat>()
    const locale = this.locale
    return (digits: number): Intl.NumberFormat => {
      const known = made.get(digits) ?? new Intl.NumberFormat(locale, { maximumFractionDigits: digits })
      made.set(digits, known)
      return known
    }
  })

  choose(lang: Lang): void {
    this.lang = lang
    this.chosen = true
    localStorage.setItem(KEPT, lang)
  }

  t = (key: Key, values: Values = {}): string => format(MESSAGES[this.lang][key], values, this.#plural, this.#number)

  /** A key made at run time (`state.` + state); the bare word when we have no text for it. */
  word = (group: string, word: string): string => MESSAGES[this.lang][`${group}.${word}` as Key] ?? word

  /** A name from the API in the current language, else in any it has. */
  name = (names: Names | string | null | undefined): string => {
    if (!names) return ''
    if (typeof names === 'string') return names
    return names[this.lang] || names.en || names.ko || names.zh || ''
  }

  number = (value: number): string => this.#number.format(value)
  amount = (value: unknown): string => amount(value, this.#digits)
  ago = (seconds: number): string => ago(seconds, this.#relative)
}

export const i18n = new I18n()
export const t = i18n.t
