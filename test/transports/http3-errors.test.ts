import assert from 'node:assert/strict'
import test, { after, before, describe } from 'node:test'
import type { Field } from '../../net/fields.ts'
import { H3, Qpack } from '../../net/http3/errors.ts'
import { CONTROL_PREAMBLE, goaway } from '../../net/http3/own-control.ts'
import { runGateway, type TestGateway } from '../harness/gateway.ts'
import { aRecord, response, vector } from '../harness/messages.ts'
import { http3Request, http3Response, openBareHttp3, openHttp3, type QuicTestClient } from '../harness/quic.ts'
import { dnsServer } from '../harness/servers.ts'
import { frame, headers, hex, varint } from '../net/http3/bytes.ts'

/** A request stream: the client's next bidirectional one. */
const REQUEST = 0
/** The client's unidirectional streams, of whatever type. */
const UNI = [2, 6, 10, 14] as const
const [CONTROL, SECOND] = UNI

let upstream: Awaited<ReturnType<typeof dnsServer>>
let gateway: TestGateway
/** Another client of the gateway, whom nothing that the others do may disturb. */
let bystander: QuicTestClient

before(async () => {
  upstream = await dnsServer((query, reply) => reply(response(query, { answers: [aRecord()] })))
  gateway = await runGateway([upstream.endpoint])
  bystander = await openHttp3(gateway)
})
after(async () => {
  await bystander[Symbol.asyncDispose]()
  await gateway[Symbol.asyncDispose]()
  await upstream[Symbol.asyncDispose]()
})

const join = (...parts: Uint8Array[]) => Buffer.concat(parts)
const get = (...more: Field[]) => http3Request('GET', `/dns-query?dns=${vector('V01').toString('base64url')}`, ...more)
const post = (...more: Field[]) => http3Request('POST', '/dns-query', ['content-type', 'application/dns-message'], ...more)
const GET = get()
const POST = post()
const CONTENT = frame(0, vector('V01'))
const TRAILERS = headers(['x', 'y'])

async function assertAnswers(client: QuicTestClient, bytes: Uint8Array = GET): Promise<void> {
  const { status, body } = await http3Response(client, client.send(bytes))
  assert.deepEqual([status, (body[3] ?? 0) & 15], [200, 0])
}

const text = (code: number | undefined) => `0x${code?.toString(16)}`

/** The connection ends with this code, and another client is still answered. */
async function assertEnds(client: QuicTestClient, code: number): Promise<void> {
  assert.equal(text((await client.ended.promise).code), text(code))
  await assertAnswers(bystander)
}

async function drops(): Promise<number> {
  const metrics = await (await fetch(`http://127.0.0.1:${gateway.admin.port}/metrics`)).text()
  return Number(/^atlas_drops_total\{reason="http3_error"\} (\d+)$/m.exec(metrics)?.[1] ?? 0)
}

// RFC 9114 §9; conformance H3-05, H3-06, H3-10, X08
describe('what is unknown is ignored', () => {
  const GREASE = frame(0x21 + 0x1f * 7, 'whatever')

  test('settings and frames', async () => {
    await using client = await openBareHttp3(gateway)
    const settings = join(varint(0x21), varint(5), varint(0x1f * 2 ** 40 + 0x21), varint(2 ** 50), hex('0100 0700 0801 3301'))
    client.connection.send(CONTROL, join(hex('00'), frame(4, settings), GREASE, frame(0x0d, hex('05'))), false)
    // what the streams of QPACK may say without a dynamic table
    client.connection.send(6, hex('02 20'), false)
    client.connection.send(10, hex('03 40 7f8001'), false)
    await assertAnswers(client, join(GREASE, POST, GREASE, CONTENT, GREASE, TRAILERS, GREASE))
    await assertAnswers(client, join(frame(0x21), GET, frame(0x40)))
  })

  test('unidirectional streams without end are not', async () => {
    await using client = await openBareHttp3(gateway)
    for (let i = 0; i < 40; i++) client.connection.send(2 + 4 * i, hex('40'), false)
    assert.equal((await client.ended.promise).code, H3.EXCESSIVE_LOAD)
  })

  test('unidirectional streams, which are no error either', async () => {
    const before = await drops()
    await using client = await openBareHttp3(gateway)
    client.connection.send(2, join(varint(0x21 + 0x1f * 1000), Buffer.from('open')), false)
    client.connection.send(6, join(varint(0x54), Buffer.from('over')), true)
    client.connection.send(10, hex('40'), false)
    client.connection.send(14, CONTROL_PREAMBLE, false)
    await assertAnswers(client)
    client.connection.send(2, Buffer.alloc(1000), true)
    client.connection.reset(10, H3.NO_ERROR)
    await assertAnswers(client)
    assert.equal(await drops(), before)
  })
})

