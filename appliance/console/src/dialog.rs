//! Questions that need more than one line: a token, a key, "are you sure", and the first-boot wizard. A dialog takes
//! one answer at a time and says what to print and what to ask next; it may be left at any question, and nothing has
//! changed then.

use std::net::IpAddr;

use control::api::{Api, InterfaceView};

use crate::{address, anchors};

/// Shorter tokens can be guessed.
const TOKEN_MIN: usize = 16;
/// Longer ones are a pasting accident.
const TOKEN_MAX: usize = 128;
/// Wrong answers to one question of the wizard are free; lines of a key are not.
const KEY_LINES_MAX: usize = 4;

/// Fills a slice with unpredictable bytes.
pub type Random = Box<dyn FnMut(&mut [u8]) + Send>;

/// A conversation under way.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum Dialog {
    Token(Token),
    /// The text of a key, as far as it was pasted.
    Key(Vec<String>),
    Confirm(Action),
    Setup(Setup),
    /// Rules of an anchor, as far as they were pasted.
    Anchor {
        path: String,
        text: String,
    },
}

/// Something that is done only after a second thought.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum Action {
    Reboot,
    Halt,
    ClearToken,
    RemoveKey(String),
    ResetFloor,
}

/// A token is asked for twice, because nobody sees it.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(crate) struct Token {
    first: Option<String>,
}

/// The wizard: questions in this order, each with what was answered before.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(crate) struct Setup {
    ports: Vec<(String, bool)>,
    interface: Option<String>,
    address: Option<(IpAddr, u8)>,
    gateway: Option<Option<IpAddr>>,
    token: Option<TokenChoice>,
    first_token: Option<String>,
}

#[derive(Clone, PartialEq, Eq, Debug)]
enum TokenChoice {
    Generate,
    Typed(String),
}

/// What a dialog does with an answer.
pub(crate) struct Next {
    /// To be printed; empty or whole lines.
    pub(crate) text: String,
    /// The question after this one; none ends the dialog.
    pub(crate) dialog: Option<Dialog>,
}

/// Longest text that is taken line by line.
const ANCHOR_TEXT_MAX: usize = 1 << 20;

fn anchor_line(path: String, mut text: String, line: &str, api: &mut dyn Api) -> Next {
    if line.trim() == "." {
        return end(anchors::edit(&path, &text, api));
    }
    if text.len() + line.len() > ANCHOR_TEXT_MAX {
        return end("pfctl: too much; nothing was changed\n");
    }
    text += line;
    text.push('\n');
    ask("", Dialog::Anchor { path, text })
}

fn end(text: impl Into<String>) -> Next {
    Next {
        text: text.into(),
        dialog: None,
    }
}

fn ask(text: impl Into<String>, dialog: Dialog) -> Next {
    Next {
        text: text.into(),
        dialog: Some(dialog),
    }
}

impl Dialog {
    /// The question.
    pub(crate) fn prompt(&self) -> String {
        match self {
            Dialog::Token(t) if t.first.is_none() => "New token (empty generates one): ".into(),
            Dialog::Token(_) => "Again: ".into(),
            Dialog::Key(lines) if lines.is_empty() => "Key, both lines of the .pub file: ".into(),
            Dialog::Key(_) => "and the second line: ".into(),
            Dialog::Confirm(action) => format!("{} [y/N] ", action.question()),
            Dialog::Setup(s) => s.prompt(),
            Dialog::Anchor { path, .. } => format!("{path}> "),
        }
    }

    /// True if the answer must not be seen.
    pub(crate) fn is_secret(&self) -> bool {
        match self {
            Dialog::Token(_) => true,
            Dialog::Setup(s) => s.gateway.is_some() && s.token.is_none(),
            Dialog::Key(_) | Dialog::Confirm(_) | Dialog::Anchor { .. } => false,
        }
    }

    /// Takes an answer.
    pub(crate) fn answer(self, line: &str, api: &mut dyn Api, random: &mut Random) -> Next {
        if let Dialog::Anchor { path, text } = self {
            return anchor_line(path, text, line, api);
        }
        let line = line.trim();
        match self {
            Dialog::Anchor { .. } => end(""),
            Dialog::Token(token) => token.answer(line, api, random),
            Dialog::Key(lines) => key_line(lines, line, api),
            Dialog::Confirm(action) => match line {
                "y" | "Y" | "yes" => action.perform(api),
                _ => end("Nothing was done.\n"),
            },
            Dialog::Setup(setup) => setup.answer(line, api, random),
        }
    }

    /// What to say when the dialog is left.
    pub(crate) fn left(&self) -> &'static str {
        match self {
            Dialog::Setup(_) => "Nothing was changed. setup starts again.\n",
            _ => "Nothing was changed.\n",
        }
    }
}

