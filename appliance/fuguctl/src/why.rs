//! `fuguctl why`: what the firewall would do with a packet under rules that lie in a directory.

use std::path::Path;

use control::api::{Api, Question};

use crate::{Failure, Output, check, files};

/// Explains a packet in words, or one of a capture: the file, and the interface on which it comes in.
pub(crate) fn command(
    tree: &Path,
    packet: &str,
    capture: Option<(&Path, &str)>,
    json: bool,
    output: &mut Output<'_>,
) -> Result<(), Failure> {
    let question = match capture {
        None => Question::Words(packet.into()),
        Some((file, on)) => Question::Frame {
            interface: on.into(),
            frame: frame(file, packet)?,
        },
    };
    let tree_files = check::load(tree)?;
    let Some(mut control) = control::offline::control(&tree_files) else {
        let text = format!(
            "{0}: there are errors; fuguctl check {0} shows them",
            tree.display()
        );
        return Err(Failure::RefusedFor(text));
    };
    let told = control.why(&question).map_err(Failure::Trouble)?;
    if json {
        let value = serde_json::to_value(&told).unwrap_or_default();
        writeln!(output.out, "{value:#}")?;
    } else {
        output.out.write_all(told.text().as_bytes())?;
    }
    Ok(())
}

/// A packet of a capture by its number, from 1 as viewers count.
fn frame(file: &Path, number: &str) -> Result<Vec<u8>, Failure> {
    let trouble = |text: String| Failure::Trouble(format!("{}: {text}", file.display()));
    let wanted = number.parse::<usize>().ok().filter(|n| *n > 0);
    let wanted = wanted.ok_or_else(|| trouble(format!("'{number}' is no packet number")))?;
    let bytes = files::read(file)?;
    let mut reader = simnic::capture::Reader::new(&bytes).map_err(|e| trouble(e.to_string()))?;
    let packet = reader.nth(wanted - 1);
    let packet = packet.ok_or_else(|| trouble(format!("there is no packet {wanted}")))?;
    let packet = packet.map_err(|e| trouble(e.to_string()))?;
    let frame = packet.ethernet();
    let frame = frame.ok_or_else(|| trouble(format!("packet {wanted} is no IP packet")))?;
    Ok(frame.into_owned())
}
