//! A box out of the factory at a serial line: the wizard, what it sets, and that it stays set.

use std::time::Duration;
use vm_tests::office::{Office, TOKEN};
use vm_tests::{Failure, Firmware, NicModel, Options, Result, skip};

const BOOT: Duration = Duration::from_secs(120);
const SOON: Duration = Duration::from_secs(15);

#[test]
fn the_wizard_makes_a_box_manageable_and_it_stays_so() -> Result<()> {
    if skip() {
        return Ok(());
    }
    let options = Options {
        seed: None,
        ..Office::options(Firmware::Bios, NicModel::Virtio)
    };
    let mut office = Office::open(&options)?;
    office
        .vm
        .expect("no management address yet, forwarding nothing", BOOT)?;
    for (question, answer) in [
        ("Management interface", "vio7"),
        ("'vio7' is not one of the ports", "vio2"),
        ("Address with prefix length", "172.16.0.1/24"),
        ("Gateway", ""),
        ("Token for the API", TOKEN),
        ("Again", TOKEN),
        ("Apply this?", "y"),
    ] {
        office.vm.expect(question, SOON)?;
        office.vm.type_line(answer)?;
    }
    office.vm.expect("Done.", SOON)?;
    office.accept("first")?;
    let mut office = office.power_cycle()?;
    office.vm.expect("forwarding:", BOOT)?;
    office.accept("second")?;
    office.page(8080)?;
    halts(&mut office)
}

/// `halt` asks back, and switches the machine off.
fn halts(office: &mut Office) -> Result<()> {
    office.vm.type_line("")?;
    office.vm.type_line("halt")?;
    office.vm.expect("Stop the box?", SOON)?;
    office.vm.type_line("y")?;
    office
        .vm
        .wait_off(SOON)
        .map_err(|failure| Failure(format!("halt: {failure}")))
}