impl Action {
    fn question(&self) -> String {
        match self {
            Action::Reboot => "Restart the box?".into(),
            Action::Halt => "Stop the box? It forwards nothing until somebody turns it on.".into(),
            Action::ClearToken => "Remove the token? Only signed bundles are accepted then.".into(),
            Action::RemoveKey(id) => format!("Stop trusting key {id}?"),
            Action::ResetFloor => {
                "Forget the newest date? Old signed bundles can then be sent again.".into()
            }
        }
    }

    fn perform(&self, api: &mut dyn Api) -> Next {
        let said = |result: Result<(), String>, done: &str| match result {
            Ok(()) => end(format!("{done}\n")),
            Err(why) => end(format!("Not done: {why}\n")),
        };
        match self {
            Action::Reboot => {
                api.reboot();
                end("Restarting.\n")
            }
            Action::Halt => {
                api.halt();
                end("Stopping.\n")
            }
            Action::ClearToken => said(api.set_token(""), "The token is removed."),
            Action::RemoveKey(id) => said(api.distrust_key(id), "The key is no longer trusted."),
            Action::ResetFloor => said(
                api.reset_replay_floor(),
                "The next signed bundle may be of any date.",
            ),
        }
    }
}

impl Token {
    fn answer(self, line: &str, api: &mut dyn Api, random: &mut Random) -> Next {
        let Some(first) = self.first else {
            if line.is_empty() {
                return end(generate(api, random));
            }
            return match check_token(line) {
                Ok(()) => ask(
                    "",
                    Dialog::Token(Token {
                        first: Some(line.into()),
                    }),
                ),
                Err(why) => ask(format!("{why}\n"), Dialog::Token(Token::default())),
            };
        };
        if first != line {
            return ask(
                "The two are not the same.\n",
                Dialog::Token(Token::default()),
            );
        }
        match api.set_token(line) {
            Ok(()) => end("The token is set.\n"),
            Err(why) => end(format!("The token is not set: {why}\n")),
        }
    }
}

/// The message does not repeat the token: it may be logged by whatever is at the other end of the line.
fn check_token(token: &str) -> Result<(), String> {
    let n = token.chars().count();
    if !(TOKEN_MIN..=TOKEN_MAX).contains(&n) {
        return Err(format!(
            "A token has {TOKEN_MIN} to {TOKEN_MAX} characters, not {n}."
        ));
    }
    if token.contains(|c: char| !c.is_ascii_graphic()) {
        return Err("A token has no blanks.".into());
    }
    Ok(())
}

/// Sets a fresh token and shows it, this once.
fn generate(api: &mut dyn Api, random: &mut Random) -> String {
    let token = fresh_token(random);
    match api.set_token(&token) {
        Ok(()) => format!("The token is, shown this once:\n\n  {token}\n\n"),
        Err(why) => format!("The token is not set: {why}\n"),
    }
}

/// 160 random bits in letters and digits that are not mistaken for each other, with a prefix by which leaked tokens are
/// found.
fn fresh_token(random: &mut Random) -> String {
    const LETTERS: &[u8; 32] = b"abcdefghijkmnpqrstuvwxyz23456789";
    let mut bytes = [0; 32];
    random(&mut bytes);
    let body: String = bytes
        .iter()
        .map(|b| char::from(LETTERS[usize::from(b & 31)]))
        .collect();
    format!("fugu_{body}")
}

/// A `.pub` file has a comment line and a line of base64; either may be missing when somebody pastes.
fn key_line(mut lines: Vec<String>, line: &str, api: &mut dyn Api) -> Next {
    if line.is_empty() {
        return end("Nothing was changed.\n");
    }
    lines.push(line.to_string());
    let is_comment = line.starts_with("untrusted comment:");
    if is_comment && lines.len() < KEY_LINES_MAX {
        return ask("", Dialog::Key(lines));
    }
    end(trust(&lines.join("\n"), api))
}

/// Trusts a key and says so.
pub(crate) fn trust(text: &str, api: &mut dyn Api) -> String {
    match api.trust_key(&format!("{text}\n")) {
        Ok(id) => format!("Key {id} is trusted: bundles signed with it are accepted.\n"),
        Err(why) => format!("The key is not trusted: {why}\n"),
    }
}

impl Setup {
    /// Begins the wizard; the text introduces it.
    pub(crate) fn begin(api: &mut dyn Api) -> Next {
        let interfaces = api.interfaces();
        if interfaces.is_empty() {
            return end(
                "There is no network port that Fugu could use, so there is nothing to set up.\n",
            );
        }
        let mut text = String::from(
            "This sets the address at which the box is managed. ^C leaves without any change.\n\nPorts:\n",
        );
        for i in &interfaces {
            text += &port(i);
        }
        text.push('\n');
        let ports = interfaces.into_iter().map(|i| (i.name, i.link)).collect();
        ask(
            text,
            Dialog::Setup(Setup {
                ports,
                ..Setup::default()
            }),
        )
    }

