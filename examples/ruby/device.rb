# A device in Ruby: wakes for the first time, keeps its key, sends a value.
#
#   ruby device.rb mqtts://HOST SERIAL FILE      or https://HOST, mqtt://, http://
#
# FILE keeps the credentials. The environment variable FIRSTWAKE_CODE holds the
# activation code, or FIRSTWAKE_SECRET the product secret to compute it from.
# Exit status: 0 the value has arrived, 1 something here is broken, 2 wrong
# usage, 3 a person has to act. Nothing here prints the code or the key.

require "json"
require "net/http"
require "openssl"
require "socket"
require "timeout"
require "uri"
require_relative "mqtt"

DATASTREAM, VALUE = "temperature", "21.5"
PATIENCE = 30 # Seconds that the server has for one answer.
LONGEST_WAIT = 60 # Seconds.

# The server is away or busy, or its answer was lost.
Later = Class.new(StandardError)
# The server knows no such serial and code, or no such key.
Unknown = Class.new(StandardError)
# The right code or key, and yet no: only a person can change that.
Stop = Class.new(StandardError)

# The key is the secret's 20 bytes. Its 40 characters, as they are, give
# another code, and everybody tries that first: unhex it.
def activation_code(secret_hex, serial)
  OpenSSL::HMAC.hexdigest("SHA1", [secret_hex].pack("H*"), serial)
end

# What the device is after its first time.
Credentials = Struct.new(:key, :feed) do
  def self.of(answer)
    key, feed = JSON.parse(answer).values_at("apikey", "feed_id")
    raise ArgumentError, "no key and feed id" unless key.is_a?(String) && feed.is_a?(Integer)

    new(key, feed)
  end
end

# Where they are kept.
class CredentialsFile
  def initialize(path)
    @path = path
  end

  def load
    Credentials.of(File.read(@path)) if File.exist?(@path)
  rescue JSON::ParserError, ArgumentError, NoMethodError, TypeError
    # A person should look: it may be the only copy of a key that works.
    abort "#{@path} is damaged: restore it, or move it away and have the device reset"
  end

  # Before the key is used: whatever moment the power fails at, there is either
  # the old file or the new one, whole.
  def store(answer)
    fresh = "#{@path}.new"
    File.delete(fresh) if File.exist?(fresh)
    File.open(fresh, File::WRONLY | File::CREAT | File::EXCL, 0o600) do |file|
      file.write(answer)
      file.fsync
    end
    File.rename(fresh, @path)
    File.open(File.dirname(@path), &:fsync)
  end
end

class OverMqtt
  WRONG, SPENT = 4, 5

  def initialize(url, serial)
    @tls = url.scheme == "mqtts"
    @host, @port = url.host, url.port || (@tls ? 8883 : 1883)
    @serial = serial
  end

  def activate(code)
    # In a topic, a + would be a wildcard.
    topic = "provision/#{@serial.gsub("+", "%2B")}/response"
    answer = session(code) { |mqtt| mqtt.first_of(topic) }
    error = JSON.parse(answer)["error"] or return answer
    raise Later, error["message"] if %w[overloaded unavailable].include?(error["code"])

    raise Stop, error["message"]
  end

  def send_value(known)
    session(known.key) { |mqtt| mqtt.publish("feeds/#{known.feed}/data/#{DATASTREAM}", VALUE) }
  end

  private

  def session(password)
    Timeout.timeout(PATIENCE) do
      stream = open
      mqtt = Mqtt.new(stream)
      mqtt.connect(@serial, @serial, password)
      result = yield mqtt
      mqtt.disconnect
      result
    ensure
      stream&.close
    end
  rescue Mqtt::Refused => error
    case error.code
    when WRONG then raise Unknown
    when SPENT then raise Stop, "right code or key, but spent, suspended or revoked (CONNACK 5)"
    else raise Later, "the server is busy (#{error.message})"
    end
  rescue Mqtt::Unexpected, SystemCallError, SocketError, IOError, OpenSSL::SSL::SSLError, Timeout::Error => error
    raise Later, "no answer (#{error.message})"
  end

  def open
    stream = TCPSocket.new(@host, @port)
    return stream unless @tls

    context = OpenSSL::SSL::SSLContext.new
    context.set_params(ca_file: ENV["FIRSTWAKE_CA"])
    OpenSSL::SSL::SSLSocket.new(stream, context).tap do |tls|
      tls.hostname = @host
      tls.sync_close = true
      tls.connect
    end
  end
