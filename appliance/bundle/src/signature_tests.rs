//! Signatures, by themselves and against the installed `signify-openbsd`.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use super::*;
use crate::{Bundle, Limits, pack};
use proptest::prelude::*;

/// 2026-11-21T22:15:16Z.
const NOW: Date = Date(1_795_299_316);

fn key(number: u8) -> SecretKey {
    SecretKey::generate([number; 32], [number; 8])
}

fn small() -> Vec<u8> {
    pack(&[("pf.conf".to_string(), b"block\n".to_vec())].into()).unwrap()
}

/// Several blocks: what does not compress, from a small generator.
fn large() -> Vec<u8> {
    let mut x = 0x9e37_79b9_u32;
    let noise = (0..200_000)
        .map(|_| {
            x ^= x << 13;
            x ^= x >> 17;
            x ^= x << 5;
            x as u8
        })
        .collect();
    pack(&[("noise".to_string(), noise)].into()).unwrap()
}

#[test]
fn what_is_signed_verifies_and_still_opens() {
    for plain in [small(), large()] {
        let signed = sign(&plain, &key(1), "admin.sec", NOW).unwrap();
        let verified = verify(&signed, &[key(2).public(""), key(1).public("")]).unwrap();
        assert_eq!(
            verified,
            Verified {
                key_id: KeyId([1; 8]),
                date: NOW,
                key_name: "admin.sec".into()
            }
        );
        let limits = Limits::default();
        assert_eq!(
            Bundle::open(&signed, &limits).unwrap().files,
            Bundle::open(&plain, &limits).unwrap().files
        );
    }
}

#[test]
fn signing_again_replaces_the_signature() {
    let once = sign(&small(), &key(1), "a.sec", NOW).unwrap();
    let twice = sign(&once, &key(2), "b.sec", NOW).unwrap();
    assert_eq!(twice, sign(&small(), &key(2), "b.sec", NOW).unwrap());
}

#[test]
fn a_stranger_s_key_is_refused_by_number() {
    let signed = sign(&small(), &key(1), "a.sec", NOW).unwrap();
    assert_eq!(
        verify(&signed, &[key(2).public("")]),
        Err(SignatureError::UnknownKey(KeyId([1; 8])))
    );
    assert_eq!(
        verify(&signed, &[]),
        Err(SignatureError::UnknownKey(KeyId([1; 8])))
    );
}

#[test]
fn a_key_that_borrows_a_trusted_number_is_found_out() {
    let liar = SecretKey::generate([3; 32], [1; 8]);
    let signed = sign(&small(), &liar, "a.sec", NOW).unwrap();
    assert_eq!(
        verify(&signed, &[key(1).public("")]),
        Err(SignatureError::Forged)
    );
}

#[test]
fn unsigned_and_undated_are_told_apart() {
    let trusted = [key(1).public("")];
    assert!(!is_signed(&small()));
    assert_eq!(verify(&small(), &trusted), Err(SignatureError::Unsigned));
    let undated = sign(&small(), &key(1), "a.sec", Date(0)).unwrap();
    assert!(is_signed(&undated));
    assert_eq!(verify(&undated, &trusted), Err(SignatureError::Undated));
    assert!(matches!(
        verify(b"tar", &trusted),
        Err(SignatureError::NotGzip(_))
    ));
}

#[test]
fn every_changed_byte_that_matters_is_noticed() {
    let signed = sign(&small(), &key(1), "a.sec", NOW).unwrap();
    let trusted = [key(1).public("")];
    let free = UNTRUSTED.len() + "verify with a.pub".len();
    for at in 0..signed.len() {
        // Time, XFL, OS and the untrusted comment are not covered; all else is.
        if (4..10).contains(&at) || (10..10 + free).contains(&at) {
            continue;
        }
        let mut changed = signed.clone();
        changed[at] ^= 0x04;
        assert!(verify(&changed, &trusted).is_err(), "byte {at}");
    }
}

#[test]
fn cut_or_lengthened_data_is_told_as_such() {
    let signed = sign(&large(), &key(1), "a.sec", NOW).unwrap();
    let trusted = [key(1).public("")];
    for end in [signed.len() - 1, signed.len() - 70_000, 600] {
        let error = verify(&signed[..end], &trusted).unwrap_err();
        assert!(
            matches!(error, SignatureError::Length | SignatureError::Changed(_)),
            "{end}: {error}"
        );
    }
    let mut longer = signed.clone();
    longer.push(0);
    assert!(verify(&longer, &trusted).is_err());
    let mut swapped = signed;
    let end = swapped.len();
    swapped[end - 9] ^= 1;
    assert_eq!(verify(&swapped, &trusted), Err(SignatureError::Changed(3)));
}

#[test]
fn key_files_read_back_as_they_were_written() {
    let secret = key(7);
    let public = secret.public("office key");
    assert_eq!(
        PublicKey::parse(public.to_file().as_bytes()),
        Ok(public.clone())
    );
    let again = SecretKey::parse(secret.to_file("office").as_bytes(), None).unwrap();
    assert_eq!(again.public("office key"), public);
}

#[test]
fn wrong_key_files_say_what_they_are() {
    let secret = key(7).to_file("x");
    let public = key(7).public("x").to_file();
    assert_eq!(
        PublicKey::parse(secret.as_bytes()).unwrap_err(),
        KeyError::SecretNotPublic
    );
    assert_eq!(
        SecretKey::parse(public.as_bytes(), None).err(),
        Some(KeyError::PublicNotSecret)
    );
    assert_eq!(
        PublicKey::parse(b"ssh-ed25519 AAAA").unwrap_err(),
        KeyError::NotSignify
    );
    assert_eq!(
        PublicKey::parse(b"untrusted comment: x\nAAAA\n").unwrap_err(),
        KeyError::BadLength
    );
    let damaged = secret.replace("RWRC", "RWRD");
    assert!(SecretKey::parse(damaged.as_bytes(), None).is_err());
}

