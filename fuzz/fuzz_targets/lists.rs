#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| firstwake_broker::fuzzing::lists(bytes));