/** What is sent, on which stream. */
type Step = readonly [stream: number, bytes: Uint8Array, fin?: 'fin']

// RFC 9114 §8, RFC 9204 §6; conformance H3-04 to H3-09, QP-02 to QP-06
describe('an error of the connection ends it', () => {
  const START = hex('00 0400')
  const onControl = (...parts: Uint8Array[]): Step[] => [[CONTROL, join(START, ...parts)]]
  const onRequest = (...parts: Uint8Array[]): Step[] => [[REQUEST, join(...parts)]]
  const section = (text: string) => onRequest(frame(1, hex(text)))
  const cases: readonly (readonly [what: string, code: number, steps: readonly Step[]])[] = [
    ['X01: a control stream that begins with GOAWAY', H3.MISSING_SETTINGS, [[CONTROL, join(hex('00'), goaway(0))]]],
    ['a control stream that begins with an unknown frame', H3.MISSING_SETTINGS, [[CONTROL, join(hex('00'), frame(0x21))]]],
    ['X02: a second control stream', H3.STREAM_CREATION_ERROR, [...onControl(), [SECOND, START]]],
    ['X03: the end of the control stream', H3.CLOSED_CRITICAL_STREAM, [[CONTROL, START, 'fin']]],
    ['the end of the encoder stream', H3.CLOSED_CRITICAL_STREAM, [[CONTROL, hex('02'), 'fin']]],
    ['the end of the decoder stream', H3.CLOSED_CRITICAL_STREAM, [[CONTROL, hex('03'), 'fin']]],
    ['X04: setting 0x04 of HTTP/2', H3.SETTINGS_ERROR, [[CONTROL, join(hex('00'), frame(4, hex('0400')))]]],
    ['setting 0x02 of HTTP/2', H3.SETTINGS_ERROR, [[CONTROL, join(hex('00'), frame(4, hex('0200')))]]],
    ['a setting twice', H3.SETTINGS_ERROR, [[CONTROL, join(hex('00'), frame(4, hex('2100 2100')))]]],
    ['half a setting', H3.FRAME_ERROR, [[CONTROL, join(hex('00'), frame(4, hex('06')))]]],
    ['SETTINGS twice', H3.FRAME_UNEXPECTED, onControl(frame(4))],
    ['X05: DATA before HEADERS', H3.FRAME_UNEXPECTED, onRequest(CONTENT, POST)],
    ['X06: frame 0x06 of HTTP/2 on the control stream', H3.FRAME_UNEXPECTED, onControl(frame(6, Buffer.alloc(8)))],
    ...[0, 1, 2, 5, 8, 9].map((type) => [`frame ${type} on the control stream`, H3.FRAME_UNEXPECTED, onControl(frame(type))] as const),
    ...[2, 3, 4, 5, 6, 7, 8, 9, 13].map(
      (type) => [`frame ${type} of a request`, H3.FRAME_UNEXPECTED, onRequest(POST, frame(type))] as const,
    ),
    ['DATA behind trailers', H3.FRAME_UNEXPECTED, onRequest(POST, TRAILERS, frame(0))],
    ['HEADERS behind trailers', H3.FRAME_UNEXPECTED, onRequest(POST, TRAILERS, TRAILERS)],
    ['X07: half of HEADERS', H3.FRAME_ERROR, [[REQUEST, GET.subarray(0, -5), 'fin']]],
    ['CANCEL_PUSH of what was not pushed', H3.ID_ERROR, onControl(frame(0x0d, hex('05')), frame(3, hex('00')))],
    ['MAX_PUSH_ID that decreases', H3.ID_ERROR, onControl(frame(0x0d, hex('05')), frame(0x0d, hex('04')))],
    ['GOAWAY that increases', H3.ID_ERROR, onControl(goaway(4), goaway(8))],
    ['X09: a push stream', H3.STREAM_CREATION_ERROR, [...onControl(), [SECOND, hex('0100')]]],
    ['a frame on the control stream that is longer than it may be', H3.FRAME_ERROR, onControl(hex('07 09'))],
    ['X12: a reference to the dynamic table', Qpack.DECOMPRESSION_FAILED, section('0000 80')],
    ['a required insert count', Qpack.DECOMPRESSION_FAILED, section('0200 80')],
    ['a negative base', Qpack.DECOMPRESSION_FAILED, section('0080 d1')],
    ['static index 99', Qpack.DECOMPRESSION_FAILED, section('0000 ff24')],
    ['an integer of eleven octets', Qpack.DECOMPRESSION_FAILED, section('0000 ff8080808080808080808001')],
    ['X13: a capacity of the dynamic table', Qpack.ENCODER_STREAM_ERROR, [[SECOND, hex('02 3fe11f')]]],
    ['X13: an entry of the dynamic table', Qpack.ENCODER_STREAM_ERROR, [[SECOND, hex('02 4161 0162')]]],
    ['X14: an insert count increment', Qpack.DECODER_STREAM_ERROR, [[SECOND, hex('03 00')]]],
    ['X14: the acknowledgement of a section', Qpack.DECODER_STREAM_ERROR, [[SECOND, hex('03 80')]]],
    ['X15: a second encoder stream', H3.STREAM_CREATION_ERROR, UNI.slice(1, 3).map((id): Step => [id, hex('02')])],
    ['a second decoder stream', H3.STREAM_CREATION_ERROR, UNI.slice(1, 3).map((id): Step => [id, hex('03')])],
    ['X16: DATA of GET that is shorter than it says', H3.FRAME_ERROR, [[REQUEST, join(GET, hex('00 4064'), Buffer.alloc(5)), 'fin']]],
    ['DATA of POST that is shorter than it says', H3.FRAME_ERROR, [[REQUEST, join(POST, CONTENT.subarray(0, -1)), 'fin']]],
  ]
  for (const [what, code, steps] of cases) {
    test(`${what}: 0x${code.toString(16)}`, async () => {
      await using client = await openBareHttp3(gateway)
      for (const [stream, bytes, fin] of steps) {
        if (stream === REQUEST) client.send(bytes, fin === 'fin')
        else client.connection.send(stream, bytes, fin === 'fin')
      }
      await assertEnds(client, code)
    })
  }

  test(`X03: a control stream that is reset: 0x${H3.CLOSED_CRITICAL_STREAM.toString(16)}`, async () => {
    await using client = await openHttp3(gateway)
    await assertAnswers(client)
    client.connection.reset(CONTROL, H3.NO_ERROR)
    await assertEnds(client, H3.CLOSED_CRITICAL_STREAM)
  })
})

