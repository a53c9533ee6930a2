//! Tables that change at run time, and states that are killed.

use ruleset::{Af, TableEntry};

use super::*;
use crate::api::{Killing, TableEdit};
use crate::control::Event;
use crate::tables::key_of;

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
    assert_eq!(b.edit("bad", TableEdit::Zero(Vec::new())), (0, 0));
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

/// pf.conf(5): what is `persist` stays when the last rule that names it goes; pfctl(8): until it is killed.
#[test]
fn a_table_that_persists_stays_without_rules_until_it_is_killed() {
    let mut b = Rig::new();
    let rules = "table <stays> persist { 10.0.0.1 }\ntable <goes> { 10.0.0.2 }\nblock in from <stays>\nblock in from <goes>\npass\n";
    b.push(&files(rules)).unwrap();
    b.turn();
    b.edit("stays", TableEdit::Add(list(&["10.0.0.3"])));
    b.push(&PASS).unwrap();
    b.turn();
    let names = |b: &mut Rig| -> Vec<String> {
        b.control
            .table_summaries()
            .into_iter()
            .map(|t| t.name)
            .collect()
    };
    assert_eq!(names(&mut b), ["stays"]);
    assert_eq!(b.table("stays"), ["10.0.0.1", "10.0.0.3"]);
    b.push(&files(rules)).unwrap();
    b.turn();
    assert_eq!(b.table("stays"), ["10.0.0.1"], "the rules give it its list");
    b.edit("stays", TableEdit::Kill);
    assert_eq!(names(&mut b), ["stays", "goes"], "rules name it");
    assert!(b.table("stays").is_empty());
    b.push(&PASS).unwrap();
    b.turn();
    b.edit("stays", TableEdit::Kill);
    assert_eq!(names(&mut b), [""; 0]);
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
    for (which, what, killed) in [
        (Killing::Id(3), "-k id -k 0000000000000003", 2),
        (Killing::All, "-F states", 8),
        (Killing::All, "-F states", 0),
    ] {
        let view = b.control.kill_states(&which, None).unwrap();
        assert_eq!(
            (view.what.as_str(), view.killed, view.done),
            (what, killed, true)
        );
    }
    assert_eq!(b.control.kills().len(), 3);
    for (which, on, word) in [
        (Killing::All, Some("em9"), "'em9'"),
        (Killing::Key("x".into()), None, "'x'"),
        (
            Killing::Label("none".into()),
            None,
            "no rule has the label 'none'",
        ),
    ] {
        let wrong = b.control.kill_states(&which, on).unwrap_err().to_string();
        assert!(wrong.contains(word), "{wrong}");
    }
    assert_eq!(b.control.kills().len(), 3, "nothing was begun");
}

fn limit(b: &mut Rig, name: &str) -> u64 {
    let limits = b.control.limits();
    limits.into_iter().find(|(n, _)| n == name).unwrap().1
}

/// freebsd: limits zero
#[test]
fn a_limit_of_0_is_none_and_can_be_lowered_later() {
    let mut b = Rig::new();
    let entries: String = (1..=20).map(|n| format!("10.0.0.{n} ")).collect();
    let with = |limits: &str| {
        format!("set limit {{ {limits} }}\ntable <t> {{ {entries} }}\nblock in from <t>\npass\n")
    };
    let none = with("states 0, src-nodes 0, table-entries 0, anchors 0");
    assert!(b.push(&files(&none)).unwrap().warnings.is_empty());
    for name in ["src-nodes", "table-entries", "anchors"] {
        assert_eq!(limit(&mut b, name), u64::from(u32::MAX), "{name}");
    }
    assert_eq!(limit(&mut b, "states"), 50_000, "what there is room for");
    b.push(&files(&with("states 40, table-entries 20")))
        .unwrap();
    assert_eq!(
        (limit(&mut b, "states"), limit(&mut b, "table-entries")),
        (40, 20)
    );
    let refused = b.push(&files(&with("table-entries 19"))).unwrap_err();
    assert!(
        format!("{refused:?}").contains("20 table-entries, but the limit is 19"),
        "{refused:?}"
    );
    assert_eq!(limit(&mut b, "table-entries"), 20, "nothing has changed");
}

