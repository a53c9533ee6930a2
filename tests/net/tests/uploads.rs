//! Who may change the configuration, and what happens to bundles that are none.

use bundle::Date;
use bundle::signature::{SecretKey, sign};
use flate2::Compression;
use flate2::write::GzEncoder;
use net_tests::http::{Reply, Request};
use net_tests::{BASE_RULES, Context, Etc, Failure, Plan, Result, Site, TOKEN, noise, skip};
use std::io::Write;
use tar::{EntryType, Header};

/// 2026-11-21.
const DAY: u64 = 1_795_219_200;
/// Largest upload.
const UPLOAD_MAX: usize = 16 << 20;

fn key(n: u8) -> SecretKey {
    SecretKey::generate([n; 32], [n; 8])
}

/// A bundle of its own for each `n`, signed.
fn signed(n: u32, key: &SecretKey, date: u64) -> Result<Vec<u8>> {
    let plain = Etc::with_rules(&format!("{BASE_RULES}# number {n}\n")).pack()?;
    sign(&plain, key, "office.sec", Date(date)).context("sign")
}

/// Uploads refused and wrong proofs, as the box counts them.
fn refusals(site: &Site) -> Result<[u64; 2]> {
    let refused = site.get("/v1/status")?["uploads_refused"].as_u64();
    let refused = refused.ok_or_else(|| Failure("no uploads_refused".into()))?;
    Ok([refused, metric(site, "fugu_http_auth_failures_total")?])
}

fn metric(site: &Site, name: &str) -> Result<u64> {
    let page = site.ask(&Request {
        path: "/metrics",
        token: Some(TOKEN),
        ..Request::default()
    })?;
    let text = page.text();
    let value = text
        .lines()
        .find_map(|line| line.strip_prefix(name)?.trim().parse::<f64>().ok());
    value
        .map(|value| value as u64)
        .ok_or_else(|| Failure(format!("no {name} in {text}")))
}

/// What must hold of every refusal: the status, nothing changed, a line in the log, and it is counted.
fn refused(
    site: &Site,
    what: &str,
    status: u16,
    upload: impl FnOnce() -> Result<Reply>,
) -> Result<()> {
    let (policy, counted) = (site.policy()?, refusals(site)?);
    let logged = site.program.said().matches("refused").count();
    let reply = upload()?;
    println!("{what}: {} {}", reply.status, reply.text());
    assert_eq!(reply.status, status, "{what}");
    assert!(reply.text().contains("error"), "{what} is told why");
    assert_eq!(site.policy()?, policy, "{what} changes nothing");
    let now = refusals(site)?;
    assert!(
        now.iter().sum::<u64>() > counted.iter().sum(),
        "{what} is counted: {now:?}"
    );
    let lines = site.program.said().matches("refused").count();
    assert!(lines > logged, "{what} is logged");
    assert!(
        !site.program.said().contains(TOKEN),
        "secrets stay out of the log"
    );
    Ok(())
}

#[test]
fn only_a_token_or_a_fresh_signature_by_a_trusted_key_changes_anything() -> Result<()> {
    if skip() {
        return Ok(());
    }
    let (friend, stranger) = (key(1), key(2));
    let site = Site::open(&Plan {
        trusted_key: Some(friend.public("office public key").to_file()),
        ..Plan::default()
    })?;
    let unsigned = Etc::with_rules("pass\n").pack()?;
    refused(&site, "unsigned, no token", 401, || {
        site.upload(&unsigned, None)
    })?;
    refused(&site, "a wrong token", 401, || {
        site.upload(&unsigned, Some("guessed"))
    })?;
    let strange = signed(1, &stranger, DAY)?;
    refused(&site, "signed by a stranger", 401, || {
        site.upload(&strange, None)
    })?;
    let mut altered = signed(2, &friend, DAY)?;
    let last = altered.len() - 1;
    altered[last] ^= 1;
    refused(&site, "altered after signing", 401, || {
        site.upload(&altered, None)
    })?;

    let first = signed(3, &friend, DAY + 10)?;
    let reply = site.upload(&first, None)?;
    assert_eq!(reply.status, 200, "{reply:?}");
    let origin = site.get("/v1/status")?["origin"].clone();
    println!(
        "signed by a trusted key: {} {}, origin {origin}",
        reply.status,
        reply.text()
    );
    assert!(
        origin
            .as_str()
            .is_some_and(|origin| origin.starts_with("signify:")),
        "{origin}"
    );

    let recorded = signed(4, &friend, DAY)?;
    refused(&site, "replayed from the past", 409, || {
        site.upload(&recorded, None)
    })?;
    let same = signed(5, &friend, DAY + 10)?;
    refused(&site, "of the same second", 409, || {
        site.upload(&same, None)
    })?;
    let again = site.upload(&first, None)?;
    assert!(
        again.status == 200 && again.text().contains("no-change"),
        "{again:?}"
    );
    let next = site.upload(&signed(6, &friend, DAY + 11)?, None)?;
    assert_eq!(next.status, 200, "{next:?}");
    Ok(())
}

