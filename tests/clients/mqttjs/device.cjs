// Devices on MQTT.js, told by standard input what to do: one JSON object a line, with the number of its `client`. Each is
// answered with one of the same `id`; what happens by itself is told as {"event": ...}.
'use strict'

const mqtt = require('mqtt')
const readline = require('node:readline')

class Device {
  constructor(tell) {
    this.tell = tell
    this.pubacks = new Map() // by packet identifier: the library hands on no more of them than whether they are errors
  }

  connect({ options }, answer) {
    const client = (this.client = mqtt.connect({ ...options, reconnectPeriod: 0 }))
    let answered = false
    const once = (message) => {
      if (!answered) answer(message)
      answered = true
    }
    client.on('connect', ({ sessionPresent, properties }) => once({ code: 0, sessionPresent, properties: properties || {} }))
    client.on('error', (error) => once({ code: codeOf(error), text: error.message }))
    client.on('close', () => {
      once({ code: -1 })
      this.tell({ event: 'closed' })
    })
    client.on('disconnect', ({ reasonCode }) => this.tell({ event: 'disconnect', code: reasonCode }))
    client.on('message', (topic, payload) => this.tell({ event: 'message', topic, payload: payload.toString('utf8') }))
    client.on('packetreceive', (packet) => {
      if (packet.cmd === 'puback') this.pubacks.set(packet.messageId, packet)
    })
  }

  publish({ topic, payload, options }, answer) {
    this.client.publish(topic, payload, options, (error, packet) => {
      const said = (packet && this.pubacks.get(packet.messageId)) || {}
      answer({ code: error ? codeOf(error) : said.reasonCode || 0, text: (said.properties || {}).reasonString || '' })
    })
  }

  subscribe({ filter, options }, answer) {
    this.client.subscribe(filter, options, (error, granted, packet) =>
      answer({ codes: packet ? packet.granted : (granted || []).map((one) => one.qos), text: error ? error.message : '' }))
  }

  unsubscribe({ filter }, answer) {
    this.client.unsubscribe(filter, (error) => answer({ text: error ? error.message : '' }))
  }

  disconnect({ options }, answer) {
    this.client.end(false, options, () => answer({}))
  }

  vanish(_given, answer) {
    this.client.stream.destroy()
    answer({})
  }
}

const codeOf = (error) => (typeof error.code === 'number' ? error.code : -1)
const write = (message) => process.stdout.write(JSON.stringify(message) + '\n')
const devices = new Map()

readline.createInterface({ input: process.stdin }).on('line', (line) => {
  const given = JSON.parse(line)
  const { client, id } = given
  if (!devices.has(client)) devices.set(client, new Device((message) => write({ client, ...message })))
  devices.get(client)[given.do](given, (message) => write({ client, id, ...message }))
}).on('close', () => process.exit(0))
