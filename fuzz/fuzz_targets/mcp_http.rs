#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| flowtap_fuzz::mcp_http(data));
