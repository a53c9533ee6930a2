//! Owns the kernel: which source, which configuration, and the cache of what was built from them.
//!
//! It may not know what the kernel will run. The cache key is the hash of the Debian source package's version, our
//! `kernel.config` and [`RECIPE`], so that a kernel is built once for each change of any of them (five to ten minutes on
//! two cores) and never otherwise. Read first: the kernel's `Documentation/kbuild/reproducible-builds.rst`.

use crate::{Context, Failure, Result, read, run, write};
use sha2::{Digest, Sha256};
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Mutex;
use std::time::{Duration, Instant};

const PACKAGE: &str = "linux-source-6.1";
const TARBALL: &str = "/usr/src/linux-source-6.1.tar.xz";
/// Counts changes to how this file builds.
const RECIPE: &str = "1";
/// What would otherwise differ from build to build.
const REPRODUCIBLE: [(&str, &str); 4] = [
    ("KBUILD_BUILD_TIMESTAMP", "Thu Jan  1 00:00:00 UTC 2026"),
    ("KBUILD_BUILD_USER", "fugu"),
    ("KBUILD_BUILD_HOST", "fugu"),
    ("KBUILD_BUILD_VERSION", "1"),
];
/// A line of progress at least this often.
const PROGRESS: Duration = Duration::from_secs(10);

/// The kernel (bzImage) for `configuration`, from the cache or built now.
///
/// # Errors
/// When the source package is missing, a line of the configuration did not survive, or `make` failed.
pub fn get(cache: &Path, configuration: &Path, say: &mut dyn Write) -> Result<Vec<u8>> {
    let wanted = read(configuration)?;
    let version = source_version()?;
    let key = key(&version, &wanted);
    let kept = cache.join(format!("kernel-{key}"));
    if let Ok(kernel) = std::fs::read(&kept) {
        return Ok(kernel);
    }
    // Two builds at once would use the same directory; the second waits and finds the first one's kernel.
    std::fs::create_dir_all(cache).context(cache.display())?;
    let lock = std::fs::File::create(cache.join("kernel.lock")).context("kernel.lock")?;
    lock.lock().context("kernel.lock")?;
    if let Ok(kernel) = std::fs::read(&kept) {
        return Ok(kernel);
    }
    tell(
        say,
        format_args!(
            "kernel: {PACKAGE} {version}, configuration {key}: not in {}, building",
            cache.display()
        ),
    );
    let tree = cache.join(format!("build-{key}"));
    tell(say, format_args!("kernel: unpacking the source"));
    unpack(&tree)?;
    tell(say, format_args!("kernel: configuring"));
    configure(&tree, configuration, &wanted)?;
    tell(say, format_args!("kernel: compiling, some 1900 steps"));
    make(&tree, say)?;
    let kernel = read(&tree.join("arch/x86/boot/bzImage"))?;
    write(&kept, &kernel)?;
    // 1.5 GB that nothing needs again; failing to remove it only costs disk.
    if let Err(error) = std::fs::remove_dir_all(&tree) {
        tell(
            say,
            format_args!("kernel: {} stays: {error}", tree.display()),
        );
    }
    Ok(kernel)
}

/// Progress is a courtesy: a closed terminal does not stop a build.
fn tell(say: &mut dyn Write, line: std::fmt::Arguments<'_>) {
    drop(writeln!(say, "{line}").and_then(|()| say.flush()));
}

fn source_version() -> Result<String> {
    let output = run(Command::new("dpkg-query").args(["-W", "-f=${Version}", PACKAGE]));
    let version =
        output.map_err(|_| Failure(format!("{PACKAGE} is not installed: run ci/setup build")))?;
    Ok(String::from_utf8_lossy(&version).into_owned())
}

fn key(version: &str, configuration: &[u8]) -> String {
    let mut hash = Sha256::new();
    for part in [RECIPE.as_bytes(), version.as_bytes(), configuration] {
        hash.update((part.len() as u64).to_le_bytes());
        hash.update(part);
    }
    hash.finalize()[..8]
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect()
}

fn unpack(tree: &PathBuf) -> Result<()> {
    // A tree left by a killed build may be half unpacked; start over.
    if tree.exists() {
        std::fs::remove_dir_all(tree).context(tree.display())?;
    }
    std::fs::create_dir_all(tree).context(tree.display())?;
    run(Command::new("tar")
        .args(["-xJf", TARBALL, "--strip-components=1", "-C"])
        .arg(tree))
    .map(|_| ())
}

fn kbuild(tree: &Path) -> Command {
    let mut make = Command::new("make");
    make.current_dir(tree)
        .envs(REPRODUCIBLE)
        .env("LC_ALL", "C")
        .env_remove("MAKEFLAGS");
    make
}