// RFC 9114 §4.1.1, 4.1.2; conformance H3-11, H3-12
describe('an error of a request resets its stream', () => {
  const START_OF_GET: readonly Field[] = [
    [':method', 'GET'],
    [':scheme', 'https'],
    [':authority', 'localhost'],
  ]
  const requests: readonly (readonly [what: string, code: number, bytes: Uint8Array])[] = [
    ['X10: a name in upper case', H3.MESSAGE_ERROR, get(['X-Y', 'z'])],
    ['X10: no path', H3.MESSAGE_ERROR, headers(...START_OF_GET)],
    ['X10: two paths', H3.MESSAGE_ERROR, get([':path', '/'])],
    ['X10: a pseudo-field behind another', H3.MESSAGE_ERROR, headers(...START_OF_GET, ['accept', '*/*'], [':path', '/'])],
    ['X10: an unknown pseudo-field', H3.MESSAGE_ERROR, get([':protocol', 'x'])],
    ['X10: a field of a connection', H3.MESSAGE_ERROR, post(['transfer-encoding', 'chunked'])],
    ['X10: a line break in a value', H3.MESSAGE_ERROR, get(['x', 'y\r\nz: 1'])],
    ['X10: Host that differs', H3.MESSAGE_ERROR, get(['host', 'evil.test'])],
    ['X11: no content where there should be some', H3.MESSAGE_ERROR, post(['content-length', '33'])],
    ['more content than there should be', H3.MESSAGE_ERROR, join(post(['content-length', '32']), CONTENT)],
    ['pseudo-fields in trailers', H3.MESSAGE_ERROR, join(POST, CONTENT, headers([':path', '/']))],
    ['trailers of more than 16 KiB', H3.EXCESSIVE_LOAD, join(POST, CONTENT, headers(['x', 'y'.repeat(16_384)]))],
    ['nothing', H3.REQUEST_INCOMPLETE, Buffer.alloc(0)],
    ['nothing but an unknown frame', H3.REQUEST_INCOMPLETE, frame(0x21, 'x')],
  ]
  for (const [what, code, bytes] of requests) {
    test(`${what}: 0x${code.toString(16)}`, async () => {
      await using client = await openHttp3(gateway)
      const stream = client.send(bytes)
      const record = await client.over(stream)
      assert.deepEqual([record?.reset, record?.bytes.length, text(record?.code)], [true, 0, text(code)])
      await assertAnswers(client)
      await assertAnswers(bystander)
    })
  }
})
