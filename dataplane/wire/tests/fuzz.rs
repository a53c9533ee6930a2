//! A short fuzz run of the target `wire` in every normal test run, with a seed.

#[path = "../../../tests/fuzz/targets/random.rs"]
mod random;
#[path = "../../../tests/fuzz/targets/wire.rs"]
mod target;

#[test]
fn wire_target_on_broken_frames() {
    for seed in 1..=20_000 {
        let frame = random::frame(&mut random::Random(seed));
        let run = std::panic::catch_unwind(|| target::run(&frame));
        assert!(run.is_ok(), "seed {seed}: {frame:02x?}");
    }
}