fn configure(tree: &Path, configuration: &Path, wanted: &[u8]) -> Result<()> {
    let configuration = configuration
        .canonicalize()
        .context(configuration.display())?;
    run(kbuild(tree).args(["-s", "tinyconfig"]))?;
    run(Command::new("scripts/kconfig/merge_config.sh")
        .current_dir(tree)
        .args(["-m", ".config"])
        .arg(configuration))?;
    run(kbuild(tree).args(["-s", "olddefconfig"]))?;
    let got = read(&tree.join(".config"))?;
    let (wanted, got) = (
        String::from_utf8_lossy(wanted),
        String::from_utf8_lossy(&got),
    );
    let lost = lost_lines(&wanted, &got);
    if lost.is_empty() {
        return Ok(());
    }
    Err(Failure(format!(
        "kernel.config: the kernel does not accept: {}",
        lost.join(", ")
    )))
}

/// Lines of `wanted` that are not so in `got`: an option renamed, or with a dependency that is off.
fn lost_lines<'a>(wanted: &'a str, got: &str) -> Vec<&'a str> {
    let got: Vec<&str> = got.lines().collect();
    let kept = |line: &str| match line.strip_suffix("=n") {
        Some(option) => !got.iter().any(|other| {
            other
                .split_once('=')
                .is_some_and(|(name, _)| name == option)
        }),
        None => got.contains(&line),
    };
    wanted
        .lines()
        .filter(|line| line.starts_with("CONFIG_") && !kept(line))
        .collect()
}

/// Runs the long build with a line every [`PROGRESS`].
fn make(tree: &Path, say: &mut dyn Write) -> Result<()> {
    let log_path = tree.join("build.log");
    let log = std::fs::File::create(&log_path).context(log_path.display())?;
    let jobs = std::thread::available_parallelism().map_or(1, usize::from);
    let mut child = kbuild(tree)
        .args([&format!("-j{jobs}"), "bzImage"])
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(log)
        .spawn()
        .context("cannot run make")?;
    let output = child
        .stdout
        .take()
        .ok_or_else(|| Failure("make has no output".into()))?;
    let seen = Mutex::new((0_usize, String::new()));
    let status = std::thread::scope(|scope| {
        scope.spawn(|| {
            for line in BufReader::new(output)
                .lines()
                .map_while(std::result::Result::ok)
            {
                let mut seen = seen
                    .lock()
                    .unwrap_or_else(std::sync::PoisonError::into_inner);
                seen.0 += 1;
                seen.1 = line;
            }
        });
        let started = Instant::now();
        let mut told = Instant::now();
        loop {
            if let Some(status) = child.try_wait().context("make")? {
                return Ok::<_, Failure>(status);
            }
            if told.elapsed() >= PROGRESS {
                told = Instant::now();
                let seen = seen
                    .lock()
                    .unwrap_or_else(std::sync::PoisonError::into_inner);
                let step = seen.1.split_whitespace().collect::<Vec<_>>().join(" ");
                tell(
                    say,
                    format_args!(
                        "kernel: {} s, {} steps, now {step}",
                        started.elapsed().as_secs(),
                        seen.0
                    ),
                );
            }
            std::thread::sleep(Duration::from_millis(100));
        }
    })?;
    if status.success() {
        return Ok(());
    }
    let errors = String::from_utf8_lossy(&read(&log_path)?).into_owned();
    let tail: Vec<&str> = errors.lines().rev().take(10).collect();
    Err(Failure(format!(
        "kernel: make failed: {}",
        tail.into_iter().rev().collect::<Vec<_>>().join("\n")
    )))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_key_changes_with_version_and_configuration_only() {
        let base = key("6.1.1", b"CONFIG_NET=n\n");
        assert_eq!(base, key("6.1.1", b"CONFIG_NET=n\n"));
        assert_ne!(base, key("6.1.2", b"CONFIG_NET=n\n"));
        assert_ne!(base, key("6.1.1", b"CONFIG_NET=y\n"));
        // A byte moved from one part to the other is another key.
        assert_ne!(key("6.1", b"1CONFIG"), key("6.11", b"CONFIG"));
    }

    #[test]
    fn a_line_that_did_not_survive_is_named() {
        let got =
            "CONFIG_SMP=y\n# CONFIG_NET is not set\nCONFIG_HZ=250\nCONFIG_BUG=m\nCONFIG_AIO=y\n";
        let wanted = "# words\nCONFIG_SMP=y\nCONFIG_NET=n\nCONFIG_MODULES=n\nCONFIG_BUG=y\nCONFIG_AIO=n\nCONFIG_GONE=y\n";
        assert_eq!(
            lost_lines(wanted, got),
            ["CONFIG_BUG=y", "CONFIG_AIO=n", "CONFIG_GONE=y"]
        );
    }

    #[test]
    fn our_configuration_has_no_network_and_no_modules() {
        let ours = include_str!("../kernel.config");
        for line in [
            "CONFIG_NET=n",
            "CONFIG_MODULES=n",
            "CONFIG_DEVMEM=n",
            "CONFIG_VFIO_NOIOMMU=y",
        ] {
            assert!(ours.lines().any(|other| other == line), "{line}");
        }
    }
}
