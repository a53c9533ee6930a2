//! Owns taking network ports away from the kernel and giving them to a driver that DPDK can use.
//!
//! It may not know which of them DPDK has a driver for; that comes out when the EAL probes them. vfio-pci is tried
//! first: with an IOMMU it confines the device, without one (`enable_unsafe_noiommu_mode`) it still gives
//! interrupts and extended registers. uio_pci_generic is what is left when vfio-pci does not take a device.
//!
//! Read first: the kernel's `driver-api/vfio.rst`, `driver-api/uio-howto.rst`, and `ABI/testing/sysfs-bus-pci`
//! (`driver_override`, `drivers_probe`).

use std::fmt;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

/// PCI base class 02: network controller; subclass 00: Ethernet.
const CLASS_NETWORK: u32 = 0x02;
const CLASS_ETHERNET: u32 = 0x0200;
/// Drivers to try, in this order.
const DRIVERS: [&str; 2] = ["vfio-pci", "uio_pci_generic"];

/// One PCI network function and what became of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NicReport {
    /// PCI address, such as `0000:00:03.0`.
    pub address: String,
    /// PCI vendor identifier.
    pub vendor: u16,
    /// PCI device identifier.
    pub device: u16,
    /// The driver that now holds it, or why it is not used, in words.
    pub outcome: Result<&'static str, String>,
}

impl fmt::Display for NicReport {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            out,
            "{} {:04x}:{:04x} ",
            self.address, self.vendor, self.device
        )?;
        match &self.outcome {
            Ok(driver) => write!(out, "used, through {driver}"),
            Err(why) => write!(out, "not used because {why}"),
        }
    }
}

/// Binds every network function of the machine.
pub(crate) fn bind_all() -> (Vec<NicReport>, String) {
    let sys = Sys {
        root: PathBuf::from("/sys"),
    };
    let iommu = sys.has_iommu();
    let mut remarks = Vec::new();
    if !iommu && let Err(error) = sys.allow_noiommu() {
        remarks.push(format!("vfio-pci without IOMMU is not possible: {error}"));
    }
    let nics = sys.bind_all();
    remarks.extend(nics.iter().map(ToString::to_string));
    if nics.is_empty() {
        remarks.push("none found".into());
    }
    if !iommu && !nics.is_empty() {
        remarks.push("no IOMMU: a faulty port can write anywhere in memory".into());
    }
    (nics, remarks.join("\n"))
}

/// The sysfs tree; a directory of files in the tests.
struct Sys {
    root: PathBuf,
}

impl Sys {
    fn has_iommu(&self) -> bool {
        fs::read_dir(self.root.join("class/iommu"))
            .is_ok_and(|mut entries| entries.next().is_some())
    }

    fn allow_noiommu(&self) -> io::Result<()> {
        fs::write(
            self.root
                .join("module/vfio/parameters/enable_unsafe_noiommu_mode"),
            "1",
        )
    }

    fn bind_all(&self) -> Vec<NicReport> {
        let entries = fs::read_dir(self.root.join("bus/pci/devices"))
            .into_iter()
            .flatten()
            .flatten();
        let mut addresses: Vec<String> = entries
            .map(|entry| entry.file_name().to_string_lossy().into_owned())
            .collect();
        addresses.sort();
        addresses
            .iter()
            .filter_map(|address| self.bind(address))
            .collect()
    }

    /// None: not a network function.
    fn bind(&self, address: &str) -> Option<NicReport> {
        let path = self.root.join("bus/pci/devices").join(address);
        let class = hexadecimal(&path.join("class"))? >> 8;
        if class >> 8 != CLASS_NETWORK {
            return None;
        }
        let identifier = |name: &str| hexadecimal(&path.join(name)).unwrap_or(0) as u16;
        let outcome = if class == CLASS_ETHERNET {
            self.take(address, &path)
        } else {
            Err(format!("its class {class:04x} is not Ethernet"))
        };
        Some(NicReport {
            address: address.into(),
            vendor: identifier("vendor"),
            device: identifier("device"),
            outcome,
        })
    }

