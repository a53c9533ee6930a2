//! What commands leave to the console that runs them. Knows no command.

use std::net::IpAddr;

use crate::dialog::{Action, Dialog, Next};
use crate::follow::Follow;

/// What a command leaves to the console.
pub(crate) enum Output {
    /// Lines to print.
    Text(String),
    /// A dialog begins, or something is said.
    Ask(Next),
    /// Echo requests are under way.
    Ping(IpAddr),
    /// Something is followed until it ends or somebody ends it.
    Follow(Follow),
    /// Ask the terminal for its size.
    AskSize,
    /// The size is known: rows and columns.
    Size(u16, u16),
    Pager(bool),
    Clear,
    Exit,
}

impl Output {
    /// A dialog begins, and nothing is said before.
    pub(crate) fn question(dialog: Dialog) -> Output {
        Output::Ask(Next {
            text: String::new(),
            dialog: Some(dialog),
        })
    }

    /// Something that is done only after a second thought.
    pub(crate) fn confirm(action: Action) -> Output {
        Output::question(Dialog::Confirm(action))
    }
}