    fn suggested_port(&self) -> &str {
        let with_link = self.ports.iter().find(|(_, link)| *link);
        with_link
            .or(self.ports.first())
            .map_or("", |(name, _)| name)
    }

    fn prompt(&self) -> String {
        if self.interface.is_none() {
            format!("Management interface [{}]: ", self.suggested_port())
        } else if self.address.is_none() {
            "Address with prefix length, as 192.0.2.1/24: ".into()
        } else if self.gateway.is_none() {
            "Gateway (empty for none): ".into()
        } else if self.token.is_some() {
            "Apply this? [Y/n] ".into()
        } else if self.first_token.is_some() {
            "Again: ".into()
        } else {
            "Token for the API (empty generates one): ".into()
        }
    }

    /// Puts an answer where it belongs; a wrong one is explained and asked for again.
    fn answer(mut self, line: &str, api: &mut dyn Api, random: &mut Random) -> Next {
        let result = if self.interface.is_none() {
            self.take_interface(line)
        } else if let Some((addr, len)) = self.address {
            if self.gateway.is_none() {
                self.take_gateway(line, addr, len)
            } else if self.token.is_none() {
                self.take_token(line)
            } else {
                return self.finish(line, api, random);
            }
        } else {
            address::with_prefix(line).map(|a| self.address = Some(a))
        };
        let text = match result {
            Err(why) => format!("{why}\n"),
            Ok(()) if self.token.is_some() => self.summary(),
            Ok(()) => String::new(),
        };
        ask(text, Dialog::Setup(self))
    }

    fn take_interface(&mut self, line: &str) -> Result<(), String> {
        let name = if line.is_empty() {
            self.suggested_port().to_string()
        } else {
            line.to_string()
        };
        if !self.ports.iter().any(|(n, _)| *n == name) {
            let names: Vec<&str> = self.ports.iter().map(|(n, _)| n.as_str()).collect();
            return Err(format!(
                "'{name}' is not one of the ports: {}",
                names.join(" ")
            ));
        }
        self.interface = Some(name);
        Ok(())
    }

    fn take_gateway(&mut self, line: &str, addr: IpAddr, len: u8) -> Result<(), String> {
        self.gateway = match line {
            "" | "none" => Some(None),
            text => Some(Some(address::gateway(text, addr, len)?)),
        };
        Ok(())
    }

    fn take_token(&mut self, line: &str) -> Result<(), String> {
        match self.first_token.take() {
            None if line.is_empty() => self.token = Some(TokenChoice::Generate),
            None => {
                check_token(line)?;
                self.first_token = Some(line.to_string());
            }
            Some(first) if first == line => self.token = Some(TokenChoice::Typed(first)),
            Some(_) => return Err("The two are not the same.".into()),
        }
        Ok(())
    }

    fn summary(&self) -> String {
        let interface = self.interface.as_deref().unwrap_or("");
        let address = self
            .address
            .map_or(String::new(), |(a, len)| format!("{a}/{len}"));
        let gateway = self
            .gateway
            .flatten()
            .map_or("none".to_string(), |g| g.to_string());
        let token = match self.token {
            Some(TokenChoice::Typed(_)) => "as typed",
            _ => "will be generated and shown once",
        };
        format!(
            "\n  interface  {interface}\n  address    {address}\n  gateway    {gateway}\n  token      {token}\n\n"
        )
    }

    fn finish(self, line: &str, api: &mut dyn Api, random: &mut Random) -> Next {
        if !matches!(line, "" | "y" | "Y" | "yes") {
            return end("Nothing was changed. setup starts again.\n");
        }
        let (Some(interface), Some((addr, len)), Some(token)) =
            (&self.interface, self.address, &self.token)
        else {
            return end("Nothing was changed. setup starts again.\n");
        };
        if let Err(why) = api.set_management(interface, addr, len, self.gateway.flatten()) {
            return end(format!("Not applied: {why}\n"));
        }
        let mut text = match token {
            TokenChoice::Generate => generate(api, random),
            TokenChoice::Typed(token) => match api.set_token(token) {
                Ok(()) => String::new(),
                Err(why) => format!("The token is not set: {why}\n"),
            },
        };
        let host = if addr.is_ipv4() {
            addr.to_string()
        } else {
            format!("[{addr}]")
        };
        text += &format!("Done. Upload a bundle with: fuguctl push http://{host} BUNDLE\n");
        end(text)
    }
}

/// One line about a port.
fn port(i: &InterfaceView) -> String {
    let link = match (i.link, i.speed_mbps) {
        (false, _) => "no link".to_string(),
        (true, 0) => "link".to_string(),
        (true, mbps) => format!("link, {mbps} Mb/s"),
    };
    format!(
        "  {:<8} {}  {:<16} {} {}\n",
        i.name, i.lladdr, link, i.device, i.driver
    )
}