    fn take(&self, address: &str, path: &Path) -> Result<&'static str, String> {
        let mut reasons = Vec::new();
        for driver in DRIVERS {
            match self.try_driver(address, path, driver) {
                Ok(()) => return Ok(driver),
                Err(why) => reasons.push(format!("{driver}: {why}")),
            }
        }
        Err(reasons.join(", "))
    }

    fn try_driver(&self, address: &str, path: &Path, driver: &str) -> Result<(), String> {
        if !self.root.join("bus/pci/drivers").join(driver).exists() {
            return Err("not in this kernel".into());
        }
        let words = |error: io::Error| error.to_string();
        fs::write(path.join("driver_override"), driver).map_err(words)?;
        if path.join("driver").exists() {
            fs::write(path.join("driver/unbind"), address).map_err(words)?;
        }
        fs::write(self.root.join("bus/pci/drivers_probe"), address).map_err(words)?;
        let holder = fs::read_link(path.join("driver")).ok();
        let holder = holder.as_deref().and_then(Path::file_name);
        match holder {
            Some(name) if name == driver => Ok(()),
            Some(name) => Err(format!("{} holds it", name.display())),
            None => Err("did not take it".into()),
        }
    }
}

/// A sysfs file with a number such as `0x020000`.
fn hexadecimal(path: &Path) -> Option<u32> {
    let text = fs::read_to_string(path).ok()?;
    u32::from_str_radix(text.trim().trim_start_matches("0x"), 16).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::symlink;

    /// A sysfs of plain files: nothing binds when asked, so the driver links are made beforehand.
    struct Fake(Sys);

    impl Fake {
        fn new(name: &str) -> Self {
            let root = std::env::temp_dir().join(format!("fugu-sys-{name}-{}", std::process::id()));
            fs::create_dir_all(root.join("bus/pci/devices")).unwrap();
            Self(Sys { root })
        }

        fn device(&self, address: &str, class: &str, driver: Option<&str>) {
            let path = self.0.root.join("bus/pci/devices").join(address);
            fs::create_dir_all(&path).unwrap();
            for (file, text) in [
                ("class", class),
                ("vendor", "0x1af4\n"),
                ("device", "0x1000\n"),
            ] {
                fs::write(path.join(file), text).unwrap();
            }
            if let Some(driver) = driver {
                symlink(self.driver(driver), path.join("driver")).unwrap();
            }
        }

        fn driver(&self, name: &str) -> PathBuf {
            let path = self.0.root.join("bus/pci/drivers").join(name);
            fs::create_dir_all(&path).unwrap();
            path
        }
    }

    impl Drop for Fake {
        fn drop(&mut self) {
            drop(fs::remove_dir_all(&self.0.root));
        }
    }

    fn sentences(fake: &Fake) -> Vec<String> {
        fake.0.bind_all().iter().map(ToString::to_string).collect()
    }

    #[test]
    fn every_network_function_is_reported_in_order_and_nothing_else_is_touched() {
        let fake = Fake::new("order");
        fake.device("0000:00:05.0", "0x028000\n", None);
        fake.device("0000:00:04.0", "0x020000\n", Some("vfio-pci"));
        fake.device("0000:00:03.0", "0x010000\n", None);
        assert_eq!(
            sentences(&fake),
            [
                "0000:00:04.0 1af4:1000 used, through vfio-pci",
                "0000:00:05.0 1af4:1000 not used because its class 0280 is not Ethernet",
            ]
        );
        assert!(
            !fake
                .0
                .root
                .join("bus/pci/devices/0000:00:03.0/driver_override")
                .exists()
        );
        let written =
            |name: &str| fs::read_to_string(fake.0.root.join("bus/pci").join(name)).unwrap();
        assert_eq!(written("devices/0000:00:04.0/driver_override"), "vfio-pci");
        assert_eq!(written("drivers/vfio-pci/unbind"), "0000:00:04.0");
        assert_eq!(written("drivers_probe"), "0000:00:04.0");
    }

    #[test]
    fn the_second_driver_is_tried_and_a_refusal_says_why() {
        let fake = Fake::new("refusal");
        fake.driver("vfio-pci");
        fake.device("0000:00:03.0", "0x020000\n", None);
        assert_eq!(
            sentences(&fake),
            [
                "0000:00:03.0 1af4:1000 not used because vfio-pci: did not take it, uio_pci_generic: not in this kernel"
            ]
        );
        fake.device("0000:00:04.0", "0x020000\n", Some("uio_pci_generic"));
        assert_eq!(
            sentences(&fake)[1],
            "0000:00:04.0 1af4:1000 used, through uio_pci_generic"
        );
    }

    #[test]
    fn an_iommu_is_seen() {
        let fake = Fake::new("iommu");
        assert!(!fake.0.has_iommu());
        fs::create_dir_all(fake.0.root.join("class/iommu")).unwrap();
        assert!(!fake.0.has_iommu());
        fs::create_dir_all(fake.0.root.join("class/iommu/dmar0")).unwrap();
        assert!(fake.0.has_iommu());
    }
}
