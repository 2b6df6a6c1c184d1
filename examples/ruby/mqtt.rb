# As much of MQTT 3.1.1 as a device needs, over any stream.
#
# One packet at a time, and QoS 1 with one message under way. What it does not
# expect is an error: the session ends, and the device tries again.
class Mqtt
  # The server has refused the CONNECT.
  class Refused < StandardError
    attr_reader :code

    def initialize(code)
      @code = code
      super("CONNACK #{code}")
    end
  end

  Unexpected = Class.new(StandardError)

  CONNECT, CONNACK, PUBLISH, PUBACK, SUBSCRIBE, SUBACK, DISCONNECT = 0x10, 0x20, 0x30, 0x40, 0x82, 0x90, 0xE0
  AT_LEAST_ONCE = 1
  # User name, password, clean session.
  FLAGS = 0x80 | 0x40 | 0x02
  KEEP_ALIVE = 60
  LONGEST = 64 * 1024

  def initialize(stream)
    @stream = stream
  end

  def connect(client_id, username, password)
    transmit(CONNECT, text("MQTT"), [4, FLAGS, KEEP_ALIVE].pack("CCn"), text(client_id), text(username), text(password))
    code = receive(CONNACK).getbyte(1)
    raise Refused, code unless code.zero?
  end

  # Subscribes one topic, and returns the first message on it.
  def first_of(topic)
    transmit(SUBSCRIBE, packet_id, text(topic), [AT_LEAST_ONCE].pack("C"))
    # The message may come before the SUBACK (3.8.4).
    loop do
      kind, body = packet
      case kind & 0xF0
      when SUBACK then raise Unexpected, "the subscription is refused" if body.getbyte(2) & 0x80 != 0
      when PUBLISH then return message(kind, body)
      else raise Unexpected, "packet #{kind}"
      end
    end
  end

  # Returns once the server has taken the message over.
  def publish(topic, payload)
    transmit(PUBLISH | AT_LEAST_ONCE << 1, text(topic), packet_id, payload)
    receive(PUBACK)
  end

  def disconnect
    transmit(DISCONNECT)
  end

  private

  def message(kind, body)
    after_topic = 2 + body.unpack1("n")
    return body.byteslice(after_topic..) if (kind & 0x06).zero?

    transmit(PUBACK, body.byteslice(after_topic, 2))
    body.byteslice((after_topic + 2)..)
  end

  def packet_id
    [1].pack("n")
  end

  def text(value)
    [value.bytesize].pack("n") + value.b
  end

  def transmit(kind, *parts)
    body = parts.join
    @stream.write([kind].pack("C") + length(body.bytesize) + body)
    @stream.flush
  end

  # Seven bits a byte, the lowest first; the eighth says that more follow.
  def length(number)
    bytes = []
    begin
      number, low = number.divmod(128)
      bytes << (number.zero? ? low : low | 128)
    end until number.zero?
    bytes.pack("C*")
  end

  def receive(wanted)
    kind, body = packet
    raise Unexpected, "packet #{kind}" if kind & 0xF0 != wanted

    body
  end

  def packet
    kind = byte
    length = shift = 0
    loop do
      more = byte
      length |= (more & 127) << shift
      shift += 7
      break if more < 128
      raise Unexpected, "a length of five bytes" if shift > 21
    end
    raise Unexpected, "a packet of #{length} bytes" if length > LONGEST

    [kind, exactly(length)]
  end

  def byte
    exactly(1).getbyte(0)
  end

  def exactly(count)
    bytes = count.zero? ? "".b : @stream.read(count)
    raise EOFError, "the connection broke" if bytes.nil? || bytes.bytesize < count

    bytes
  end
end
