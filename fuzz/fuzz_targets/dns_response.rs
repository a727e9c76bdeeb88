#![no_main]

hm_fuzz_targets::under_libfuzzer!("dns-response");
