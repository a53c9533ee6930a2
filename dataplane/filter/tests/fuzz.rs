//! A short fuzz run of the target `describe` in every normal test run, with a seed.

#[path = "../../../tests/fuzz/targets/random.rs"]
mod random;
#[path = "../../../tests/fuzz/targets/describe.rs"]
mod target;

#[test]
fn describe_target_on_broken_frames() {
    let mut described = 0;
    for seed in 1..=20_000 {
        let frame = random::frame(&mut random::Random(seed));
        match std::panic::catch_unwind(|| target::run(&frame)) {
            Ok(count) => described += count,
            Err(_) => panic!("seed {seed}: {frame:02x?}"),
        }
    }
    assert!(described > 10_000, "only {described} could be described");
}
