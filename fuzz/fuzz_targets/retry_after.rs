#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    let (_, target) = dtl::fuzzing::TARGETS.iter().find(|(name, _)| *name == "retry_after").expect("the target");
    target(data);
});
