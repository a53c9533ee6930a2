//! Tables that change at run time, and states that are killed.

use ruleset::{Af, TableEntry};

use super::*;
use crate::api::{Killing, TableEdit};

const RULES: &str = "table <bad> persist\ntable <fixed> const { 10.0.0.0/8 }\n\
    table <list> { 192.0.2.7 }\nblock in from <bad>\nblock in from <fixed>\nblock in from <list>\npass in on em0\n";

fn with_tables() -> Rig {
    let mut b = Rig::new();
    b.push(&files(RULES)).unwrap();
    b.turn();
    b
}

fn files(rules: &str) -> [(&str, &str); 2] {
    [PASS[0], ("pf.conf", rules)]
}

fn list(words: &[&str]) -> Vec<String> {
    words.iter().map(|w| w.to_string()).collect()
}

impl Rig {
    fn table(&mut self, name: &str) -> Vec<String> {
        let tables = self.control.tables();
        tables.into_iter().find(|t| t.name == name).unwrap().entries
    }

    /// What a worker would say of an address.
    fn worker_finds(&self, table: &str, last: u8) -> bool {
        let config = self.held(1);
        let table = config.ruleset.tables.iter().find(|t| t.name == table);
        table
            .unwrap()
            .contains(Af::Inet, 0xcb00_7100 + u128::from(last))
    }

    fn pass(&mut self, ms: u64) {
        (0..ms).for_each(|_| self.control.clock.pause());
    }

    fn edit(&mut self, table: &str, edit: TableEdit) -> (usize, usize) {
        let edited = self.control.edit_table(table, &edit).unwrap();
        (edited.added, edited.deleted)
    }
}

#[test]
fn a_table_is_edited_at_run_time_and_workers_have_it_when_the_answer_comes() {
    let mut b = with_tables();
    let generation = b.control.generation();
    let add = TableEdit::Add(list(&["203.0.113.5", "203.0.113.0/30", "203.0.113.5"]));
    assert_eq!(b.edit("bad", add), (2, 0));
    assert!(b.worker_finds("bad", 5) && b.worker_finds("bad", 3) && !b.worker_finds("bad", 6));
    assert_eq!(b.table("bad"), ["203.0.113.0/30", "203.0.113.5"]);
    assert_eq!(
        b.edit("bad", TableEdit::Delete(list(&["203.0.113.5", "9.9.9.9"]))),
        (0, 1)
    );
    assert!(!b.worker_finds("bad", 5));
    assert_eq!(
        b.edit("bad", TableEdit::Replace(list(&["203.0.113.9"]))),
        (1, 1)
    );
    let tested = TableEdit::Test(list(&["203.0.113.9", "203.0.113.5"]));
    let tested = b.control.edit_table("bad", &tested).unwrap();
    assert_eq!(tested.matches, [Some("203.0.113.9".to_string()), None]);
    assert_eq!(b.edit("bad", TableEdit::Flush), (0, 1));
    assert!(b.table("bad").is_empty());
    assert_eq!(b.control.generation(), generation, "the policy is the same");
}

#[test]
fn what_rules_added_is_shown_expires_and_survives_a_load() {
    let mut b = with_tables();
    let entry = TableEntry::new(Af::Inet, 0xcb00_7105, 32, false);
    let held = b.held(0);
    let bad = held
        .ruleset
        .tables
        .iter()
        .find(|t| t.name == "bad")
        .unwrap();
    bad.edit(&entry, true, 5, 99);
    drop(held);
    assert!(b.worker_finds("bad", 5), "every worker sees it at once");
    assert_eq!(b.table("bad"), ["203.0.113.5"]);
    let more = format!("{RULES}pass in proto udp\n");
    b.push(&files(&more)).unwrap();
    assert!(b.control.shared.edits.is_empty(), "the contents say it now");
    b.turn();
    assert_eq!(
        (b.table("bad"), b.table("list")),
        (list(&["203.0.113.5"]), list(&["192.0.2.7"]))
    );
    assert_eq!(b.edit("bad", TableEdit::Expire(60)), (0, 0));
    assert_eq!(
        b.edit("bad", TableEdit::Add(list(&["203.0.113.6"]))),
        (1, 0)
    );
    b.pass(100_000);
    assert_eq!(b.edit("bad", TableEdit::Zero), (0, 0));
    assert_eq!(b.edit("bad", TableEdit::Expire(60)), (0, 0));
    b.pass(100_000);
    assert_eq!(b.edit("bad", TableEdit::Expire(60)), (0, 2));
}

#[test]
fn a_load_gives_tables_with_a_list_their_list_and_what_was_made_by_hand_stays() {
    let mut b = with_tables();
    b.edit("list", TableEdit::Add(list(&["192.0.2.8"])));
    let made = b
        .control
        .edit_table("mine", &TableEdit::Add(list(&["192.0.2.9"])))
        .unwrap();
    assert!(made.created && made.added == 1);
    let more = format!("{RULES}pass in proto udp\n");
    b.push(&files(&more)).unwrap();
    assert_eq!(b.table("list"), ["192.0.2.7"]);
    assert_eq!(b.table("mine"), ["192.0.2.9"]);
}

#[test]
fn edits_that_may_not_be_are_refused_with_a_sentence() {
    let mut b = with_tables();
    let mut refused = |table: &str, edit: TableEdit, word: &str| {
        let error = b.control.edit_table(table, &edit).unwrap_err();
        assert!(error.contains(word), "{error}");
    };
    refused("fixed", TableEdit::Flush, "const");
    refused("none", TableEdit::Flush, "does not exist");
    refused(
        "none",
        TableEdit::Test(list(&["1.2.3.4"])),
        "does not exist",
    );
    refused("bad", TableEdit::Add(list(&["1.2.3.4.5"])), "1.2.3.4.5");
    let limited = format!("set limit table-entries 3\n{RULES}");
    b.push(&files(&limited)).unwrap();
    b.turn();
    let add = TableEdit::Add(list(&["1.1.1.1", "1.1.1.2"]));
    let error = b.control.edit_table("bad", &add).unwrap_err();
    assert!(error.contains("table-entries"), "{error}");
    assert!(b.table("bad").is_empty());
}

#[test]
fn states_are_killed_on_every_worker_and_counted() {
    let mut b = with_tables();
    for worker in 0..2 {
        let states = (0..5u64).map(|n| State {
            id: n,
            ..State::default()
        });
        b.workers.lock().unwrap()[worker].states = states.collect();
    }
    assert_eq!(b.control.kill_states(&Killing::Id(3)), Ok(2));
    assert_eq!(b.control.kill_states(&Killing::All), Ok(8));
    assert_eq!(b.control.kill_states(&Killing::Label("none".into())), Ok(0));
    for wrong in [Killing::Interface("em9".into()), Killing::Key("x".into())] {
        assert!(b.control.kill_states(&wrong).is_err());
    }
}
