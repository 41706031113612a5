import { testMatrix } from './matrix.ts'

testMatrix(['https', 'quic', 'h3'])
