//! What an outsider may send: every way to be refused, and that nothing else happens.

use super::*;
use crate::pack::{compress, pack};
use proptest::prelude::*;
use tar::{Builder, Header};

fn limits() -> Limits {
    Limits {
        compressed: 1 << 20,
        unpacked: 256 << 10,
        entries: 16,
        file: 64 << 10,
        path: 64,
        depth: 4,
    }
}

/// One entry as it will stand in the archive, with whatever name and type.
fn entry(name: &[u8], kind: EntryType, contents: &[u8]) -> Vec<u8> {
    let mut header = Header::new_ustar();
    header.as_old_mut().name[..name.len()].copy_from_slice(name);
    header.set_entry_type(kind);
    header.set_mode(0o644);
    header.set_size(contents.len() as u64);
    header.set_cksum();
    let mut bytes = header.as_bytes().to_vec();
    bytes.extend_from_slice(contents);
    bytes.resize(bytes.len().next_multiple_of(512), 0);
    bytes
}

fn file(name: &str, contents: &str) -> Vec<u8> {
    entry(name.as_bytes(), EntryType::Regular, contents.as_bytes())
}

fn tgz(entries: &[Vec<u8>]) -> Vec<u8> {
    let mut plain = entries.concat();
    plain.extend_from_slice(&[0; 1024]);
    compress(&plain).unwrap()
}

fn why(bytes: &[u8]) -> Why {
    Bundle::open(bytes, &limits()).unwrap_err().why
}

#[test]
fn files_are_found_under_their_names_in_the_tree() {
    let bytes = tgz(&[
        entry(b"./", EntryType::Directory, b""),
        entry(b"./tables/", EntryType::Directory, b""),
        file("./pf.conf", "pass\n"),
        file("./tables/bad", ""),
        file("etc/myname", "fugu\n"),
    ]);
    let bundle = Bundle::open(&bytes, &limits()).unwrap();
    let names: Vec<&str> = bundle.files.keys().map(String::as_str).collect();
    assert_eq!(names, ["myname", "pf.conf", "tables/bad"]);
    assert_eq!(bundle.files["pf.conf"], b"pass\n");
    assert_eq!(bundle.digest, digest_of(&bytes));
}

#[test]
fn long_names_of_both_kinds_are_understood() {
    let long = format!("{}/{}", "d".repeat(100), "f".repeat(100));
    let wide = Limits {
        path: 255,
        ..limits()
    };
    let record = |text: &str| {
        // The length of a pax record counts its own digits.
        let rest = text.len() + 2;
        let total = (rest..).find(|n| n.to_string().len() + rest == *n).unwrap();
        format!("{total} {text}\n")
    };
    let pax = tgz(&[
        entry(
            b"global",
            EntryType::XGlobalHeader,
            record("comment=made by a version control program").as_bytes(),
        ),
        entry(
            b"pax",
            EntryType::XHeader,
            [record("mtime=1.5"), record(&format!("path={long}"))]
                .concat()
                .as_bytes(),
        ),
        file("short", "x"),
        file("next", "y"),
    ]);
    let mut builder = Builder::new(Vec::new());
    let mut header = Header::new_gnu();
    header.set_size(1);
    builder.append_data(&mut header, &long, &b"x"[..]).unwrap();
    let gnu = compress(&builder.into_inner().unwrap()).unwrap();
    for bytes in [&pax, &gnu] {
        let bundle = Bundle::open(bytes, &wide).unwrap();
        assert_eq!(bundle.files[&long], b"x");
    }
    assert!(
        Bundle::open(&pax, &wide)
            .unwrap()
            .files
            .contains_key("next")
    );
}

#[test]
fn links_devices_and_the_like_are_refused_by_name() {
    for (kind, text) in [
        (EntryType::Symlink, "a symbolic link"),
        (EntryType::Link, "a hard link"),
        (EntryType::Char, "a device"),
        (EntryType::Block, "a device"),
        (EntryType::Fifo, "a fifo"),
        (EntryType::GNUSparse, "a sparse file"),
        (EntryType::Continuous, "an unknown kind of entry"),
        (EntryType::new(b'Z'), "an unknown kind of entry"),
    ] {
        let bytes = tgz(&[file("ok", ""), entry(b"pf.conf", kind, b"")]);
        let refused = Bundle::open(&bytes, &limits()).unwrap_err();
        assert_eq!(refused.entry.as_deref(), Some("pf.conf"), "{kind:?}");
        assert_eq!(refused.why, Why::Kind(text), "{kind:?}");
    }
}

