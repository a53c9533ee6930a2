//! The image builder's command line: program in, disk image, kernel and initramfs out.
//!
//! It owns file names and sizes printed; everything else is in the library.

#![forbid(unsafe_code)]

use image::{Failure, Result, disk, initramfs, kernel};
use std::io::stderr;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

const USAGE: &str = "usage: image [--init FILE] [--out DIR] [--config FILE] [--kernel-only]
  --init FILE     the static program that becomes /init
                  (default target/x86_64-unknown-linux-gnu/image/fugu)
  --out DIR       where the image goes (default out)
  --config FILE   kernel configuration (default image/kernel.config)
  --kernel-only   build the kernel into the cache and stop
The kernel is kept in $FUGU_CACHE, or $HOME/.cache/fugu.";

struct Options {
    init: PathBuf,
    out: PathBuf,
    config: PathBuf,
    kernel_only: bool,
}

fn main() -> ExitCode {
    match options(std::env::args().skip(1)).and_then(|options| build(&options)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            eprintln!("image: {failure}");
            ExitCode::FAILURE
        }
    }
}

fn options(mut words: impl Iterator<Item = String>) -> Result<Options> {
    let mut options = Options {
        init: "target/x86_64-unknown-linux-gnu/image/fugu".into(),
        out: "out".into(),
        config: "image/kernel.config".into(),
        kernel_only: false,
    };
    while let Some(word) = words.next() {
        let mut value = || {
            words
                .next()
                .ok_or_else(|| Failure(format!("{word} needs a value\n{USAGE}")))
        };
        match word.as_str() {
            "--init" => options.init = value()?.into(),
            "--out" => options.out = value()?.into(),
            "--config" => options.config = value()?.into(),
            "--kernel-only" => options.kernel_only = true,
            _ => return Err(Failure(format!("unknown option {word}\n{USAGE}"))),
        }
    }
    Ok(options)
}

fn build(options: &Options) -> Result<()> {
    let kernel = kernel::get(&cache()?, &options.config, &mut stderr())?;
    if options.kernel_only {
        return Ok(());
    }
    let version = env!("CARGO_PKG_VERSION");
    let init = std::fs::read(&options.init)
        .map_err(|error| Failure(format!("{}: {error}", options.init.display())))?;
    let initrd = initramfs::build(&init)?;
    std::fs::create_dir_all(&options.out)
        .map_err(|error| Failure(format!("{}: {error}", options.out.display())))?;
    let system = disk::System {
        version,
        kernel: &kernel,
        initrd: &initrd,
    };
    let image = disk::build(&system, &options.out)?;

    let base = options.out.join(format!("fugu-{version}-amd64"));
    let name = |suffix: &str| PathBuf::from(format!("{}{suffix}", base.display()));
    disk::write_sparse(&name(".img"), &image)?;
    for (suffix, bytes) in [("-kernel", &kernel), ("-initrd", &initrd)] {
        write(&name(suffix), bytes)?;
    }
    for scratch in ["i386-pc.img", "x86_64-efi.img"] {
        // Left over only if it cannot be removed; nothing reads it.
        std::fs::remove_file(options.out.join(scratch)).ok();
    }
    report(&name(".img"), init.len(), kernel.len(), initrd.len());
    Ok(())
}

fn write(path: &Path, bytes: &[u8]) -> Result<()> {
    std::fs::write(path, bytes).map_err(|error| Failure(format!("{}: {error}", path.display())))
}

fn report(image: &Path, init: usize, kernel: usize, initrd: usize) {
    let mib = |bytes: usize| bytes as f64 / f64::from(1 << 20);
    println!(
        "image: {}: kernel {:.1} MiB + initramfs {:.1} MiB = {:.1} MiB (program {:.1} MiB before compression)",
        image.display(),
        mib(kernel),
        mib(initrd),
        mib(kernel + initrd),
        mib(init)
    );
}

fn cache() -> Result<PathBuf> {
    let variable = |name: &str| {
        std::env::var_os(name)
            .filter(|value| !value.is_empty())
            .map(PathBuf::from)
    };
    variable("FUGU_CACHE")
        .or_else(|| variable("HOME").map(|home| home.join(".cache/fugu")))
        .ok_or_else(|| Failure("neither FUGU_CACHE nor HOME is set".into()))
}
