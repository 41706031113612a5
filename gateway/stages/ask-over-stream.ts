import { Answer } from '../../dns/answer.ts'
import { Rcode } from '../../dns/types.ts'

/** TC without a record, no longer than the query: who is there asks again over TCP (RFC 2181 §9). */
export const ASK_OVER_STREAM = new Answer({ rcode: Rcode.NOERROR, source: 'local', truncated: true })