/// freebsd: limits anchors
#[test]
fn the_limit_of_anchors_can_be_raised_in_the_ruleset_that_needs_it() {
    let mut b = Rig::new();
    let anchors: String = (0..600).map(|n| format!("anchor a{n} {{\n}}\n")).collect();
    let refused = b.push(&files(&anchors)).unwrap_err();
    assert!(
        format!("{refused:?}").contains("600 anchors, but the limit is 512"),
        "{refused:?}"
    );
    let raised = format!("set limit anchors 600\n{anchors}");
    b.push(&files(&raised)).unwrap();
    assert_eq!(limit(&mut b, "anchors"), 600);
    // The limit belongs to the ruleset that set it.
    b.push(&files(&anchors)).unwrap_err();
}

/// Counters as the two workers of the tests would have counted: packets of <bad> and of one of its addresses.
fn count(b: &Rig, table: &str, addr: u128, packets: u64) {
    use filter::tables::{TableOp, prefix_counter};
    use ruleset::Direction;
    let workers = b.workers.lock().unwrap();
    for worker in workers.iter() {
        let tables = &worker.counters.filter.tables;
        let held = &worker.held.ruleset.tables;
        let slot = held.iter().find(|t| t.name == table).unwrap().slot;
        let entry = TableEntry::new(Af::Inet, addr, 32, false);
        let counters = tables.of(slot).unwrap();
        counters.lookups[1].add(packets);
        for _ in 0..packets {
            counters.traffic[0][TableOp::Pass as usize].one(100);
            let key = key_of(slot, &entry);
            let at = prefix_counter(Direction::In, TableOp::Pass);
            tables.prefixes.count(&key, at, 100, |_| false);
        }
    }
}

fn shown(b: &mut Rig, table: &str) -> (u64, u64, Vec<Option<u64>>) {
    let t = b.control.table(table).unwrap();
    let packets = |c: &Option<[[crate::api::Count; 3]; 2]>| c.map(|c| c[0][2].packets);
    assert_eq!(t.stats.input.pass.bytes, 100 * t.stats.input.pass.packets);
    (
        t.stats.matches,
        t.stats.input.pass.packets,
        t.counts.iter().map(packets).collect(),
    )
}

const COUNTED: &str = "table <bad> persist counters\nblock in from <bad>\npass in on em0\n";

#[test]
fn counters_of_tables_and_addresses_are_summed_cleared_and_survive_a_load() {
    let mut b = Rig::new();
    b.push(&files(COUNTED)).unwrap();
    b.turn();
    b.edit("bad", TableEdit::Add(list(&["203.0.113.5", "203.0.113.6"])));
    assert_eq!(shown(&mut b, "bad"), (0, 0, vec![None, None]));
    count(&b, "bad", 0xcb00_7105, 3);
    assert_eq!(shown(&mut b, "bad"), (6, 6, vec![Some(6), None]));
    let more = format!("{COUNTED}pass in proto udp\n");
    b.push(&files(&more)).unwrap();
    b.turn();
    count(&b, "bad", 0xcb00_7106, 1);
    assert_eq!(shown(&mut b, "bad"), (8, 8, vec![Some(6), Some(2)]));
    b.edit("bad", TableEdit::Zero(list(&["203.0.113.6"])));
    assert_eq!(shown(&mut b, "bad"), (8, 8, vec![Some(6), None]));
    b.pass(7000);
    b.edit("bad", TableEdit::Zero(Vec::new()));
    assert_eq!(shown(&mut b, "bad"), (0, 0, vec![None, None]));
    assert_eq!(b.control.table("bad").unwrap().stats.age_s, 0);
    count(&b, "bad", 0xcb00_7105, 1);
    assert_eq!(shown(&mut b, "bad"), (2, 2, vec![Some(2), None]));
    let error = b
        .control
        .edit_table("bad", &TableEdit::Zero(list(&["1.1.1.1"])));
    assert!(error.unwrap_err().contains("1.1.1.1 is not in <bad>"));
}

