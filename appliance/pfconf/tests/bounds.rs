//! Texts that are large in one way: what they ask for is refused, or done in time that grows with the text and no
//! faster. Nothing is measured here; a text that needed hours would be noticed.

use pfconf::{Compiled, Environment, Files, NoFiles, Options, compile, diag};

fn compiled(text: &str, files: &dyn Files) -> Compiled {
    let env = Environment::minimal();
    compile("pf.conf", text.as_bytes(), files, &env, &Options::default())
}

fn errors(text: &str, files: &dyn Files) -> Vec<String> {
    let said = compiled(text, files).diagnostics.into_iter();
    said.filter(|d| d.severity == diag::Severity::Error)
        .map(|d| d.text)
        .collect()
}

fn lines(n: usize, line: impl Fn(usize) -> String) -> String {
    (0..n).map(|n| line(n) + "\n").collect()
}

/// Every name is a file with this text.
struct Everywhere(String);

impl Files for Everywhere {
    fn read(&self, _name: &str) -> Option<Vec<u8>> {
        Some(self.0.clone().into_bytes())
    }
}

#[test]
fn a_file_that_includes_itself_twice_ends() {
    let text = "include \"f\"\ninclude \"f\"\n";
    let said = errors(text, &Everywhere(text.into()));
    assert!(said[0].contains("include each other"), "{}", said[0]);
    assert!(
        said.iter()
            .any(|text| text == "f: too many or too large files")
    );
}

#[test]
fn an_anchor_that_loads_itself_ends() {
    let text = "anchor a\nload anchor a from \"f\"\n";
    assert!(!errors(text, &Everywhere(text.into())).is_empty());
}

#[test]
fn an_error_is_heard_after_any_number_of_warnings() {
    let mut env = Environment::minimal();
    env.kifs = vec![("em0".into(), net::KifId(0))];
    env.interfaces = vec![pfconf::EnvInterface {
        name: "em0".into(),
        kif: net::KifId(0),
        groups: Vec::new(),
        addresses: Vec::new(),
        loopback: false,
    }];
    let text = lines(20_000, |n| format!("pass on wan{n}")) + "pass on em0 port 1\n";
    let options = Options::default();
    let compiled = compile("pf.conf", text.as_bytes(), &NoFiles, &env, &options);
    assert!(compiled.ruleset.is_none());
    assert!(diag::has_errors(&compiled.diagnostics));
}

#[test]
fn undefined_macros_beside_many_defined_ones_are_all_named() {
    let text =
        lines(3_000, |n| format!("m{n} = \"x\"")) + &lines(30_000, |n| format!("pass on $n{n}"));
    let said = errors(&text, &NoFiles);
    assert!(said.iter().all(|text| text.contains("not defined")));
    assert!(said.len() > 1_000);
}

#[test]
fn lists_of_a_million_combinations_are_refused() {
    let hosts = |net| {
        (0..1000)
            .map(|n| format!("{net}.{}.{}.1 ", n / 250, n % 250))
            .collect::<String>()
    };
    let text = format!("pass from {{ {} }} to {{ {} }}\n", hosts(10), hosts(11));
    assert_eq!(errors(&text, &NoFiles), ["more than 500000 rules"]);
}

#[test]
fn anchors_that_call_each_other_twice_end() {
    let circle = "anchor a in {\nanchor \"/a\" proto tcp\nanchor \"/a\" proto udp\n}\npass\n";
    let chain = lines(40, |n| {
        format!(
            "anchor a{n} {{\nanchor \"/a{0}\"\nanchor \"/a{0}\"\n}}",
            n + 1
        )
    });
    for text in [circle, &chain] {
        let said = errors(text, &NoFiles);
        assert!(said.is_empty() || said[0].contains("more than"), "{said:?}");
    }
}