end

class OverHttp
  def initialize(url, _serial)
    @url = url
  end

  def activate(code)
    # Without Accept and suffix, the answer is JSON.
    ask(Net::HTTP::Get.new("/v2/devices/#{code}/activate")).body
  end

  def send_value(known)
    request = Net::HTTP::Put.new("/v2/feeds/#{known.feed}.json", "X-ApiKey" => known.key, "Content-Type" => "application/json")
    request.body = JSON.generate(version: "1.0.0", datastreams: [{ id: DATASTREAM, current_value: VALUE }])
    ask(request)
  end

  private

  def ask(request)
    tls = { use_ssl: @url.scheme == "https", ca_file: ENV["FIRSTWAKE_CA"] }
    reply = Net::HTTP.start(@url.host, @url.port, open_timeout: PATIENCE, read_timeout: PATIENCE, **tls) { |http| http.request(request) }
    # Of a 403, the words say which of two it is.
    status = reply.body.to_s.include?("too many requests") ? 429 : reply.code.to_i
    case status
    when 200 then reply
    when 401, 404 then raise Unknown
    when 429, 500.. then raise Later, "the server is busy (status #{reply.code})"
    else raise Stop, "status #{reply.code}: #{reply.body}"
    end
  rescue SystemCallError, SocketError, IOError, OpenSSL::SSL::SSLError, Timeout::Error, Net::HTTPBadResponse => error
    raise Later, "no answer (#{error.class})"
  end
end

def first_time(server, code, file)
  answer = server.activate(code)
  found = Credentials.of(answer)
  begin
    file.store(answer)
  rescue SystemCallError => error
    # The key is not used, so the code is not spent.
    abort "the credentials cannot be kept: #{error.message}"
  end
  puts "activated: feed #{found.feed}"
  found
rescue JSON::ParserError, ArgumentError, NoMethodError
  raise Later, "the answer makes no sense"
end

def live(server, code, file)
  known, failures = file.load, 0
  loop do
    begin
      known ||= first_time(server, code, file)
      server.send_value(known)
      puts "sent: #{DATASTREAM} #{VALUE} to feed #{known.feed}"
      return
    rescue Later => error
      complaint = error.message
    rescue Unknown
      complaint = "the server knows no such serial and code: are both right, and was the code made from the secret's bytes?"
      # Where an operator has reset the device, its code works again. The file
      # stays until there is another answer.
      complaint, known = "the server knows no such key", nil if known
    end
    # Full jitter: a fleet that lost its server must not come back in step.
    wait = rand * [LONGEST_WAIT, 2**failures].min
    failures += 1
    warn format("%<complaint>s; next try in %<wait>.1f s", complaint:, wait:)
    sleep wait
  end
end

def arguments
  address, serial, path = ARGV
  url = URI(address)
  way = { "mqtt" => OverMqtt, "mqtts" => OverMqtt, "http" => OverHttp, "https" => OverHttp }.fetch(url.scheme)
  code = ENV.fetch("FIRSTWAKE_CODE") { activation_code(ENV.fetch("FIRSTWAKE_SECRET"), serial) }
  [way.new(url, serial), code, CredentialsFile.new(path)]
end

if $PROGRAM_NAME == __FILE__
  $stdout.sync = true
  begin
    raise ArgumentError unless ARGV.size == 3

    life = arguments
  rescue ArgumentError, KeyError, URI::Error
    warn File.foreach(__FILE__).take_while { |line| line.start_with?("#") }.map { |line| line.delete_prefix("#").delete_prefix(" ") }
    exit 2
  end
  begin
    live(*life)
  rescue Stop => error
    warn "refused, and asking again will not help: #{error.message}. Tell an operator."
    exit 3
  end
end