#[test]
fn an_address_that_comes_again_and_a_table_that_comes_again_count_anew() {
    let mut b = Rig::new();
    b.push(&files(COUNTED)).unwrap();
    b.turn();
    b.edit("bad", TableEdit::Add(list(&["203.0.113.5"])));
    count(&b, "bad", 0xcb00_7105, 3);
    b.edit("bad", TableEdit::Delete(list(&["203.0.113.5"])));
    b.edit("bad", TableEdit::Add(list(&["203.0.113.5"])));
    assert_eq!(shown(&mut b, "bad"), (6, 6, vec![None]));
    count(&b, "bad", 0xcb00_7105, 1);
    assert_eq!(shown(&mut b, "bad"), (8, 8, vec![Some(2)]));
    // No longer persist and named by no rule: it is gone.
    b.edit("bad", TableEdit::Flush);
    b.push(&files(&COUNTED.replace(" persist", ""))).unwrap();
    b.push(&PASS).unwrap();
    b.turn();
    assert!(b.control.table("bad").is_none());
    b.push(&files(COUNTED)).unwrap();
    b.turn();
    assert_eq!(shown(&mut b, "bad"), (0, 0, vec![]));
}

#[test]
fn letters_and_references_say_what_a_table_is_for() {
    let mut b = Rig::new();
    let rules = "table <named> counters\ntable <idle> persist\ntable <fixed> const { 10.0.0.1 }\n\
        pass in from <named> to ! <fixed>\npass in from <named> to (em0)\n\
        anchor inner {\n block from <named>\n}\n";
    b.push(&files(rules)).unwrap();
    let tables = b.control.table_summaries();
    let said: Vec<_> = tables
        .iter()
        .map(|t| {
            (
                t.name.as_str(),
                t.flags.as_str(),
                t.stats.rules,
                t.stats.anchors,
            )
        })
        .collect();
    assert_eq!(
        said,
        [
            ("named", "--a-rhC", 3, 1),
            ("idle", "-pa----", 0, 0),
            ("fixed", "c-a-r--", 1, 0),
        ],
        "and none for (em0)"
    );
    assert_eq!(tables[2].stats.addresses, 1);
}

/// Pools look at contents alone.
#[test]
fn a_pool_hears_of_what_rules_put_into_its_table() {
    let mut b = Rig::new();
    let rules = "table <servers> persist { 192.0.2.7 }\npass in on em0 inet proto tcp rdr-to <servers> round-robin\n";
    b.push(&files(rules)).unwrap();
    b.turn();
    let entry = TableEntry::new(Af::Inet, 0xc000_0208, 32, false);
    let held = b.held(0);
    let of = |c: &Config| {
        c.ruleset
            .tables
            .iter()
            .find(|t| t.name == "servers")
            .unwrap()
            .clone()
    };
    of(&held).edit(&entry, true, 5, 99);
    assert_eq!(of(&held).entries().len(), 1);
    b.control.on_event(Event::Tick);
    b.turn();
    assert_eq!(of(&b.held(0)).entries().len(), 2);
    assert_eq!(b.control.generation(), held.generation);
}

#[test]
fn edits_that_rules_lost_are_said_once_for_each_reason() {
    let mut b = with_tables();
    let count = |b: &Rig, kind: filter::LostEdit| {
        b.workers.lock().unwrap()[1].counters.filter.lost_edits[kind as usize].add(1);
    };
    let lines = |b: &mut Rig| {
        b.control.on_event(Event::Tick);
        b.control.lost_edits_told
    };
    assert_eq!(lines(&mut b), [false; 3]);
    count(&b, filter::LostEdit::Pending);
    assert_eq!(lines(&mut b), [false, true, false]);
    count(&b, filter::LostEdit::Limit);
    count(&b, filter::LostEdit::Pending);
    assert_eq!(lines(&mut b), [true, true, false]);
    let lost: Vec<f64> = b
        .control
        .metrics()
        .into_iter()
        .filter(|s| s.name == "fugu_pf_table_insertions_lost_total")
        .map(|s| s.value)
        .collect();
    assert_eq!(lost, [1.0, 2.0, 0.0]);
}
