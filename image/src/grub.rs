//! Owns the boot loader: GRUB's images for BIOS and UEFI, its one configuration, and its environment block.
//!
//! It may not know how the disk is laid out beyond partition numbers. Read first: GRUB manual chapters 4.4
//! (BIOS installation), 13.1 (special environment variables), 17 (`linux`, `load_env`, `regexp`, `serial`).
//!
//! The loader is embedded by hand instead of by `grub-install`, which wants root and a block device: two
//! fields of `boot.img` and one of `core.img` hold sector numbers, and that is all it would have changed.

use crate::{Context, Failure, Result, read, run};
use std::path::Path;
use std::process::Command;

const BIOS_DIRECTORY: &str = "/usr/lib/grub/i386-pc";
const EFI_DIRECTORY: &str = "/usr/lib/grub/x86_64-efi";
/// Modules both loaders carry; they load nothing from disk later.
const MODULES: &[&str] = &[
    "part_gpt",
    "fat",
    "newc",
    "normal",
    "configfile",
    "linux",
    "serial",
    "terminal",
    "echo",
    "test",
    "regexp",
    "loadenv",
    "halt",
    "reboot",
    "sleep",
    "ls",
    "cat",
    "minicmd",
];
/// Partition of the disk with `grub.cfg` on it.
const ESP: &str = "(,gpt2)/grub";
/// `boot.img`: sector number of `core.img`, and the jump taken when the BIOS passes a drive it should not.
const BOOT_KERNEL_SECTOR: usize = 0x5c;
const BOOT_DRIVE_CHECK: usize = 0x66;
/// First sector of `core.img`: sector number and count of the rest.
const CORE_NEXT_SECTOR: usize = 0x1f4;
const CORE_NEXT_COUNT: usize = 0x1fc;
/// Bytes of the environment block: GRUB accepts no other size from `load_env`.
pub const ENVIRONMENT_BYTES: usize = 1024;

/// What goes into the MBR and into the BIOS boot partition.
pub struct Bios {
    /// The first 440 bytes of the disk.
    pub boot: Vec<u8>,
    /// The BIOS boot partition, from its first sector.
    pub core: Vec<u8>,
}

/// Builds the BIOS loader for a BIOS boot partition that begins at `first_sector`.
///
/// # Errors
/// When GRUB's files are not installed (`ci/setup build`).
pub fn bios(scratch: &Path, first_sector: u64) -> Result<Bios> {
    let mut boot = read(&Path::new(BIOS_DIRECTORY).join("boot.img"))?;
    boot[BOOT_KERNEL_SECTOR..BOOT_KERNEL_SECTOR + 8].copy_from_slice(&first_sector.to_le_bytes());
    boot[BOOT_DRIVE_CHECK..BOOT_DRIVE_CHECK + 2].copy_from_slice(&[0x90, 0x90]);
    boot.truncate(440);

    let mut core = make_image(scratch, "i386-pc", BIOS_DIRECTORY, ESP, &["biosdisk"])?;
    let rest = core.len().div_ceil(512) - 1;
    core[CORE_NEXT_SECTOR..CORE_NEXT_SECTOR + 8].copy_from_slice(&(first_sector + 1).to_le_bytes());
    let count = u16::try_from(rest).context("core.img is too long")?;
    core[CORE_NEXT_COUNT..CORE_NEXT_COUNT + 2].copy_from_slice(&count.to_le_bytes());
    Ok(Bios { boot, core })
}

/// Builds `BOOTX64.EFI`.
///
/// # Errors
/// When GRUB's files are not installed (`ci/setup build`).
pub fn efi(scratch: &Path) -> Result<Vec<u8>> {
    // Without a device in the prefix GRUB takes the partition it was loaded from.
    make_image(
        scratch,
        "x86_64-efi",
        EFI_DIRECTORY,
        "/grub",
        &["efi_gop", "efi_uga", "efifwsetup"],
    )
}

fn make_image(
    scratch: &Path,
    format: &str,
    modules: &str,
    prefix: &str,
    more: &[&str],
) -> Result<Vec<u8>> {
    if !Path::new(modules).is_dir() {
        return Err(Failure(format!("no {modules}: run ci/setup build")));
    }
    let output = scratch.join(format!("{format}.img"));
    run(Command::new("grub-mkimage")
        .args(["-O", format, "-d", modules, "-p", prefix, "-o"])
        .arg(&output)
        .args(MODULES)
        .args(more))?;
    read(&output)
}

