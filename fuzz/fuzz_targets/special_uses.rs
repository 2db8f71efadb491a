#![no_main]
libfuzzer_sys::fuzz_target!(|input: &[u8]| ailurus_testkit::fuzz::special_uses(input));
