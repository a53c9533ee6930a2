//! The product on each kind of card: real hosts, real downloads, uploads and power cuts.

use std::time::{Duration, Instant};
use vm_tests::office::{LARGE_BYTES, OUTSIDE, OUTSIDE6, Office, Side, say_and_hear};
use vm_tests::{Failure, Firmware, NicModel, Result, skip};

const BOOT: Duration = Duration::from_secs(120);
const SOON: Duration = Duration::from_secs(15);

fn forwarding(firmware: Firmware, model: NicModel) -> Result<Office> {
    let mut office = Office::open(&Office::options(firmware, model))?;
    office.vm.expect("forwarding", BOOT)?;
    println!(
        "{model:?}: forwarding after {:.1} s",
        office.vm.since_power_on().as_secs_f32()
    );
    Ok(office)
}

/// What an office does all day, on one kind of card.
fn works(model: NicModel) -> Result<()> {
    if skip() {
        return Ok(());
    }
    let office = forwarding(Firmware::Bios, model)?;
    office.accept("first")?;
    office.ping(OUTSIDE)?;
    office.ping(OUTSIDE6)?;
    for address in [OUTSIDE.to_owned(), format!("[{OUTSIDE6}]")] {
        download(&office, &address)?;
    }
    office.refused(8080)?;
    let mut lasting = office.connect()?;
    say_and_hear(&mut lasting, "before", SOON)?;
    office.accept("second")?;
    office.refused(80)?;
    office.page(8080)?;
    say_and_hear(&mut lasting, "after", SOON)?;
    Ok(())
}

/// Ten megabytes by TCP, counted.
fn download(office: &Office, address: &str) -> Result<()> {
    let started = Instant::now();
    let url = format!("http://{address}/large");
    let got = office.host(Side::Inside).run(&[
        "curl",
        "-sS",
        "-m",
        "60",
        "-o",
        "/dev/null",
        "-w",
        "%{size_download}",
        &url,
    ])?;
    if got.ok() && got.text == LARGE_BYTES.to_string() {
        println!(
            "10 MB from {address} in {:.2} s",
            started.elapsed().as_secs_f32()
        );
        return Ok(());
    }
    Err(Failure(format!("{url}: {got:?}")))
}

#[test]
fn virtio_net_carries_an_office() -> Result<()> {
    works(NicModel::Virtio)
}

#[test]
fn e1000_carries_an_office() -> Result<()> {
    works(NicModel::E1000)
}

#[test]
fn e1000e_carries_an_office() -> Result<()> {
    works(NicModel::E1000e)
}

#[test]
fn vmxnet3_carries_an_office() -> Result<()> {
    works(NicModel::Vmxnet3)
}

#[test]
fn a_bundle_survives_a_power_cut_and_a_broken_one_never_gets_there() -> Result<()> {
    if skip() {
        return Ok(());
    }
    let office = forwarding(Firmware::Uefi, NicModel::Virtio)?;
    office.accept("second")?;
    let broken = office.push("broken")?;
    assert_eq!(broken.status, Some(1), "{}", broken.text);
    let stranger = office.push_with_token("first", "the-token-of-a-stranger")?;
    assert_eq!(stranger.status, Some(3), "{}", stranger.text);
    let mut office = office.power_cycle()?;
    office.vm.expect("forwarding:", BOOT)?;
    office.page(8080)?;
    office.refused(80)?;
    Ok(())
}

#[test]
fn the_menu_entry_with_default_rules_ignores_the_stored_bundle() -> Result<()> {
    if skip() {
        return Ok(());
    }
    let office = forwarding(Firmware::Bios, NicModel::Virtio)?;
    office.accept("first")?;
    let mut office = office.power_cycle()?;
    // Control-N is one down, in the loader's menu as on every terminal.
    office.vm.expect("will be executed automatically", BOOT)?;
    office.vm.console().type_text("\x0e\r")?;
    office
        .vm
        .expect("Fugu: loading Fugu, management only", BOOT)?;
    office.vm.expect("forwarding nothing", BOOT)?;
    assert!(office.page(80).is_err(), "nothing is forwarded");
    // It can be managed, and the next start is an ordinary one.
    office.accept("second")?;
    let mut office = office.power_cycle()?;
    office.vm.expect("forwarding:", BOOT)?;
    office.page(8080).map(drop)
}

