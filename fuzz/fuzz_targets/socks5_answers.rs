#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| flowtap_fuzz::socks5_answers(data));
