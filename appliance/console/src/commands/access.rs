//! Who may manage the box, and where: `management`, `token`, `key`. Secrets are asked for in dialogs, never words of a command.

use control::api::Api;

use crate::address;
use crate::dialog::{Action, Dialog, Token, trust};
use crate::output::Output;
use crate::words::did_you_mean;

pub(super) fn management(words: &[String], api: &mut dyn Api) -> Result<Output, String> {
    let named = |why: String| format!("management: {why}");
    let (interface, addr, gateway) = match words {
        [interface, addr] => (interface, addr, None),
        [interface, addr, gateway] => (interface, addr, Some(gateway)),
        [] | [_] => {
            return Err(
                "management: IF and ADDRESS/PREFIX are needed, as management vio0 192.0.2.1/24"
                    .into(),
            );
        }
        [_, _, _, extra, ..] => return Err(format!("management: '{extra}' is too much")),
    };
    let interfaces = api.interfaces();
    if !interfaces.iter().any(|i| i.name == *interface) {
        let hint = did_you_mean(interface, interfaces.iter().map(|i| i.name.as_str()));
        return Err(format!(
            "management: '{interface}': no such interface{hint}"
        ));
    }
    let (addr, len) = address::with_prefix(addr).map_err(named)?;
    let gateway = match gateway {
        Some(text) => Some(address::gateway(text, addr, len).map_err(named)?),
        None => None,
    };
    api.set_management(interface, addr, len, gateway)
        .map_err(named)?;
    Ok(Output::Text(format!(
        "The box is managed at {addr} on {interface}.\n"
    )))
}

pub(super) fn token(words: &[String], _: &mut dyn Api) -> Result<Output, String> {
    match words {
        [word] if word == "set" => Ok(Output::question(Dialog::Token(Token::default()))),
        [word] if word == "clear" => Ok(Output::confirm(Action::ClearToken)),
        [] => Err("token: a word is missing; set or clear".into()),
        // The word may be somebody's secret, so it is not shown again.
        [word, _, ..] if word == "set" => {
            Err("token: set: the token is asked for, not given in the command".into())
        }
        [word, ..] => Err(format!(
            "token: '{word}' is not understood{}",
            did_you_mean(word, ["set", "clear"])
        )),
    }
}

pub(super) fn key(words: &[String], api: &mut dyn Api) -> Result<Output, String> {
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    match words[..] {
        ["list"] => {
            let keys = api.trusted_keys();
            let lines: String = keys
                .iter()
                .map(|(id, comment)| format!("{id}  {comment}\n"))
                .collect();
            Ok(Output::Text(if lines.is_empty() {
                "No key is trusted.\n".into()
            } else {
                lines
            }))
        }
        ["add"] => Ok(Output::question(Dialog::Key(Vec::new()))),
        ["add", text] => Ok(Output::Text(trust(text, api))),
        ["remove", id] => {
            let keys = api.trusted_keys();
            if !keys.iter().any(|(k, _)| k == id) {
                let hint = did_you_mean(id, keys.iter().map(|(k, _)| k.as_str()));
                return Err(format!("key: remove: '{id}' is not trusted anyway{hint}"));
            }
            Ok(Output::confirm(Action::RemoveKey(id.to_string())))
        }
        ["floor"] => Ok(Output::Text(match api.replay_floor() {
            Some(date) => format!("Signed bundles must be later than {date}.\n"),
            None => "No signed bundle was accepted yet; any date will do.\n".into(),
        })),
        ["floor", "reset"] => Ok(Output::confirm(Action::ResetFloor)),
        ["remove"] => Err("key: remove: the id is missing; key list shows them".into()),
        [] => Err("key: a word is missing; list, add, remove or floor".into()),
        ["list" | "add" | "remove", .., extra] => Err(format!("key: '{extra}' is too much")),
        [word, ..] => Err(format!(
            "key: '{word}' is not understood{}",
            did_you_mean(word, ["list", "add", "remove"])
        )),
    }
}