#[test]
fn names_that_leave_the_tree_are_refused() {
    for (name, want) in [
        (&b"/pf.conf"[..], Why::AbsoluteName),
        (b"../pf.conf", Why::ClimbingName),
        (b"a/../../pf.conf", Why::ClimbingName),
        (b"a//pf.conf", Why::OddName),
        (b"pf\xffconf", Why::NameNotUtf8),
        (b"pf\x1b[2Jconf", Why::ControlInName),
        (b"a/b/c/d/e", Why::TooDeep { limit: 4 }),
        (&[b'x'; 65], Why::NameTooLong { limit: 64 }),
        (b"pf.conf/", Why::OddName),
        (b"./", Why::OddName),
    ] {
        let bytes = tgz(&[entry(name, EntryType::Regular, b"x")]);
        assert_eq!(why(&bytes), want, "{name:?}");
    }
    let refused = Bundle::open(
        &tgz(&[entry(b"\x1b[2J", EntryType::Regular, b"")]),
        &limits(),
    )
    .unwrap_err();
    assert!(!refused.to_string().contains('\x1b'), "{refused}");
}

#[test]
fn a_name_may_be_there_once() {
    let twice = tgz(&[file("pf.conf", "pass"), file("etc/pf.conf", "block")]);
    assert_eq!(why(&twice), Why::Duplicate);
    let both = tgz(&[file("a", ""), file("a/b", "")]);
    assert_eq!(why(&both), Why::Duplicate);
    let directory = tgz(&[file("a", ""), entry(b"a", EntryType::Directory, b"")]);
    assert_eq!(why(&directory), Why::Duplicate);
    let directories = tgz(&[
        entry(b"a", EntryType::Directory, b""),
        entry(b"a/", EntryType::Directory, b""),
        file("a/b", ""),
    ]);
    assert!(Bundle::open(&directories, &limits()).is_ok());
}

#[test]
fn each_limit_holds_exactly() {
    let full = |n: usize| entry(b"big", EntryType::Regular, &vec![b'x'; n]);
    assert!(Bundle::open(&tgz(&[full(64 << 10)]), &limits()).is_ok());
    assert_eq!(
        why(&tgz(&[full((64 << 10) + 1)])),
        Why::FileTooLarge {
            size: (64 << 10) + 1,
            limit: 64 << 10
        }
    );

    let many = |n: usize| -> Vec<_> { (0..n).map(|i| file(&format!("f{i}"), "")).collect() };
    assert!(Bundle::open(&tgz(&many(16)), &limits()).is_ok());
    assert_eq!(why(&tgz(&many(17))), Why::TooManyEntries { limit: 16 });
    let headers: Vec<_> = (0..33)
        .map(|_| entry(b"g", EntryType::XGlobalHeader, b""))
        .collect();
    assert_eq!(why(&tgz(&headers)), Why::TooManyEntries { limit: 16 });

    let bytes = tgz(&[file("pf.conf", "pass")]);
    let tight = Limits {
        compressed: bytes.len(),
        unpacked: 2048,
        ..limits()
    };
    assert!(Bundle::open(&bytes, &tight).is_ok());
    let tighter = Limits {
        unpacked: 2047,
        ..tight
    };
    assert_eq!(
        Bundle::open(&bytes, &tighter).unwrap_err().why,
        Why::UnpackedTooLarge { limit: 2047 }
    );
    let tighter = Limits {
        compressed: bytes.len() - 1,
        ..tight
    };
    assert_eq!(
        Bundle::open(&bytes, &tighter).unwrap_err().why,
        Why::UploadTooLarge {
            limit: bytes.len() - 1
        }
    );
}

#[test]
fn a_bomb_stops_at_the_limit() {
    // Four files that are fine each but not together, and a gigabyte of zeros after the end mark.
    let together: Vec<_> = (0..4)
        .map(|i| {
            entry(
                format!("f{i}").as_bytes(),
                EntryType::Regular,
                &[0; 64 << 10],
            )
        })
        .collect();
    let limit = 256 << 10;
    assert_eq!(why(&tgz(&together)), Why::UnpackedTooLarge { limit });

    let mut plain = file("pf.conf", "pass");
    plain.resize(32 << 20, 0);
    let bomb = compress(&plain).unwrap();
    assert!(bomb.len() < 64 << 10);
    assert_eq!(why(&bomb), Why::UnpackedTooLarge { limit });

    // A header that announces a gigabyte is refused before anything is reserved.
    let mut header = Header::new_ustar();
    header.as_old_mut().name[0] = b'x';
    header.set_entry_type(EntryType::Regular);
    header.set_size(1 << 30);
    header.set_cksum();
    let announced = compress(header.as_bytes()).unwrap();
    assert_eq!(
        why(&announced),
        Why::FileTooLarge {
            size: 1 << 30,
            limit: 64 << 10
        }
    );
    let long = entry(b"x", EntryType::GNULongName, &[b'a'; 9000]);
    assert_eq!(why(&tgz(&[long])), Why::OddHeader);
}

