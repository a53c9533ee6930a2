//! Power-on to forwarding: firmware, network card models, memory, power button, and coming back after a power cut.

use std::time::Duration;
use vm_tests::{Failure, Firmware, NicModel, Options, Vm, skip};

/// Generous: two cores may be shared with a compiler.
const BOOT: Duration = Duration::from_secs(90);

const EVERY_MODEL: [NicModel; 4] = [
    NicModel::Virtio,
    NicModel::E1000,
    NicModel::E1000e,
    NicModel::Vmxnet3,
];

fn boots(options: &Options) -> Result<Vm, Failure> {
    let mut vm = Vm::boot(options)?;
    let said = vm.expect("forwarding", BOOT)?;
    let used = said.matches(" used, through ").count();
    assert_eq!(
        used,
        options.nics.len(),
        "every port is given to DPDK: {said}"
    );
    println!(
        "{:?} {:?}: forwarding after {:.1} s",
        options.firmware,
        options.nics,
        vm.since_power_on().as_secs_f32()
    );
    Ok(vm)
}

#[test]
fn bios_boots_to_forwarding_with_every_card_model_and_the_power_button_works() -> Result<(), Failure>
{
    if skip() {
        return Ok(());
    }
    let mut vm = boots(&Options {
        nics: EVERY_MODEL.to_vec(),
        ..Options::default()
    })?;
    // The first press may come before anybody listens for it; a person would press again.
    for _ in 0..10 {
        vm.press_power_button()?;
        if vm.wait_off(Duration::from_secs(2)).is_ok() {
            return Ok(());
        }
    }
    Err(Failure("the power button does nothing".into()))
}

#[test]
fn uefi_boots_to_forwarding_with_every_card_model() -> Result<(), Failure> {
    if skip() {
        return Ok(());
    }
    boots(&Options {
        firmware: Firmware::Uefi,
        nics: EVERY_MODEL.to_vec(),
        ..Options::default()
    })
    .map(drop)
}

#[test]
fn one_processor_and_256_mib_are_enough() -> Result<(), Failure> {
    if skip() {
        return Ok(());
    }
    boots(&Options {
        cpus: 1,
        memory_mib: 256,
        ..Options::default()
    })
    .map(drop)
}

#[test]
fn after_a_power_cut_it_boots_again_and_the_hosts_are_still_there() -> Result<(), Failure> {
    if skip() {
        return Ok(());
    }
    let vm = boots(&Options::default())?;
    vm.host(1).address("10.0.1.2/24")?;
    let mut vm = vm.power_cycle()?;
    vm.expect("forwarding", BOOT)?;
    let addresses = vm.host(1).run(&["ip", "address", "show", "dev", "eth0"])?;
    assert!(addresses.text.contains("10.0.1.2/24"), "{}", addresses.text);
    Ok(())
}