/// Made by `signify-openbsd -G` with the passphrase `fugu test`.
const PROTECTED: &str = include_str!("../testdata/protected.sec");
const PROTECTED_PUBLIC: &str = include_str!("../testdata/protected.pub");

#[test]
fn a_key_under_a_passphrase_opens_with_it_only() {
    let parse = |pass: Option<&[u8]>| SecretKey::parse(PROTECTED.as_bytes(), pass);
    assert_eq!(parse(None).err(), Some(KeyError::PassphraseNeeded));
    assert_eq!(parse(Some(b"fugu")).err(), Some(KeyError::WrongPassphrase));
    let public = PublicKey::parse(PROTECTED_PUBLIC.as_bytes()).unwrap();
    let secret = parse(Some(b"fugu test")).unwrap();
    assert_eq!(secret.public(&public.comment), public);
}

proptest! {
    #[test]
    fn no_comment_makes_the_verifier_panic(comment in ".{0,300}", body in prop::collection::vec(any::<u8>(), 0..64)) {
        let mut bytes = vec![0x1f, 0x8b, 8, 16, 0, 0, 0, 0, 2, 3];
        bytes.extend_from_slice(UNTRUSTED.as_bytes());
        bytes.extend_from_slice(comment.replace('\0', "").as_bytes());
        bytes.push(0);
        bytes.extend_from_slice(&body);
        prop_assert!(verify(&bytes, &[key(1).public("")]).is_err());
    }

    #[test]
    fn no_signed_text_makes_the_statement_reader_panic(text in "(date=|key=|algorithm=|\n|\n\n|[0-9a-f]{64}|.){0,20}") {
        std::hint::black_box(Statement::parse(text.as_bytes()).is_ok());
    }
}

struct Scratch(PathBuf);

impl Scratch {
    fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("fugu-signify-{}-{name}", std::process::id()));
        std::fs::create_dir_all(&path).unwrap();
        Scratch(path)
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        if let Err(error) = std::fs::remove_dir_all(&self.0) {
            eprintln!("{}: {error}", self.0.display());
        }
    }
}

/// The tool under either of its names.
fn signify() -> Option<&'static str> {
    let found = ["signify-openbsd", "signify"].into_iter().find(|tool| {
        Command::new(tool)
            .stderr(Stdio::piped())
            .output()
            .is_ok_and(|out| String::from_utf8_lossy(&out.stderr).contains("seckey"))
    });
    if found.is_none() {
        println!("skipped: no signify-openbsd");
    }
    found
}

fn run(tool: &str, arguments: &[&str], paths: &[(&str, &Path)]) -> std::process::Output {
    let mut command = Command::new(tool);
    command.args(arguments);
    for (flag, path) in paths {
        command.arg(flag).arg(path);
    }
    command.output().unwrap()
}

#[test]
fn signify_accepts_what_we_sign_and_we_accept_what_it_signs() {
    let Some(tool) = signify() else { return };
    for (name, plain) in [("small", small()), ("large", large())] {
        let dir = Scratch::new(name);
        let (public, secret) = (dir.path("k.pub"), dir.path("k.sec"));
        let (tgz, theirs, ours, out) = (
            dir.path("in.tgz"),
            dir.path("theirs.tgz"),
            dir.path("ours.tgz"),
            dir.path("out.tgz"),
        );
        let made = run(tool, &["-G", "-n"], &[("-p", &public), ("-s", &secret)]);
        assert!(made.status.success(), "{made:?}");
        std::fs::write(&tgz, &plain).unwrap();
        let signed = run(
            tool,
            &["-S", "-z"],
            &[("-s", &secret), ("-m", &tgz), ("-x", &theirs)],
        );
        assert!(signed.status.success(), "{signed:?}");

        let trusted = PublicKey::parse(&std::fs::read(&public).unwrap()).unwrap();
        let bytes = std::fs::read(&theirs).unwrap();
        let verified = verify(&bytes, std::slice::from_ref(&trusted)).unwrap();
        assert_eq!(verified.key_name, secret.to_str().unwrap());

        let key = SecretKey::parse(&std::fs::read(&secret).unwrap(), None).unwrap();
        let mine = sign(&plain, &key, &verified.key_name, verified.date).unwrap();
        assert_eq!(mine, bytes, "{name}: Ed25519 is deterministic");
        std::fs::write(&ours, &mine).unwrap();
        let checked = run(
            tool,
            &["-V", "-z"],
            &[("-p", &public), ("-x", &ours), ("-m", &out)],
        );
        assert!(checked.status.success(), "{name}: {checked:?}");
        assert_eq!(std::fs::read(&out).unwrap(), mine);
    }
}

#[test]
fn signify_uses_our_keys() {
    let Some(tool) = signify() else { return };
    let dir = Scratch::new("keys");
    let (public, secret) = (dir.path("f.pub"), dir.path("f.sec"));
    let (message, signature) = (dir.path("m"), dir.path("m.sig"));
    std::fs::write(&public, key(9).public("fugu public key").to_file()).unwrap();
    std::fs::write(&secret, key(9).to_file("fugu secret key")).unwrap();
    std::fs::write(&message, "hello\n").unwrap();
    let signed = run(
        tool,
        &["-S"],
        &[("-s", &secret), ("-m", &message), ("-x", &signature)],
    );
    assert!(signed.status.success(), "{signed:?}");
    let checked = run(
        tool,
        &["-V"],
        &[("-p", &public), ("-m", &message), ("-x", &signature)],
    );
    assert!(checked.status.success(), "{checked:?}");
}
