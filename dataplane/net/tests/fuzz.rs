//! A short fuzz run of the target `net` in every normal test run, with a seed.

#[path = "../../../tests/fuzz/targets/random.rs"]
mod random;
#[path = "../../../tests/fuzz/targets/net.rs"]
mod target;

#[test]
fn net_target_on_broken_packets() {
    let mut sent = 0;
    for seed in 1..=20_000 {
        let frame = random::frame(&mut random::Random(seed));
        let packet = frame.get(14..).unwrap_or(&frame);
        let run = std::panic::catch_unwind(|| target::run(packet));
        sent += run.unwrap_or_else(|_| panic!("seed {seed}: {packet:02x?}"));
    }
    assert!(
        sent > 50_000,
        "only {sent} packets sent: nothing was tested"
    );
}