/// An environment block that says which slot is good.
#[must_use]
pub fn environment() -> Vec<u8> {
    let mut block = b"# GRUB Environment Block\nslot=a\ntry=\n".to_vec();
    block.resize(ENVIRONMENT_BYTES, b'#');
    block
}

/// `grub.cfg`: one menu for BIOS, UEFI, screen and serial line.
///
/// The environment block is a file in the EFI system partition: GRUB reads a block list as well, but writes only to
/// files. `slot` in it names the system slot that is known to be good. An upgrade sets `try` to the
/// other one; it is cleared before that slot starts, so that a kernel that dies comes back as the good one.
#[must_use]
pub fn configuration(version: &str, kernel_arguments: &str) -> String {
    let entry = |title: &str, id: &str, partition: &str, more: &str| {
        format!(
            "menuentry \"{title}\" --id {id} {{\n  echo \"Fugu: loading {title}\"\n  \
             linux $disk,{partition})/kernel {kernel_arguments} fugu.slot={more}\n  \
             initrd $disk,{partition})/initrd\n}}\n"
        )
    };
    let chosen = "gpt$partition";
    let mut out = format!("# Fugu {version}: written by image/src/grub.rs\n");
    out.push_str(CONFIGURATION_HEAD);
    out.push_str(&entry("Fugu", "fugu", chosen, "$booting $trial"));
    out.push_str(&entry(
        "Fugu, management only, default rules",
        "safe",
        chosen,
        " fugu.safe",
    ));
    out.push_str("if [ -f $disk,gpt4)/kernel ]; then\n");
    out.push_str(&entry("Fugu, system slot A", "a", "gpt3", "a"));
    out.push_str(&entry("Fugu, system slot B", "b", "gpt4", "b"));
    out.push_str("fi\n");
    out.push_str(CONFIGURATION_TAIL);
    out
}

const CONFIGURATION_HEAD: &str = r#"
regexp --set=1:disk '^\(?([^,)]+)' "$root"
set disk="($disk"
set environment="$prefix/grubenv"

# The same speed here, in the kernel and on the console.
if serial --unit=0 --speed=115200 --word=8 --parity=no --stop=1; then
  terminal_input console serial
  terminal_output console serial
fi

set slot=a
set try=
load_env --file $environment slot try
set booting="$slot"
set trial=
if [ -n "$try" ]; then
  set booting="$try"
  set trial=fugu.trial
  set try=
  save_env --file $environment try
fi
set partition=3
if [ "$booting" = b ]; then set partition=4; fi

set default=fugu
set timeout=1
set timeout_style=menu
set gfxpayload=text

"#;

const CONFIGURATION_TAIL: &str = r#"
if [ "$grub_platform" = efi ]; then
  menuentry "Firmware setup" --id firmware { fwsetup }
fi
menuentry "Power off" --id halt { halt }
"#;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_environment_block_has_the_size_grub_insists_on() {
        let block = environment();
        assert_eq!(block.len(), ENVIRONMENT_BYTES);
        assert!(block.starts_with(b"# GRUB Environment Block\nslot=a\n"));
        assert!(block.ends_with(b"###"));
    }

    #[test]
    fn the_menu_has_a_safe_entry_and_names_no_fixed_disk() {
        let text = configuration("9.9", "console=ttyS0,115200n8");
        assert!(text.contains("Fugu 9.9"));
        assert!(text.contains("management only, default rules"));
        assert!(text.contains(" fugu.safe\n"));
        assert!(!text.contains("hd0"));
    }

    #[test]
    fn grub_accepts_the_configuration() {
        let path = std::env::temp_dir().join(format!("fugu-grub-{}.cfg", std::process::id()));
        std::fs::write(&path, configuration("9.9", "quiet")).unwrap();
        let checked = Command::new("grub-script-check").arg(&path).output();
        std::fs::remove_file(&path).unwrap();
        match checked {
            Ok(output) => assert!(
                output.status.success(),
                "{}",
                String::from_utf8_lossy(&output.stderr)
            ),
            Err(_) => println!("skipped: no grub-script-check"),
        }
    }
}