/// One entry with whatever name and type, padded.
fn entry(name: &str, kind: EntryType, content: &[u8]) -> Vec<u8> {
    let mut header = Header::new_ustar();
    header.as_old_mut().name[..name.len()].copy_from_slice(name.as_bytes());
    header.set_entry_type(kind);
    header.set_mode(0o644);
    header.set_size(content.len() as u64);
    header.set_cksum();
    let mut bytes = [header.as_bytes(), content].concat();
    bytes.resize(bytes.len().next_multiple_of(512), 0);
    bytes
}

fn gzip(plain: &[u8]) -> Result<Vec<u8>> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
    encoder.write_all(plain).context("gzip")?;
    encoder.finish().context("gzip")
}

fn tgz(entries: &[Vec<u8>]) -> Result<Vec<u8>> {
    gzip(&[entries.concat(), vec![0; 1024]].concat())
}

#[test]
fn what_is_no_bundle_is_refused_in_words_and_costs_little() -> Result<()> {
    if skip() {
        return Ok(());
    }
    let mut site = Site::open(&Plan::default())?;
    let good = Etc::default().pack()?;
    let memory = site.program.resident_kib()?;
    let rules = |name: &str| tgz(&[entry(name, EntryType::Regular, b"pass\n")]);
    let bomb = gzip(&vec![0; 200 << 20])?;
    let file_bomb = tgz(&[entry(
        "etc/pf.conf",
        EntryType::Regular,
        &vec![b'#'; 48 << 20],
    )])?;
    println!("bombs of {} and {} bytes", bomb.len(), file_bomb.len());
    let cases: [(&str, u16, Vec<u8>); 14] = [
        ("empty", 422, Vec::new()),
        ("truncated in the header", 422, good[..5].to_vec()),
        (
            "truncated in the middle",
            422,
            good[..good.len() / 2].to_vec(),
        ),
        ("truncated at the end", 422, good[..good.len() - 1].to_vec()),
        (
            "followed by something",
            422,
            [good.as_slice(), b"!"].concat(),
        ),
        ("not gzip", 422, noise(5000, 7)),
        ("gzip of no archive", 422, gzip(&noise(5000, 8))?),
        ("a path upwards", 422, rules("../../etc/pf.conf")?),
        ("a path upwards within", 422, rules("etc/../../pf.conf")?),
        ("an absolute path", 422, rules("/etc/pf.conf")?),
        (
            "a symbolic link",
            422,
            tgz(&[entry("etc/pf.conf", EntryType::Symlink, b"")])?,
        ),
        ("a bomb of zeros", 413, bomb),
        ("a bomb in a file", 422, file_bomb),
        ("too large", 413, noise(UPLOAD_MAX + 1, 9)),
    ];
    for (what, status, body) in &cases {
        let policy = site.policy()?;
        let reply = site.upload(body, Some(TOKEN)).context(what)?;
        println!(
            "{what}: {} {}",
            reply.status,
            reply.text().chars().take(160).collect::<String>()
        );
        assert_eq!(reply.status, *status, "{what}");
        assert_eq!(site.policy()?, policy, "{what} changes nothing");
    }
    let grown = site.program.resident_kib()?.saturating_sub(memory);
    println!("memory: {memory} KiB, then {grown} KiB more");
    // An upload of 16 MiB and 64 MiB unpacked, and what the allocator keeps.
    assert!(grown < 128 << 10, "{grown} KiB");
    assert!(site.program.is_running()?);
    site.accept(&Etc::with_rules(&format!("{BASE_RULES}# still here\n")))
}
