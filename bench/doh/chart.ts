import type { Results } from '../bench.ts'
import { SERVERS } from './servers.ts'

const WIDTH = 760
const LEFT = 96
const RIGHT = 64
const BAR = 15
const GAP = 3
const GROUP_GAP = 18
const TOP = 64
/** Readable on white and on black; told apart without colours by their order. */
const COLORS = ['#3b82f6', '#f59e0b', '#10b981', '#a855f7']
const STYLE =
  'text{font:12px system-ui,sans-serif;fill:#4b5563}.title{font-weight:600}@media(prefers-color-scheme:dark){text{fill:#c9d1d9}}'

/** Processor time per query, a bar for each server and load; null before it has been measured. */
export function cpuChart({ cpu }: Results): string | null {
  if (cpu === undefined || cpu.rows.length === 0) return null
  const most = Math.max(...cpu.rows.flatMap(({ cells }) => cells.slice(1, 1 + SERVERS.length).map(Number)))
  const scale = (WIDTH - LEFT - RIGHT) / most
  const groupHeight = SERVERS.length * (BAR + GAP) + GROUP_GAP
  const height = TOP + cpu.rows.length * groupHeight + 8
  const groups = cpu.rows.map(({ cells }, row) => {
    const top = TOP + row * groupHeight
    const bars = SERVERS.map((name, i) => {
      const micros = cells[1 + i]
      const y = top + i * (BAR + GAP)
      if (typeof micros !== 'number') return ''
      const width = Math.max(1, micros * scale)
      const label = `<text x="${(LEFT + width + 6).toFixed(1)}" y="${y + 12}">${micros.toFixed(1)}</text>`
      return `<rect x="${LEFT}" y="${y}" width="${width.toFixed(1)}" height="${BAR}" rx="2" fill="${COLORS[i]}"><title>${name}</title></rect>${label}`
    })
    return `<text x="${LEFT - 10}" y="${top + (groupHeight - GROUP_GAP) / 2 + 4}" text-anchor="end">${String(cells[0])}</text>${bars.join('')}`
  })
  const legend = SERVERS.map((name, i) => {
    const x = LEFT + i * 130
    return `<rect x="${x}" y="36" width="12" height="12" rx="2" fill="${COLORS[i]}"/><text x="${x + 18}" y="46">${name === 'ours' ? 'Atlas DNS' : name}</text>`
  })
  const title = `<text class="title" x="${LEFT}" y="20">Server processor time per DoH query, microseconds (less is better)</text>`
  return `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${WIDTH} ${height}" width="${WIDTH}" height="${height}" role="img" aria-label="Server processor time per DoH query"><style>${STYLE}</style>${title}${legend.join('')}${groups.join('')}</svg>\n`
}