/// Uploads cut short in all; `FUGU_POWER_CUTS` changes it.
const CUTS: u32 = 50;
/// The longest a round goes on before the power goes, in milliseconds.
const ROUND_MS: u64 = 150;

#[test]
fn power_cuts_at_random_moments_of_uploads_leave_the_old_or_the_new_bundle() -> Result<()> {
    if skip() {
        return Ok(());
    }
    let cuts = std::env::var("FUGU_POWER_CUTS")
        .ok()
        .and_then(|text| text.parse().ok())
        .unwrap_or(CUTS);
    let mut random: u64 = std::process::id().into();
    println!("seed {random}");
    let mut office = forwarding(Firmware::Direct(String::new()), NicModel::Virtio)?;
    office.accept("first")?;
    let mut running = running_bundle(&office)?;
    let mut interrupted = 0;
    for cut in 0..cuts {
        let next = if running == "first" {
            "second"
        } else {
            "first"
        };
        let moment = Duration::from_millis(step(&mut random) % ROUND_MS);
        let accepted = cut_during_upload(&office, next, moment)?;
        interrupted += u32::from(!accepted);
        office = office.power_cycle()?;
        office.vm.expect("forwarding:", BOOT)?;
        // Not told: old or new, never neither. Told that it is accepted: the new one.
        running = running_bundle(&office)?;
        assert!(
            !accepted || running == next,
            "cut {cut} after {moment:?}: an accepted bundle is gone"
        );
    }
    println!("{cuts} cuts, {interrupted} of them before the answer");
    Ok(())
}

/// Starts an upload and cuts the power after `moment`; true if the upload had been accepted by then.
fn cut_during_upload(office: &Office, bundle: &str, moment: Duration) -> Result<bool> {
    let mut upload = office.start_push(bundle)?;
    std::thread::sleep(moment);
    office.vm.cut()?;
    // An answer that was under way arrives; then nothing more will.
    std::thread::sleep(Duration::from_millis(100));
    upload.has_succeeded()
}

/// Which of the two bundles is in force, by what it lets through.
fn running_bundle(office: &Office) -> Result<&'static str> {
    match (office.page(80), office.page(8080)) {
        (Ok(_), Err(_)) => Ok("first"),
        (Err(_), Ok(_)) => Ok("second"),
        (one, two) => Err(Failure(format!(
            "neither bundle is in force: {one:?} {two:?}"
        ))),
    }
}

/// xorshift64.
fn step(state: &mut u64) -> u64 {
    *state ^= *state << 13;
    *state ^= *state >> 7;
    *state ^= *state << 17;
    *state
}

#[test]
fn an_idle_machine_leaves_the_processor_alone() -> Result<()> {
    if skip() {
        return Ok(());
    }
    let office = forwarding(Firmware::Bios, NicModel::Virtio)?;
    office.accept("first")?;
    std::thread::sleep(Duration::from_secs(3));
    let (before, started) = (office.vm.processor_time()?, Instant::now());
    std::thread::sleep(Duration::from_secs(5));
    let used =
        (office.vm.processor_time()? - before).as_secs_f32() / started.elapsed().as_secs_f32();
    println!("idle: {:.0} % of a processor", used * 100.0);
    // A polling worker takes all of one, emulated or not, on a fast host as on a slow one. What naps of an emulated
    // machine cost is the host's affair: between a third and a half of a processor here, printed above.
    assert!(used < 0.9, "{used}");
    Ok(())
}
