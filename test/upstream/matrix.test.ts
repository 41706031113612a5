import { testMatrix } from './matrix.ts'

testMatrix(['udp', 'tcp', 'tls'])
