# The code against the shared vectors: ruby device_test.rb

require_relative "device"

vectors = JSON.parse(File.read("#{__dir__}/../../tests/vectors/activation-codes.json"))
computed = ->(one) { activation_code(one["product_secret"], one["serial"]) == one["activation_code"] }
abort "there are no vectors" if vectors["match"].empty?
abort "a code is wrong" unless vectors["match"].all?(&computed)
abort "the secret was used as text" if vectors["must_not_match"].any?(&computed)
