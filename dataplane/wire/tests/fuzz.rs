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

/// Seeds of the fuzzer are frames of the first numbers. `FUGU_WRITE=1` writes them anew.
#[test]
fn seeds_of_the_fuzzer_are_frames() {
    let corpus = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/fuzz/corpus");
    for seed in 1..=24 {
        let frame = random::frame(&mut random::Random(seed));
        let packet = frame.get(14..).unwrap_or_default();
        for (target, bytes) in [("wire", &frame[..]), ("net", packet)] {
            let file = corpus.join(target).join(format!("frame-{seed:02}"));
            if std::env::var_os("FUGU_WRITE").is_some() {
                std::fs::create_dir_all(corpus.join(target)).unwrap();
                std::fs::write(&file, bytes).unwrap();
            }
            assert!(std::fs::read(&file).unwrap() == bytes, "{}", file.display());
        }
    }
}
