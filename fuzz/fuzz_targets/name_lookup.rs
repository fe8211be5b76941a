#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| flowtap_fuzz::name_lookup(data));
