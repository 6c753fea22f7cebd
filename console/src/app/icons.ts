// Line icons of the console, 24 x 24, drawn for it; `Icon.svelte` shows them.

export const ICONS = {
  logo: 'M3 21V11l5-3v13M8 21V4l6-2v19M14 9l7 3v9M2 21h20',
  ops: 'M3 12h4l3-8 4 16 3-8h4',
  alarms: 'M6 16V11a6 6 0 0 1 12 0v5l1.5 2h-15zM10 21h4M12 3v2',
  incidents: 'M6 3h9l3 3v15H6zM9 9h6M9 13h6M9 17h4',
  assets: 'M12 3l8 4.5v9L12 21l-8-4.5v-9zM4 7.5l8 4.5 8-4.5M12 12v9',
  commands: 'M4 7h9M17 7h3M15 4.5v5M4 17h3M11 17h9M9 14.5v5',
  admin: 'M12 9a3 3 0 1 0 0 6 3 3 0 0 0 0-6zM12 2v4M12 18v4M2 12h4M18 12h4M5 5l2.8 2.8M16.2 16.2 19 19M19 5l-2.8 2.8M7.8 16.2 5 19',
  search: 'M10.5 4a6.5 6.5 0 1 0 0 13 6.5 6.5 0 0 0 0-13zM15.5 15.5 21 21',
  sound: 'M4 9v6h4l5 4V5L8 9zM16.5 8.5a5 5 0 0 1 0 7M19 6a8.5 8.5 0 0 1 0 12',
  muted: 'M4 9v6h4l5 4V5L8 9zM17 9.5l5 5M22 9.5l-5 5',
  clock: 'M12 3a9 9 0 1 0 0 18 9 9 0 0 0 0-18zM12 7v5l3.5 2',
  camera: 'M3 8h12v9H3zM15 11l6-3v9l-6-3',
  flood: 'M12 3 22 20H2zM12 9v5M12 16.8v.4',
  link: 'M9.5 14.5l5-5M8 11l-3 3a3.5 3.5 0 0 0 5 5l3-3M16 13l3-3a3.5 3.5 0 0 0-5-5l-3 3',
  unlinked: 'M8 11l-3 3a3.5 3.5 0 0 0 5 5l3-3M16 13l3-3a3.5 3.5 0 0 0-5-5l-3 3M4 4l16 16',
  close: 'M5 5l14 14M19 5 5 19',
  plus: 'M12 5v14M5 12h14',
  minus: 'M5 12h14',
  home: 'M4 11l8-7 8 7v9h-5v-6H9v6H4z',
  check: 'M4 12.5l5 5L20 6.5',
  fly: 'M12 21s-7-6.2-7-11a7 7 0 0 1 14 0c0 4.800-7 11-7 11zM12 7.500a2.500 2.500 0 1 0 0 5 2.500 2.500 0 0 0 0-5z',
  open: 'M9 6l6 6-6 6',
  shut: 'M6 9l6 6 6-6',
  user: 'M12 4a4 4 0 1 0 0 8 4 4 0 0 0 0-8zM4 20c1-4 4-6 8-6s7 2 8 6',
  leave: 'M10 4H5v16h5M14 8l4 4-4 4M18 12H9',
  help: 'M9 9a3 3 0 1 1 4.500 2.600c-1 .6-1.500 1.200-1.500 2.400M12 17v.5M12 3a9 9 0 1 0 0 18 9 9 0 0 0 0-18z',
  down: 'M12 4v11M7 10.500l5 5 5-5M4 20h16',
} as const

export type IconName = keyof typeof ICONS
