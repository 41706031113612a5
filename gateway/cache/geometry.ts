/**
 * How a page is laid out (docs/cache.md draws it). Entries of one name are in one page; a page is found, searched, filled and
 * cleared by itself, so that nothing in the table is ever locked or moved as a whole.
 *
 *   0     4      8            520            776                                             16384
 *   | end | count| directory  | popularity   | entries, in the order they came ... | free    |
 */
export const PAGE_BYTES = 16_384
export const PAGE_WORDS = PAGE_BYTES / 4

/** In words: offset behind the last entry, and how many entries the directory knows. */
export const PAGE_END = 0
export const PAGE_COUNT = 1

/** Power of two, and more than entries: searches stay short. A slot is 11 bits of offset in granules and 5 bits of hash; 0: free. */
export const SLOTS = 256
export const MAX_ENTRIES = 208
export const DIRECTORY = 8
/** An octet for each slot: how often the entry was asked for lately. */
export const POPULARITY = DIRECTORY + 2 * SLOTS
export const FIRST_ENTRY = POPULARITY + SLOTS

/** Entries begin and end at multiples of it. */
export const GRANULE = 8
export const OFFSET_MASK = 0x07ff
export const TAG_MASK = 0xf800

/** Half a page. Answers beyond it are rare, and each would push out dozens of others. */
export const MAX_ENTRY_BYTES = 7800
