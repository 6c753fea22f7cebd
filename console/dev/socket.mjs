// Development only: the least of RFC 6455 that the fixture needs, text frames from server to client.
import { createHash } from 'node:crypto'

const GUID = '258EAFA5-E914-47DA-95CA-C5AB0DC85B11'

/** Answers the upgrade and returns a function that sends one JSON message. */
export function accept(request, socket) {
  const key = createHash('sha1').update(request.headers['sec-websocket-key'] + GUID).digest('base64')
  socket.write(
    `HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: ${key}\r\n\r\n`,
  )
  return (message) => {
    const body = Buffer.from(JSON.stringify(message))
    const head = body.length < 126 ? Buffer.from([0x81, body.length]) : Buffer.alloc(body.length < 65536 ? 4 : 10)
    if (body.length >= 126) {
      head[0] = 0x81
      head[1] = body.length < 65536 ? 126 : 127
      if (body.length < 65536) head.writeUInt16BE(body.length, 2)
      else head.writeBigUInt64BE(BigInt(body.length), 2)
    }
    if (socket.writable) socket.write(Buffer.concat([head, body]))
  }
}