#[test]
fn a_bundle_cut_anywhere_is_refused() {
    let bytes = pack(&[("pf.conf".to_string(), b"pass\n".repeat(40))].into()).unwrap();
    for end in 0..bytes.len() {
        assert!(
            matches!(why(&bytes[..end]), Why::Damaged(_) | Why::CutShort),
            "{end}"
        );
    }
    assert!(Bundle::open(&bytes, &limits()).is_ok());
}

#[test]
fn an_archive_cut_before_compression_is_refused() {
    let whole = [file("a", "1"), file("b", "2")].concat();
    for end in 0..whole.len() {
        assert!(
            Bundle::open(&compress(&whole[..end]).unwrap(), &limits()).is_err(),
            "{end}"
        );
    }
    assert_eq!(
        why(&compress(&whole).unwrap()),
        Why::Damaged("the archive has no end mark: it is cut short")
    );
}

#[test]
fn a_flipped_bit_in_the_body_is_noticed() {
    let bytes = pack(&[("pf.conf".to_string(), b"pass in\n".to_vec())].into()).unwrap();
    for at in 10..bytes.len() {
        let mut changed = bytes.clone();
        changed[at] ^= 1;
        assert!(Bundle::open(&changed, &limits()).is_err(), "{at}");
    }
}

#[test]
fn hidden_data_is_refused() {
    let mut trailing = tgz(&[file("pf.conf", "pass")]);
    trailing.extend_from_slice(b"more");
    assert_eq!(
        why(&trailing),
        Why::Damaged("more data follows the gzip data")
    );
    let mut plain = file("pf.conf", "pass");
    plain.extend_from_slice(&[0; 1024]);
    plain.extend_from_slice(&file("pf.conf", "block"));
    assert_eq!(
        why(&compress(&plain).unwrap()),
        Why::Damaged("more data follows the end of the archive")
    );
}

#[test]
fn what_is_no_bundle_is_called_so() {
    assert_eq!(why(b""), Why::Damaged("not a gzip file"));
    assert_eq!(why(b"PK\x03\x04"), Why::Damaged("not a gzip file"));
    let text = compress("pass in\n".repeat(200).as_bytes()).unwrap();
    assert_eq!(
        why(&text),
        Why::Damaged("not a tar archive, or a damaged one")
    );
    assert_eq!(why(&tgz(&[])), Why::Empty);
    assert_eq!(
        why(&tgz(&[entry(b"etc/", EntryType::Directory, b"")])),
        Why::Empty
    );
}

proptest! {
    #[test]
    fn random_bytes_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..2048)) {
        std::hint::black_box(Bundle::open(&bytes, &limits()).is_ok());
    }

    #[test]
    fn random_deflate_bodies_never_panic(body in prop::collection::vec(any::<u8>(), 0..2048)) {
        let mut bytes = vec![0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 2, 3];
        bytes.extend_from_slice(&body);
        prop_assert!(Bundle::open(&bytes, &limits()).is_err());
    }

    #[test]
    fn random_changes_to_an_archive_never_panic(changes in prop::collection::vec((0usize..2560, any::<u8>()), 1..12)) {
        let mut plain = [
            entry(b"x", EntryType::XHeader, b"18 path=tables/ab\n"),
            file("pf.conf", "pass\n"),
        ].concat();
        plain.resize(2560, 0);
        for (at, value) in changes {
            plain[at] = value;
        }
        // With header checksums made good again, so that the changes reach the reader.
        for block in [0, 1024] {
            let mut header = Header::from_byte_slice(&plain[block..block + 512]).clone();
            header.set_cksum();
            plain[block..block + 512].copy_from_slice(header.as_bytes());
        }
        std::hint::black_box(Bundle::open(&compress(&plain).unwrap(), &limits()).is_ok());
    }

    #[test]
    fn whatever_opens_obeys_the_limits(names in prop::collection::vec("[a-z./]{1,12}", 1..20)) {
        let entries: Vec<_> = names.iter().map(|n| file(n, "x")).collect();
        if let Ok(bundle) = Bundle::open(&tgz(&entries), &limits()) {
            prop_assert!(bundle.files.len() <= 16);
            for name in bundle.files.keys() {
                prop_assert!(!name.starts_with('/') && name.split('/').all(|p| !matches!(p, "" | "." | "..")));
            }
        }
    }
}
