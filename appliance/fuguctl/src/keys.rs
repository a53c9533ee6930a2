//! Keys: making a pair, reading one, asking for a passphrase.

use std::fs::{File, OpenOptions};
use std::io::{BufRead, BufReader, Read, Write};
use std::path::Path;

use bundle::signature::{KeyError, PublicKey, SecretKey};
use rustix::termios::{LocalModes, OptionalActions, tcgetattr, tcsetattr};

use crate::{Failure, Output, files};

/// Bytes of a passphrase.
const PASSPHRASE_LIMIT: u64 = 1024;

fn trouble(path: &Path, error: impl std::fmt::Display) -> Failure {
    Failure::Trouble(format!("{}: {error}", path.display()))
}

/// Makes a pair; existing files are left alone.
pub(crate) fn generate(
    public: &Path,
    secret: &Path,
    comment: &str,
    output: &mut Output<'_>,
) -> Result<(), Failure> {
    let random = random::<40>()?;
    let (mut seed, mut id) = ([0; 32], [0; 8]);
    seed.copy_from_slice(&random[..32]);
    id.copy_from_slice(&random[32..]);
    let key = SecretKey::generate(seed, id);
    let public_file = key.public(&format!("{comment} public key")).to_file();
    let secret_file = key.to_file(&format!("{comment} secret key"));
    files::create(secret, 0o600, secret_file.as_bytes())?;
    files::create(public, 0o644, public_file.as_bytes())?;
    writeln!(output.out, "key {}", key.id())?;
    Ok(())
}

pub(crate) fn random<const N: usize>() -> Result<[u8; N], Failure> {
    let path = Path::new("/dev/urandom");
    let mut bytes = [0; N];
    File::open(path)
        .and_then(|mut file| file.read_exact(&mut bytes))
        .map_err(|error| trouble(path, error))?;
    Ok(bytes)
}

/// Reads a `.pub` file.
pub(crate) fn public(path: &Path) -> Result<PublicKey, Failure> {
    PublicKey::parse(&files::read(path)?).map_err(|error| trouble(path, error))
}

/// Reads a `.sec` file; asks for the passphrase if there is one.
pub(crate) fn secret(path: &Path) -> Result<SecretKey, Failure> {
    let bytes = files::read(path)?;
    let key = match SecretKey::parse(&bytes, None) {
        Err(KeyError::PassphraseNeeded) => {
            let passphrase = ask(path)?;
            SecretKey::parse(&bytes, Some(&passphrase))
        }
        other => other,
    };
    key.map_err(|error| trouble(path, error))
}

/// From the terminal, whatever standard input is, without echo.
fn ask(key: &Path) -> Result<Vec<u8>, Failure> {
    let path = Path::new("/dev/tty");
    let failed = |error: std::io::Error| trouble(path, error);
    let mut terminal = OpenOptions::new()
        .read(true)
        .write(true)
        .open(path)
        .map_err(failed)?;
    let usual = tcgetattr(&terminal).map_err(|e| failed(e.into()))?;
    let mut silent = usual.clone();
    silent.local_modes.remove(LocalModes::ECHO);
    tcsetattr(&terminal, OptionalActions::Flush, &silent).map_err(|e| failed(e.into()))?;
    let asked =
        write!(terminal, "passphrase for {}: ", key.display()).and_then(|()| line_of(&terminal));
    let restored = tcsetattr(&terminal, OptionalActions::Flush, &usual);
    writeln!(terminal).map_err(failed)?;
    restored.map_err(|e| failed(e.into()))?;
    asked.map_err(failed)
}

fn line_of(terminal: &File) -> std::io::Result<Vec<u8>> {
    let mut line = Vec::new();
    BufReader::new(terminal.take(PASSPHRASE_LIMIT)).read_until(b'\n', &mut line)?;
    if line.last() == Some(&b'\n') {
        line.pop();
    }
    Ok(line)
}
